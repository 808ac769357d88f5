//! A run as JSON with stable names.

use ariann_plan::{Link, Plan};
use ariann_report::page;
use ariann_session::local::Reports;
use ariann_session::report::GateTime;
use serde_json::{Value, json};

use super::Outcome;
use crate::commands::plan::ranges;
use crate::forecast;
use crate::gates::Gates;

/// What computes here.
pub fn machine(threads: usize) -> Value {
    // Both were looked at when the program began.
    let aes = ariann_prg::Backend::active().map(|backend| backend.name()).ok();
    let products = ariann_ring::Kernel::active().map(|kernel| kernel.name()).ok();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    json!({ "aes": aes, "products": products, "cores": cores, "threads": threads })
}

/// A gate of the plan with what it took in all runs, at P0 and P1.
pub struct Measured {
    plan: Value,
    notes: String,
    times: [GateTime; 2],
    /// Items that material was spent for.
    slots: u64,
}

impl Measured {
    /// The plan's facts about it, for one item, and beside them what all runs took.
    fn document(&self) -> Value {
        let mut document = self.plan.clone();
        let [p0, p1] = &self.times;
        document["seconds"] = json!({ "p0": p0.seconds, "p1": p1.seconds });
        document["exchange_seconds"] = json!({ "p0": p0.exchange_seconds, "p1": p1.exchange_seconds });
        document["bytes_sent"] = json!({ "p0": p0.bytes_sent, "p1": p1.bytes_sent });
        document
    }

    /// As a row of the page.
    pub fn row(&self) -> page::Gate {
        let text = |key: &str| self.plan[key].as_str().unwrap_or_default().to_string();
        let material = |party: &str| self.plan["material_bytes"][party].as_u64().unwrap_or(0) * self.slots;
        page::Gate {
            name: text("name"),
            kind: text("kind"),
            notes: self.notes.clone(),
            computing: self.times.map(|time| (time.seconds - time.exchange_seconds).max(0.0)),
            exchanging: self.times.map(|time| time.exchange_seconds),
            sent: self.times.map(|time| time.bytes_sent),
            material: [material("p0"), material("p1")],
            comparisons: self.plan["comparisons"].as_u64().unwrap_or(0) * self.slots,
        }
    }
}

/// The gates of a plan that is run with `items` items over a link, with what they took at P0 and P1 for all `slots`.
pub fn measured(plan: &Plan, items: usize, link: Link, times: [&[GateTime]; 2], slots: u64) -> Vec<Measured> {
    let view = Gates::new(plan, items, link);
    let measured = |number: usize| Measured {
        plan: view.document(number),
        notes: view.notes(number),
        times: times.map(|times| times.get(number).copied().unwrap_or_default()),
        slots,
    };
    (0..plan.gates.len()).map(measured).collect()
}

impl Outcome {
    /// The plan's gates with what they took.
    pub fn gates(&self) -> Vec<Measured> {
        let Reports { p0, p1, .. } = &self.reports;
        measured(&self.plan, self.batch as usize, forecast::link(self.link), [&p0.gates, &p1.gates], p1.slots)
    }

    /// Everything that scripts read of a run.
    pub fn document(&self) -> Value {
        let Outcome { plan, comparison, .. } = self;
        let Reports { dealer, p0, p1 } = &self.reports;
        let totals = plan.totals(1);
        let mut document = json!({
            "predictions": comparison.predictions,
            "accuracy": comparison.accuracy,
            "clear_accuracy": comparison.clear_accuracy,
            "agreement": comparison.agreement,
            "max_abs_error": comparison.max_abs_error,
            "ranges": ranges(plan),
            "items": p1.items,
            "slots": p1.slots,
            "setup": { "seconds": p0.setup.seconds.max(p1.setup.seconds), "bytes": p0.setup.bytes_sent + p1.setup.bytes_sent },
            "offline": {
                "seconds": p0.offline.seconds.max(p1.offline.seconds),
                "dealing_seconds": dealer.seconds,
                "material_bytes": { "p0": p0.material_bytes, "p1": p1.material_bytes },
            },
            "online": {
                "seconds": p1.online.seconds,
                "seconds_per_item": p1.online.seconds / p1.items.max(1) as f64,
                "bytes_sent": { "p0": p0.online.bytes_sent, "p1": p1.online.bytes_sent },
                "exchanges": p1.exchanges,
                "run_seconds": self.run_seconds,
            },
            "link": forecast::document(plan, p1, self.batch as usize, self.link),
            "peak_rss_bytes": { "dealer": dealer.peak_rss_bytes, "p0": p0.peak_rss_bytes, "p1": p1.peak_rss_bytes },
            "plan": {
                "digest": plan.digest_hex(),
                "ring": plan.ring,
                "weights": plan.weights,
                "reveal": plan.reveal,
                "comparisons": totals.comparisons,
                "multiply_adds": totals.multiply_adds,
            },
            "machine": machine(self.threads),
            "gates": self.gates().iter().map(Measured::document).collect::<Vec<_>>(),
        });
        if let (Some(at_p0), Some(at_p1)) = (p0.stream, p1.stream) {
            document["stream"] = json!({
                "seconds": at_p1.seconds,
                "deliveries": at_p1.deliveries,
                "disk_bytes": { "p0": at_p0.disk_bytes, "p1": at_p1.disk_bytes },
            });
        }
        if let Some(reference) = &comparison.reference {
            document["fixed_point"] = json!({
                "agreement": reference.agreement, "max_abs_error": reference.max_abs_error, "first_excess": reference.excess,
            });
        }
        document
    }
}

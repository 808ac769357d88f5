//! What `--report` writes: runs as a page.

use std::path::Path;

use ariann_graph::RangeSource;
use ariann_report::page::{Fact, Group, Page, Run};
use ariann_report::{bytes, count, seconds};
use ariann_session::SessionError;
use ariann_session::local::Reports;
use serde_json::Value;

use crate::forecast;
use crate::run::{Outcome, machine};

/// Writes a page with `runs` to `path`.
pub fn write(path: &Path, title: &str, threads: usize, runs: Vec<Run>) -> Result<(), SessionError> {
    let machine = machine(threads);
    let text = |key: &str| machine[key].as_str().unwrap_or("unknown").to_string();
    let facts = vec![
        fact("program", concat!("ariann ", env!("CARGO_PKG_VERSION")).to_string()),
        fact("processor paths", format!("AES {}, products {}", text("aes"), text("products"))),
        fact(
            "machine",
            format!("cores {}, threads of a party {threads}; dealer and both parties on it", machine["cores"]),
        ),
    ];
    let page = Page { title: title.to_string(), facts, runs };
    std::fs::write(path, page.html()).map_err(|source| SessionError::file("writing", path, source))
}

/// Refuses a place where no page can be written, before there is a result to lose. What is there stays as it is, and what is
/// not there is not there afterwards.
pub fn check(path: &Path) -> Result<(), SessionError> {
    let failed = |source| SessionError::file("writing", path, source);
    let existed = path.exists();
    std::fs::OpenOptions::new().append(true).create(true).open(path).map_err(failed)?;
    if existed { Ok(()) } else { std::fs::remove_file(path).map_err(failed) }
}

/// One network's runs.
pub fn run(name: &str, outcome: &Outcome) -> Run {
    let groups = vec![results(outcome), time(outcome), amounts(outcome), plan(outcome)];
    Run {
        name: name.to_string(),
        groups,
        charts: Vec::new(),
        gates: outcome.gates().iter().map(|gate| gate.row()).collect(),
    }
}

pub fn fact(what: &str, value: String) -> Fact {
    Fact { what: what.to_string(), value }
}

pub fn group(title: &str, facts: Vec<Fact>) -> Group {
    Group { title: title.to_string(), facts }
}

/// Two figures, P0's and P1's.
pub fn pair(values: [u64; 2]) -> String {
    format!("P0 {}, P1 {}", bytes(values[0]), bytes(values[1]))
}

fn results(outcome: &Outcome) -> Group {
    let comparison = &outcome.comparison;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let mut facts = vec![
        fact("items", outcome.reports.p1.items.to_string()),
        fact("items together", outcome.batch.to_string()),
        fact("same prediction as the float model", percent(comparison.agreement)),
    ];
    if let (Some(accuracy), Some(clear)) = (comparison.accuracy, comparison.clear_accuracy) {
        facts.push(fact("accuracy, private / in clear", format!("{} / {}", percent(accuracy), percent(clear))));
    }
    if let Some(error) = comparison.max_abs_error {
        facts.push(fact("greatest error of a logit", format!("{error:.5}")));
    }
    facts.push(fact("greatest logit in clear", format!("{:.4}", comparison.greatest_logit)));
    if let Some(reference) = &comparison.reference {
        let excess = reference.excess.clone().unwrap_or_else(|| "no layer leaves its bound".to_string());
        facts.push(fact("against the fixed-point reference", excess));
    }
    group("Agreement", facts)
}

fn time(outcome: &Outcome) -> Group {
    let Reports { dealer, p0, p1 } = &outcome.reports;
    let runs: Vec<String> = outcome.run_seconds.iter().take(10).map(|run| seconds(*run)).collect();
    let more = outcome.run_seconds.len().saturating_sub(runs.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let mut facts = vec![
        fact("online, all runs", seconds(p1.online.seconds)),
        fact("online, an item", seconds(p1.online.seconds / p1.items.max(1) as f64)),
        fact("each run", runs.join(", ") + &more),
        fact(
            "forecast, all runs",
            seconds(forecast::all_runs(&outcome.plan, p1, outcome.batch as usize, outcome.link)),
        ),
        fact("offline", seconds(p0.offline.seconds.max(p1.offline.seconds))),
        fact("dealing", seconds(dealer.seconds)),
        fact("setup, once a model", seconds(p0.setup.seconds.max(p1.setup.seconds))),
    ];
    if let Some(link) = forecast::text(&outcome.plan, p1, outcome.batch as usize, outcome.link) {
        facts.push(fact("link", link));
    }
    group("Time", facts)
}

fn amounts(outcome: &Outcome) -> Group {
    let Reports { dealer, p0, p1 } = &outcome.reports;
    let memory =
        [dealer.peak_rss_bytes, p0.peak_rss_bytes, p1.peak_rss_bytes].map(|rss| rss.map_or("?".to_string(), bytes));
    let facts = vec![
        fact("sent online", pair([p0.online.bytes_sent, p1.online.bytes_sent])),
        fact("exchanges of a run", p1.exchanges.to_string()),
        fact("material", pair([p0.material_bytes, p1.material_bytes])),
        fact("sent in setup", pair([p0.setup.bytes_sent, p1.setup.bytes_sent])),
        fact("greatest memory", format!("dealer {}, P0 {}, P1 {}", memory[0], memory[1], memory[2])),
    ];
    group("Bytes", facts)
}

fn plan(outcome: &Outcome) -> Group {
    let plan = &outcome.plan;
    let totals = plan.totals(1);
    let word = |value: Value| value.as_str().unwrap_or_default().to_string();
    let as_word = |value: serde_json::Result<Value>| word(value.expect("options are JSON"));
    let ranges = match plan.ranges {
        RangeSource::Calibrated { items } => format!("observed on {items} items"),
        RangeSource::Proven => "proven by interval bounds".to_string(),
    };
    let [lo, hi] = plan.input.range;
    let reveal = (as_word(serde_json::to_value(plan.reveal.what)), as_word(serde_json::to_value(plan.reveal.to)));
    let facts = vec![
        fact("model", plan.model.clone()),
        fact("ring", format!("{} bits", plan.ring)),
        fact("weights", as_word(serde_json::to_value(plan.weights))),
        fact("revealed", format!("{} to {}", reveal.0, reveal.1)),
        fact("ranges", ranges),
        fact("input", format!("{} of {:?} within {lo} and {hi}", plan.input.name, plan.input.shape)),
        fact("gates, exchanges", format!("{}, {}", plan.gates.len(), totals.exchanges)),
        fact(
            "comparisons, multiply-adds an item",
            format!("{}, {}", count(totals.comparisons), count(totals.multiply_adds)),
        ),
        fact("digest", plan.digest_hex()[..16].to_string()),
    ];
    group("Plan", facts)
}

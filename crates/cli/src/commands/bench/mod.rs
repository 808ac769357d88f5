//! `ariann bench`: what this machine does, beside its limits measured in the same run.

mod federated;
mod networks;

use std::sync::mpsc::channel;
use std::time::Duration;

use ariann_report::table;
use ariann_session::SessionError;
use ariann_session::events::{Event, Events};
use clap::Subcommand;
use serde_json::json;

use crate::output::Output;

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Comparisons and key pairs, one core.
    Fss {
        /// Megabytes of keys in memory.
        #[arg(long, default_value_t = 512)]
        megabytes: usize,
    },
    /// Gates, one core: making material, and each party's online work.
    Gates {
        /// Elements of each gate.
        #[arg(long, default_value_t = 1 << 18)]
        elements: usize,
    },
    /// Matrix products and convolutions in both rings, every kernel of this machine, one core.
    Products {
        /// Milliseconds for each figure.
        #[arg(long, default_value_t = 300)]
        milliseconds: u64,
    },
    /// Whole networks by dealer, P0 and P1 as three processes over TLS: time, bytes, material, gate by gate.
    Networks(Box<networks::Args>),
    /// Rounds of a federated training as owners become more: time, work, bytes and memory of server and owner.
    Federated(federated::Args),
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    match &args.what {
        What::Fss { megabytes } => fss(*megabytes, output),
        What::Gates { elements } => gates(*elements, output),
        What::Products { milliseconds } => products(*milliseconds, output),
        What::Networks(args) => networks::run(args, output),
        What::Federated(args) => federated::run(args, output),
    }
}

/// Hears how many figures are measured, and of how many.
type Progress<'a> = &'a mut (dyn FnMut(usize, usize) + Send);

/// Measures in one thread, whatever the machine has; this one tells the progress.
fn alone<T: Send>(output: &Output, work: impl FnOnce(Progress<'_>) -> T + Send) -> Result<T, SessionError> {
    let pool = ariann_session::config::pool(1)?;
    let (say, hear) = channel();
    let mut events = output.progress();
    std::thread::scope(|scope| {
        // Dropping the sender, at the end of the work, ends the loop below.
        let worker = scope.spawn(move || {
            let mut tell = |done, total| {
                let _ = say.send((done, total));
            };
            pool.install(|| work(&mut tell))
        });
        for (done, total) in hear {
            events.tell(Event::Progress { stage: "measuring", done: done as u64, total: total as u64 });
        }
        Ok(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn fss(megabytes: usize, output: &Output) -> Result<(), SessionError> {
    let figures = alone(output, |progress| ariann_fss::bench::measure(megabytes, progress))?
        .map_err(|error| SessionError::Config(error.to_string()))?;
    if output.is_json() {
        let domains: Vec<_> = figures
            .domains
            .iter()
            .map(|d| {
                json!({
                    "domain_bits": d.domain_bits, "key_bytes": d.key_bytes, "comparisons": d.comparisons,
                    "bytes_streamed": d.bytes_streamed, "ns_per_comparison": d.ns_per_comparison,
                    "aes_blocks_per_second": d.aes_blocks_per_second, "key_bytes_per_second": d.key_bytes_per_second,
                    "key_pairs_per_second": d.key_pairs_per_second,
                })
            })
            .collect();
        output.document(&json!({
            "backend": figures.backend.name(),
            "limits": { "aes_blocks_per_second": figures.aes_blocks_per_second, "memory_bytes_per_second": figures.memory_bytes_per_second },
            "domains": domains,
        }));
        return Ok(());
    }
    output.line(&format!(
        "AES back end {}; this core: {:.2} G blocks/s, {:.1} GB/s from memory",
        figures.backend.name(),
        figures.aes_blocks_per_second / 1e9,
        figures.memory_bytes_per_second / 1e9
    ));
    let row = |d: &ariann_fss::bench::DomainFigures| {
        vec![
            d.domain_bits.to_string(),
            d.key_bytes.to_string(),
            format!("{:.1}", d.ns_per_comparison),
            format!("{:.2}", d.key_bytes_per_second / 1e9),
            format!("{:.2}", d.aes_blocks_per_second / 1e9),
            format!("{:.2}", d.key_pairs_per_second / 1e6),
        ]
    };
    let head = ["domain bits", "key bytes", "ns a comparison", "keys GB/s", "G blocks/s", "M key pairs/s"];
    output.line(&table(&head, &figures.domains.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn gates(elements: usize, output: &Output) -> Result<(), SessionError> {
    let rows = alone(output, |progress| ariann_gates::bench::measure(elements.max(2), progress))??;
    if output.is_json() {
        let list: Vec<_> = rows
            .iter()
            .map(|r| {
                json!({
                    "gate": r.gate, "ring": r.ring, "width": r.width, "elements": r.elements, "deal_ns": r.deal_ns,
                    "p0_ns": r.p0_ns, "p1_ns": r.p1_ns, "material_bytes_p1": r.material_bytes,
                })
            })
            .collect();
        output.document(&list);
        return Ok(());
    }
    let row = |r: &ariann_gates::bench::Row| {
        let ns = |value: f64| format!("{value:.1}");
        vec![
            format!("{} {} w={}", r.gate, r.ring, r.width),
            ns(r.deal_ns),
            ns(r.p0_ns),
            ns(r.p1_ns),
            ns(r.material_bytes),
        ]
    };
    let head = ["gate", "deal ns", "P0 ns", "P1 ns", "P1 material bytes"];
    output.line(&table(&head, &rows.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn products(milliseconds: u64, output: &Output) -> Result<(), SessionError> {
    let figures =
        alone(output, |progress| ariann_ring::bench::products(Duration::from_millis(milliseconds.max(1)), progress))?;
    if output.is_json() {
        let list: Vec<_> = figures
            .products
            .iter()
            .map(|r| {
                json!({
                    "kind": r.kind, "shape": r.shape, "ring": r.ring, "kernel": r.kernel, "giga_multiply_adds_per_second": r.rate,
                    "ratio_to_float": r.ratio,
                })
            })
            .collect();
        output.document(&json!({
            "active_kernel": figures.active, "float_giga_multiply_adds_per_second": figures.float_rate, "products": list,
        }));
        return Ok(());
    }
    let float =
        figures.float_rate.map_or("not measured here".to_string(), |rate| format!("{rate:.1} G multiply-adds/s"));
    output.line(&format!("kernel in use: {}; 32-bit float FMA (AVX2): {float}", figures.active));
    let row = |r: &ariann_ring::bench::Row| {
        let [m, k, n] = r.shape;
        vec![
            format!("{} {m}x{k}x{n}", r.kind),
            r.ring.to_string(),
            r.kernel.clone(),
            format!("{:.2}", r.rate),
            r.ratio.map_or(String::new(), |ratio| format!("{:.0} %", 100.0 * ratio)),
        ]
    };
    let head = ["product", "ring", "kernel", "G multiply-adds/s", "of float"];
    output.line(&table(&head, &figures.products.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

//! `ariann plan`: the public plan, and what it costs before anything runs.

use std::path::PathBuf;

use ariann_gates::Party;
use ariann_plan::{Link, Plan};
use ariann_report::{bytes, count, table};
use ariann_session::SessionError;
use serde_json::{Value, json};

use crate::options::PlanOptions;
use crate::output::Output;

/// Arguments of `plan`.
#[derive(clap::Args)]
pub struct Args {
    /// The model, ONNX.
    #[arg(long)]
    model: PathBuf,
    /// Where to write the plan.
    #[arg(short, long = "output", value_name = "PLAN")]
    out: PathBuf,
    /// Items computed together, for the memory figure.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[command(flatten)]
    options: PlanOptions,
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    let failed = |source| SessionError::file("creating a folder in", std::env::temp_dir(), source);
    let folder = tempfile::tempdir().map_err(failed)?;
    let mut options = args.options.clone();
    if let Some(path) = &args.options.calibration {
        options.calibration = Some(options.pixels.described(path, folder.path(), "calibration")?);
    }
    let planned = options.planning(args.model.clone(), None, Link::LOOPBACK, args.batch).make()?;
    let plan = planned.plan;
    plan.write(&args.out)?;
    if output.is_json() {
        output.document(&document(&plan, args.batch));
    } else {
        output.line(&costs(&plan, args.batch));
        output.line(&format!("written to {} (digest {})", args.out.display(), &plan.digest_hex()[..16]));
    }
    Ok(())
}

/// Where the ranges come from, in a word.
pub fn ranges(plan: &Plan) -> Value {
    serde_json::to_value(plan.ranges).expect("ranges are JSON")
}

/// The plan's costs as JSON. Figures are for one item.
pub fn document(plan: &Plan, batch: usize) -> Value {
    let totals = plan.totals(batch);
    let pair = |values: [u64; 2]| json!({ "p0": values[0], "p1": values[1] });
    let gates: Vec<Value> = plan
        .gates
        .iter()
        .enumerate()
        .map(|(number, entry)| {
            let cost = plan.cost(number);
            let sent = |party: usize| cost.exchanges.iter().map(|sent| sent[party].bits()).sum::<u64>();
            json!({
                "gate": number,
                "name": entry.name,
                "kind": entry.gate.kind(),
                "comparisons": cost.comparisons,
                "multiply_adds": cost.multiply_adds,
                "material_bytes": { "p0": cost.material[0], "p1": cost.material[1] },
                "online_bits": { "p0": sent(0), "p1": sent(1) },
                "exchanges": cost.exchanges.len(),
            })
        })
        .collect();
    json!({
        "digest": plan.digest_hex(),
        "model": plan.model,
        "ring": plan.ring,
        "weights": plan.weights,
        "reveal": plan.reveal,
        "ranges": ranges(plan),
        "comparisons": totals.comparisons,
        "multiply_adds": totals.multiply_adds,
        "material_bytes": pair(totals.material_bytes),
        "setup_bytes": pair(totals.setup_bytes),
        "online_bytes": pair(totals.online_bytes),
        "exchanges": totals.exchanges,
        "memory_bytes": pair(totals.memory_bytes),
        "batch": batch,
        "gates": gates,
    })
}

/// The cost table.
pub fn costs(plan: &Plan, batch: usize) -> String {
    let mut rows = Vec::new();
    for (number, entry) in plan.gates.iter().enumerate() {
        let cost = plan.cost(number);
        let sent = |party: Party| bytes(cost.exchanges.iter().map(|sent| sent[party as usize].bytes(1) as u64).sum());
        rows.push(vec![
            format!("{number:>3} {}", entry.name),
            entry.gate.kind().to_string(),
            count(cost.comparisons),
            count(cost.multiply_adds),
            bytes(cost.material[0] as u64),
            bytes(cost.material[1] as u64),
            sent(Party::P0),
            sent(Party::P1),
            cost.exchanges.len().to_string(),
        ]);
    }
    let totals = plan.totals(batch);
    rows.push(vec![
        "one item".to_string(),
        String::new(),
        count(totals.comparisons),
        count(totals.multiply_adds),
        bytes(totals.material_bytes[0]),
        bytes(totals.material_bytes[1]),
        bytes(totals.online_bytes[0]),
        bytes(totals.online_bytes[1]),
        totals.exchanges.to_string(),
    ]);
    let head = [
        "gate",
        "kind",
        "comparisons",
        "multiply-adds",
        "material P0",
        "material P1",
        "P0 sends",
        "P1 sends",
        "exchanges",
    ];
    let ranges = match plan.ranges {
        ariann_graph::RangeSource::Calibrated { items } => format!("observed on {items} items"),
        ariann_graph::RangeSource::Proven => "proven by interval bounds".to_string(),
    };
    format!(
        "{}\nsetup, once a weights version: P0 sends {}, P1 sends {}; memory at batch {batch}: P0 {}, P1 {}\nring {} bits, ranges {ranges}",
        table(&head, &rows),
        bytes(totals.setup_bytes[0]),
        bytes(totals.setup_bytes[1]),
        bytes(totals.memory_bytes[0]),
        bytes(totals.memory_bytes[1]),
        plan.ring,
    )
}

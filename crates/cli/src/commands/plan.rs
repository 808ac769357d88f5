//! `ariann plan`: the public plan, and what it costs before anything runs.

use std::path::PathBuf;

use ariann_gates::Party;
use ariann_net::Shape;
use ariann_plan::{Plan, Rates};
use ariann_report::{bytes, count, seconds, table};
use ariann_session::SessionError;
use serde_json::{Value, json};

use crate::forecast;
use crate::gates::Gates;
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
    /// Items computed together, for the memory figure and the forecast.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// The link that the forecast is made for, and the forms of the comparisons chosen for: loopback, lan (1 Gbit/s, 0.5 ms
    /// round trip) or wan (100 Mbit/s, 70 ms).
    #[arg(long)]
    link: Option<Shape>,
    #[command(flatten)]
    options: PlanOptions,
}

pub fn run(args: &Args, output: &Output) -> Result<(), SessionError> {
    let planned = args.options.planning(args.model.clone(), None, forecast::link(args.link), args.batch).make()?;
    let plan = planned.plan;
    plan.write(&args.out)?;
    if output.is_json() {
        output.document(&document(&plan, args.batch, args.link));
    } else {
        output.line(&costs(&plan, args.batch, args.link));
        output.line(&format!("written to {} (digest {})", args.out.display(), &plan.digest_hex()[..16]));
    }
    Ok(())
}

/// Where the ranges come from, in a word.
pub fn ranges(plan: &Plan) -> Value {
    serde_json::to_value(plan.ranges).expect("ranges are JSON")
}

/// The plan's costs as JSON. Figures are for one item, forecasts for one run.
pub fn document(plan: &Plan, batch: usize, shape: Option<Shape>) -> Value {
    let totals = plan.totals(batch);
    let pair = |values: [u64; 2]| json!({ "p0": values[0], "p1": values[1] });
    let view = Gates::new(plan, batch, forecast::link(shape));
    let gates: Vec<Value> = (0..plan.gates.len()).map(|number| view.document(number)).collect();
    let forecast = plan.forecast(batch, &forecast::link(shape), &Rates::default());
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
        "link": shape.unwrap_or_default().to_string(),
        "forecast": {
            "seconds": plan.forecast_seconds(batch, &forecast::link(shape), &Rates::default()), "compute": forecast.compute, "transfer": forecast.transfer, "latency": forecast.latency,
        },
        "gates": gates,
    })
}

/// The cost table, and that of the comparisons.
fn costs(plan: &Plan, batch: usize, shape: Option<Shape>) -> String {
    let mut rows = Vec::new();
    let view = Gates::new(plan, batch, forecast::link(shape));
    for (number, entry) in plan.gates.iter().enumerate() {
        let cost = plan.cost(number);
        let sent = |party: Party| bytes(cost.exchanges.iter().map(|sent| sent[party as usize].bytes(1) as u64).sum());
        rows.push(vec![
            format!("{number:>3} {}", entry.name),
            entry.gate.kind().to_string(),
            view.width(number),
            view.unit(number),
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
        String::new(),
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
        "width",
        "unit",
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
    let comparisons = view.comparisons().map_or(String::new(), |table| format!("\n{table}"));
    let forecast = plan.forecast(batch, &forecast::link(shape), &Rates::default());
    format!(
        "{}{comparisons}\nsetup, once a weights version: P0 sends {}, P1 sends {}; memory at batch {batch}: P0 {}, P1 {}\nring {} bits, ranges \
         {ranges}\nforecast of a run of {batch} over {}: {}; gate after gate {} computing, {} sending, {} waiting",
        table(&head, &rows),
        bytes(totals.setup_bytes[0]),
        bytes(totals.setup_bytes[1]),
        bytes(totals.memory_bytes[0]),
        bytes(totals.memory_bytes[1]),
        plan.ring,
        shape.unwrap_or_default(),
        seconds(plan.forecast_seconds(batch, &forecast::link(shape), &Rates::default())),
        seconds(forecast.compute),
        seconds(forecast.transfer),
        seconds(forecast.latency),
    )
}

//! The plan's forecast beside what a run took.

use ariann_net::Shape;
use ariann_plan::{Link, Plan, Rates};
use ariann_report::{bytes, seconds};
use ariann_session::report::PartyReport;
use serde_json::{Value, json};

/// The link that a plan is made for.
pub fn link(shape: Option<Shape>) -> Link {
    let shape = shape.unwrap_or_default();
    Link {
        bits_per_second: shape.bits_per_second.map_or(Link::LOOPBACK.bits_per_second, |bits| bits.get() as f64),
        one_way: shape.one_way_delay.as_secs_f64() + Link::LOOPBACK.one_way,
    }
}

/// Seconds of the forecast for all runs of `report`.
pub fn all_runs(plan: &Plan, report: &PartyReport, batch: usize, shape: Option<Shape>) -> f64 {
    let runs = report.slots as f64 / batch as f64;
    runs * plan.forecast_seconds(batch, &link(shape), &Rates::default())
}

/// As JSON: the link measured, where it was, and the forecast.
pub fn document(plan: &Plan, report: &PartyReport, batch: usize, shape: Option<Shape>) -> Value {
    json!({
        "shape": shape.unwrap_or_default().to_string(),
        "round_trip_seconds": report.link.map(|link| link.round_trip_seconds),
        "bits_per_second": report.link.map(|link| link.bits_per_second),
        "forecast_seconds": all_runs(plan, report, batch, shape),
    })
}

/// As a line, where the link was measured.
pub fn text(plan: &Plan, report: &PartyReport, batch: usize, shape: Option<Shape>) -> Option<String> {
    let measured = report.link?;
    Some(format!(
        "{}: measured {} round trip, {}/s each way; forecast {}, taken {}",
        shape.unwrap_or_default(),
        seconds(measured.round_trip_seconds),
        bytes((measured.bits_per_second / 8.0) as u64),
        seconds(all_runs(plan, report, batch, shape)),
        seconds(report.online.seconds)
    ))
}

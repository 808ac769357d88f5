//! What training will cost, before it starts.

use ariann_plan::{Link, Plan, Rates};
use ariann_report::{bytes, count, seconds};
use ariann_session::training::{Course, Kind};
use serde_json::{Value, json};

use super::prepare::Prepared;

/// Of one run of a plan.
#[derive(Clone, Copy, Debug)]
pub struct StepCost {
    pub comparisons: u64,
    pub multiply_adds: u64,
    pub material: [u64; 2],
    pub online: [u64; 2],
    pub exchanges: u64,
    pub memory: [u64; 2],
    pub seconds: f64,
}

impl StepCost {
    pub fn new(plan: &Plan, link: &Link) -> StepCost {
        let totals = plan.totals(1);
        StepCost {
            comparisons: totals.comparisons,
            multiply_adds: totals.multiply_adds,
            material: totals.material_bytes,
            online: totals.online_bytes,
            exchanges: totals.exchanges,
            memory: totals.memory_bytes,
            // Nothing is reserved on disk, and no session begins.
            seconds: plan.forecast_seconds(1, link, &Rates { run: 0.0, ..Rates::default() }),
        }
    }

    /// As scripts read it.
    pub fn document(&self) -> Value {
        let pair = |values: [u64; 2]| json!({ "p0": values[0], "p1": values[1] });
        json!({
            "comparisons": self.comparisons,
            "multiply_adds": self.multiply_adds,
            "material_bytes": pair(self.material),
            "online_bytes": pair(self.online),
            "exchanges": self.exchanges,
            "memory_bytes": pair(self.memory),
            "forecast_seconds": self.seconds,
        })
    }
}

/// Turns of a training that are no steps, as scripts read them: how many, and the cost of one.
pub fn of_turns((cost, turns): (StepCost, u64)) -> Value {
    json!({ "turns": turns, "cost": cost.document() })
}

/// A job's cost.
pub struct Cost {
    pub step: StepCost,
    pub steps: u64,
    pub evaluation: Option<(StepCost, u64)>,
    /// Measurements of ranges.
    pub measurement: Option<(StepCost, u64)>,
}

impl Cost {
    pub fn new(course: &Course, link: &Link) -> Cost {
        let turns = course.turns();
        let of = |kind: Kind, runs: u64| {
            let leg = course.at_first(kind).expect("a course has compiled its first plans");
            (runs > 0).then(|| (StepCost::new(&leg.plan, link), runs))
        };
        let steps = turns.steps_in_all();
        let tests = u64::from(turns.epochs) * u64::from(turns.tests);
        Cost {
            step: StepCost::new(&course.step().plan, link),
            steps,
            evaluation: if tests > 0 { of(Kind::Evaluate, tests) } else { None },
            measurement: turns.measure_every.and_then(|every| of(Kind::Measure, (steps - 1) / u64::from(every))),
        }
    }

    /// Forecast of all turns.
    pub fn seconds(&self) -> f64 {
        let others = [self.evaluation, self.measurement].into_iter().flatten();
        let others: f64 = others.map(|(cost, runs)| cost.seconds * runs as f64).sum();
        self.step.seconds * self.steps as f64 + others
    }

    /// As people read it.
    pub fn text(&self, prepared: &Prepared, course: &Course) -> String {
        let (job, turns) = (course.job(), course.turns());
        let [trained, frozen] = prepared.parameters();
        let pair = |values: [u64; 2]| format!("{} for P0, {} for P1", bytes(values[0]), bytes(values[1]));
        let frozen = if frozen > 0 { format!(", {} frozen", count(frozen)) } else { String::new() };
        let StepCost { comparisons, multiply_adds, material, online, exchanges, memory, seconds: step } = self.step;
        let mut facts = vec![
            ("parameters", format!("{}{frozen}", count(trained))),
            (
                "steps",
                format!(
                    "{} of {} steps{} of {} items = {}",
                    if turns.epochs == 1 { "1 epoch".to_string() } else { format!("{} epochs", turns.epochs) },
                    turns.steps,
                    turns
                        .later
                        .iter()
                        .map(|(epoch, steps)| format!(", {steps} from epoch {} on", epoch + 1))
                        .collect::<String>(),
                    job.recipe.batch,
                    count(self.steps)
                ),
            ),
            ("a step: comparisons, multiply-adds", format!("{}, {}", count(comparisons), count(multiply_adds))),
            ("a step: material", pair(material)),
            (
                "a step: online",
                format!("P0 sends {}, P1 {}, in {exchanges} exchanges", bytes(online[0]), bytes(online[1])),
            ),
            ("memory for values", pair(memory)),
            ("ring", ring(job.choices.ring).to_string()),
            ("forecast", format!("{} a step, {} in all", seconds(step), duration(self.seconds()))),
        ];
        if let Some((cost, runs)) = &self.evaluation {
            let runs = count(*runs);
            facts.insert(2, ("tests", format!("{runs} batches, {} each", seconds(cost.seconds))));
        }
        if let Some((cost, runs)) = &self.measurement {
            let runs = count(*runs);
            facts.insert(2, ("measurements of ranges", format!("{runs}, {} each", seconds(cost.seconds))));
        }
        let mut revealed = job.reveals_list();
        if revealed.is_empty() {
            revealed.push("nothing".to_string());
        }
        for (place, what) in revealed.into_iter().enumerate() {
            facts.push((if place == 0 { "revealed" } else { "" }, what));
        }
        aligned(&facts)
    }
}

/// What the ring means for what is trained (docs/accuracy.md, "Measured on training").
fn ring(bits: u32) -> &'static str {
    match bits {
        32 => {
            "32 bits: losses like float's, while single gradients of deep networks are off by a tenth and more (64: some thousandths)"
        }
        _ => "64 bits: gradients within some thousandths of float's",
    }
}

/// Two columns.
pub fn aligned(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|fact| fact.0.chars().count()).max().unwrap_or(0);
    facts.iter().map(|(what, value)| format!("{what:width$}  {value}")).collect::<Vec<_>>().join("\n")
}

/// Seconds, minutes or hours.
pub fn duration(value: f64) -> String {
    match value {
        v if v >= 5400.0 => format!("{:.1} h", v / 3600.0),
        v if v >= 90.0 => format!("{:.1} min", v / 60.0),
        v => seconds(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_read_well() {
        assert_eq!([duration(12.5), duration(300.0), duration(7200.0)], ["12.50 s", "5.0 min", "2.0 h"]);
    }
}

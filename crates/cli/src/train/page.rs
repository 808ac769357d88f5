//! A training as a page: curves of what was revealed, and where time, bytes and material go.

use ariann_graph::training::{Recipe, Schedule};
use ariann_report::page::{Chart, Curve, Fact, Group, Run};
use ariann_report::{bytes, count, seconds};

use super::cost::duration;
use super::outcome::{EpochLine, Outcome};
use super::recipe::loss_name;
use crate::html::{fact, group, pair};
use crate::run::measured;

/// The training as one run of a page.
pub fn run(outcome: &Outcome) -> Run {
    let plan = &outcome.course.step().plan;
    let times = [&outcome.p0.gates[..], &outcome.p1.gates[..]];
    let gates = measured(plan, 1, outcome.link, times, outcome.p1.steps);
    Run {
        name: outcome.prepared.graph.name.clone(),
        groups: vec![recipe(outcome), time(outcome), amounts(outcome), revealed(outcome)],
        charts: charts(outcome),
        gates: gates.iter().map(|gate| gate.row()).collect(),
    }
}

fn charts(outcome: &Outcome) -> Vec<Chart> {
    let lines = outcome.epochs();
    let curve = |name: &str, of: fn(&EpochLine) -> Option<f64>, factor: f64| {
        let point = |line: &EpochLine| Some((line.epoch as f64, factor * of(line)?));
        Curve { name: name.to_string(), points: lines.iter().filter_map(point).collect() }
    };
    let of_epochs = |title: &str, unit: &str, curves: Vec<Curve>| Chart {
        title: title.to_string(),
        across: "epoch".to_string(),
        unit: unit.to_string(),
        curves: curves.into_iter().filter(|curve| !curve.points.is_empty()).collect(),
    };
    let losses = outcome.losses().iter().enumerate().map(|(step, loss)| ((step + 1) as f64, *loss));
    let steps = Curve { name: "private".to_string(), points: losses.collect() };
    let clear = outcome.clear.iter().flatten().flat_map(|epoch| &epoch.losses);
    let clear = clear.enumerate().map(|(step, loss)| ((step + 1) as f64, *loss));
    let clear = Curve { name: "in clear".to_string(), points: clear.collect() };
    vec![
        of_epochs(
            "Accuracy on the test set",
            "%",
            vec![curve("private", |line| line.accuracy, 100.0), curve("in clear", |line| line.clear_accuracy, 100.0)],
        ),
        of_epochs(
            "Loss of an item, mean over the epoch",
            "",
            vec![curve("private", |line| line.loss, 1.0), curve("in clear", |line| line.clear_loss, 1.0)],
        ),
        Chart {
            title: "Loss of an item, step by step".into(),
            across: "step".into(),
            unit: String::new(),
            curves: [steps, clear].into_iter().filter(|curve| !curve.points.is_empty()).collect(),
        },
    ]
}

fn recipe(outcome: &Outcome) -> Group {
    let recipe = &outcome.prepared.recipe;
    let [trained, frozen] = outcome.prepared.parameters();
    let nesterov = if recipe.nesterov { ", Nesterov" } else { "" };
    let mut facts = vec![
        fact("parameters", count(trained)),
        fact("items", format!("{}, {} a step", count(outcome.course.job().rows), recipe.batch)),
        fact("epochs", recipe.epochs.to_string()),
        fact("loss", loss_name(recipe.loss).to_string()),
        fact("learning rate, momentum", format!("{}, {}{nesterov}", recipe.lr, recipe.momentum)),
        fact("ring", format!("{} bits", outcome.course.job().choices.ring)),
        fact("seed", recipe.seed.to_string()),
    ];
    if recipe.weight_decay > 0.0 {
        facts.push(fact("weight decay", recipe.weight_decay.to_string()));
    }
    if recipe.schedule != Schedule::Constant {
        facts.push(fact("learning rate", schedule(recipe)));
    }
    if frozen > 0 {
        facts.insert(1, fact("frozen", count(frozen)));
    }
    group("Recipe", facts)
}

/// How the learning rate changes.
fn schedule(recipe: &Recipe) -> String {
    match recipe.schedule {
        Schedule::Constant => "constant".to_string(),
        Schedule::Step { epochs, factor } => format!("times {factor} every {epochs} epochs"),
        Schedule::Cosine => "half a cosine to zero".to_string(),
    }
}

fn time(outcome: &Outcome) -> Group {
    let [all, step] = outcome.seconds();
    let mut facts = vec![
        fact("all", duration(all)),
        fact("a step", if step > 0.0 { seconds(step) } else { "none was measured".to_string() }),
        fact("forecast, a step", seconds(outcome.cost.step.seconds)),
        fact("steps", count(outcome.p1.steps)),
    ];
    let others = [("batches tested", outcome.cost.evaluation), ("ranges measured", outcome.cost.measurement)];
    for (what, (cost, turns)) in others.into_iter().filter_map(|(what, of)| Some((what, of?))) {
        facts.push(fact(what, format!("{}, forecast {} each", count(turns), seconds(cost.seconds))));
    }
    group("Time", facts)
}

fn amounts(outcome: &Outcome) -> Group {
    let step = &outcome.cost.step;
    let memory = |role: Option<u64>| role.map_or("?".to_string(), bytes);
    let [dealer, p0, p1] = [&outcome.dealer, &outcome.p0, &outcome.p1].map(|role| memory(role.peak_rss_bytes));
    let facts = vec![
        fact("sent online", pair([outcome.p0.bytes_sent, outcome.p1.bytes_sent])),
        fact("material", pair(outcome.material())),
        fact("material, a step", pair(step.material)),
        fact("comparisons, a step", count(step.comparisons)),
        fact("exchanges, a step", step.exchanges.to_string()),
        fact("greatest memory", format!("dealer {dealer}, P0 {p0}, P1 {p1}")),
    ];
    group("Bytes", facts)
}

fn revealed(outcome: &Outcome) -> Group {
    let mut facts: Vec<Fact> = outcome.course.job().reveals_list().into_iter().map(|what| fact("", what)).collect();
    if facts.is_empty() {
        facts.push(fact("", "nothing".to_string()));
    }
    facts.push(fact("job", outcome.course.job().digest_hex()[..16].to_string()));
    group("Revealed", facts)
}

//! Ranges and networks that somebody else made up give a plan or a reason, never a panic.

mod steps;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ariann_gates::Receiver;
use ariann_graph::training::{Loss, Recipe, StepGraph, StepRanges, evaluation, training_step};
use ariann_graph::{Graph, Network, ValueRange, import, zoo};
use ariann_plan::training::{TrainingOptions, compile, measure, measured, renew};
use serde_json::{Value, json};

/// From nothing to the greatest numbers that ranges may have.
const MAGNITUDES: [f64; 12] = [0.0, 5e-324, 1e-300, 1e-30, 1e-9, 0.1, 1.0, 3.0, 100.0, 1e6, 1e12, 3e38];
/// Exponents, as a peer might claim to have measured them.
const EXPONENTS: [i32; 7] = [i32::MIN, -1074, -40, 0, 5, 127, i32::MAX];
/// Numbers in the place of a network's.
const NUMBERS: [f64; 10] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 1000.0, 0.5, 1e-30];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Ordinary ranges, and others in one of `rare` places.
    fn ranges(&mut self, step: &StepGraph, rare: usize) -> StepRanges {
        let mut range = |_| match self.below(rare) {
            0 => ValueRange { max_abs: self.of(&MAGNITUDES), rms: self.of(&MAGNITUDES) },
            _ => ValueRange { max_abs: 2.0, rms: 0.5 },
        };
        let nodes = (0..step.nodes.len()).map(&mut range).collect();
        let states = (0..step.states.len()).map(&mut range).collect();
        StepRanges { steps: 1, nodes, states }
    }
}

fn small(name: &str) -> Graph {
    let input = Some(if name == "network1" { [1, 3, 3] } else { [1, 16, 16] });
    let made = zoo::network(name, &zoo::Options { input, classes: Some(3), seed: 0 }).expect("a network");
    import::import_for_training_bytes(&made.onnx).expect("a graph")
}

fn steps_of(graph: &Graph) -> Vec<StepGraph> {
    let recipe = |loss| Recipe { weight_decay: 5e-4, ..steps::recipe(2, loss) };
    let step = |loss| training_step(graph, &recipe(loss), 0.1, true);
    let all = [step(Loss::CrossEntropy), step(Loss::Mse), evaluation(graph, &recipe(Loss::Mse), 2)];
    all.into_iter().flatten().collect()
}

/// Plans of a step and of measuring it, and of the step after. How many of them there are.
fn plans(step: &StepGraph, ranges: &StepRanges, random: &mut Random) -> usize {
    ranges.check(step).expect("they are numbers");
    let loss = step.loss.map(|_| Receiver::P0);
    let ring = random.of(&[32, 64]);
    let options = TrainingOptions { loss, ..steps::options(ring, [1, 1, step.item_len]) };
    let names = measured(step).into_iter().map(|node| step.nodes[node].name.clone());
    let exponents: Vec<(String, i32)> = names.map(|name| (name, random.of(&EXPONENTS))).collect();
    let renewed = renew(step, ranges, ranges, &exponents);
    let found = [
        compile(step, ranges, &options),
        measure(step, ranges, &TrainingOptions { loss: None, ..options.clone() }),
        compile(step, &renewed, &options),
    ];
    found.into_iter().flatten().map(|plan| plan.check()).filter(Result::is_ok).count()
}

/// The same, and what was tried where it panics.
fn survives(step: &StepGraph, ranges: &StepRanges, random: &mut Random, what: &str) -> usize {
    let outcome = catch_unwind(AssertUnwindSafe(|| plans(step, ranges, random)));
    outcome.unwrap_or_else(|_| panic!("{what}, {} of {} items, {ranges:?}", step.name, step.batch))
}

#[test]
fn hostile_ranges_give_a_plan_or_a_reason() {
    let (mut random, mut found, mut tried) = (Random(1), 0, 0);
    for name in ["network1", "lenet", "resnet8"] {
        for step in steps_of(&small(name)) {
            for case in 0..60 {
                let ranges = random.ranges(&step, [200, 20, 1][case % 3]);
                found += survives(&step, &ranges, &mut random, name);
                tried += 3;
            }
            // All the same.
            for max_abs in MAGNITUDES {
                let range = ValueRange { max_abs, rms: random.of(&[max_abs, max_abs / 4.0, 0.0]) };
                let (nodes, states) = (vec![range; step.nodes.len()], vec![range; step.states.len()]);
                found += survives(&step, &StepRanges { steps: 1, nodes, states }, &mut random, name);
                tried += 3;
            }
        }
    }
    println!("{found} plans of {tried}");
    assert!(found > tried / 20 && found < tried, "{found} plans of {tried}");
}

/// Where a document has numbers.
fn numbers(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(path.to_string()),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, item)| numbers(item, &format!("{path}/{place}"), found))
        }
        Value::Object(items) => items.iter().for_each(|(key, item)| numbers(item, &format!("{path}/{key}"), found)),
        _ => (),
    }
}

#[test]
fn changed_networks_give_a_plan_or_a_reason() {
    let (mut random, mut accepted, mut found) = (Random(2), 0, 0);
    for name in ["network1", "lenet", "resnet8"] {
        let document = serde_json::to_value(Network::of(&small(name))).expect("JSON");
        let mut paths = Vec::new();
        numbers(&document, "", &mut paths);
        for _ in 0..3000 {
            let (mut changed, mut what) = (document.clone(), name.to_string());
            for _ in 0..1 + random.below(2) {
                let (path, number) = (&paths[random.below(paths.len())], random.of(&NUMBERS));
                let number = if number.fract() == 0.0 { json!(number as u64) } else { json!(number) };
                what += &format!("; {path} = {number}");
                *changed.pointer_mut(path).expect("it is there") = number;
            }
            let Ok(network) = serde_json::from_value::<Network>(changed) else { continue };
            if network.check().is_err() {
                continue;
            }
            accepted += 1;
            for step in steps_of(&network.graph()) {
                let ranges = random.ranges(&step, 200);
                found += survives(&step, &ranges, &mut random, &what);
            }
        }
    }
    println!("{accepted} networks, {found} plans");
    assert!(accepted > 100 && found > 100, "{accepted} networks, {found} plans");
}

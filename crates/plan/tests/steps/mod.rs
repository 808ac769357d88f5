//! Steps to plan: recipes, options, made-up items, ranges.
#![allow(dead_code)]

pub mod clear;

use ariann_graph::training::{Initial, Loss, Recipe, Rehearsal, StepGraph, StepRanges, Trainer, training_step};
use ariann_graph::{import, zoo};
use ariann_plan::training::{MARGIN, Source, TrainingOptions};
use ariann_plan::{InputSpec, Link, Opens, Optimize, Plan, SignChoice};

pub fn recipe(batch: usize, loss: Loss) -> Recipe {
    Recipe { momentum: 0.9, seed: 1, initial: Initial::Model, ..Recipe::plain(loss, batch, 0.02) }
}

pub fn options(ring: u32, input: [usize; 3]) -> TrainingOptions {
    TrainingOptions {
        ring,
        margin: MARGIN,
        features: Source::P1,
        labels: Source::P0,
        loss: None,
        input: InputSpec::plain("input", &input, [-1.0, 1.0]),
        optimize: Optimize::Material,
        sign: SignChoice::Exact,
        link: Link::LOOPBACK,
        before: None,
        shared: None,
    }
}

/// Items that no distribution is behind.
pub fn items(step: &StepGraph, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let features = (0..step.batch * step.item_len).map(|_| next() * 2.0 - 1.0).collect();
    let labels = (0..step.batch).map(|_| (next() * step.classes as f32) as u32).collect();
    (features, labels)
}

pub fn ranges(step: &StepGraph, steps: u64) -> StepRanges {
    let (mut trainer, mut rehearsal) = (Trainer::new(step), Rehearsal::new(step));
    for number in 0..steps {
        let (features, labels) = items(step, number + 1);
        rehearsal.step(&mut trainer, step, &features, &labels, number).expect("a step");
    }
    rehearsal.ranges().expect("ranges")
}

pub fn network(name: &str, input: Option<[usize; 3]>, recipe: &Recipe, loss: bool) -> (StepGraph, [usize; 3]) {
    let network = zoo::network(name, &zoo::Options { input, ..zoo::Options::default() }).expect("a network");
    let graph = import::import_for_training_bytes(&network.onnx).expect("a graph");
    (training_step(&graph, recipe, recipe.lr, loss).expect("a step"), network.input)
}

/// What a plan opens that is no masked value.
pub fn named(plan: &Plan) -> Vec<Opens> {
    plan.opened().map(|(_, opens, _)| opens).filter(|opens| !matches!(opens, Opens::Masked)).collect()
}

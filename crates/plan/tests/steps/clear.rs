//! Steps in clear, by the reference and in float.

use ariann_gates::Window;
use ariann_graph::training::{Rehearsal, Role, StepGraph, StepRanges, Trainer};
use ariann_plan::clear::{Excess, Nearest, Reference, Rounding};
use ariann_plan::training::{decode_state, encode_states, measured};
use ariann_plan::{Plan, Scale};
use ariann_ring::fixed;

use super::items;

/// Rounds to the nearest and keeps what goes into the windows of measured values.
pub struct Watching<'p> {
    plan: &'p Plan,
    pub seen: Vec<(usize, Vec<i64>)>,
}

impl Rounding for Watching<'_> {
    fn round(&mut self, gate: u32, first_item: usize, z: &[i64], window: Window, out: &mut [i64]) {
        Nearest.round(gate, first_item, z, window, out);
        if self.plan.gates[gate as usize].name == "ranges/window" {
            self.seen.push((gate as usize, out.to_vec()));
        }
    }
}

/// A batch, at `by` times its magnitude.
pub fn batch(step: &StepGraph, seed: u64, by: f32) -> (Vec<f32>, Vec<u32>) {
    let (mut features, labels) = items(step, seed);
    features.iter_mut().for_each(|x| *x *= by);
    (features, labels)
}

pub fn rehearsed(step: &StepGraph, by: f32) -> StepRanges {
    let (mut trainer, mut rehearsal) = (Trainer::new(step), Rehearsal::new(step));
    for number in 0..2 {
        let (features, labels) = batch(step, number + 1, by);
        rehearsal.step(&mut trainer, step, &features, &labels, number).expect("a step");
    }
    rehearsal.ranges().expect("ranges")
}

pub fn encoded(plan: &Plan, step: &StepGraph, features: &[f32], labels: &[u32]) -> [Vec<i64>; 2] {
    let frac = plan.gates[0].scale.frac;
    let features = features.iter().map(|x| fixed::encode::<u64>(f64::from(*x), frac).expect("it fits") as i64);
    let one_hot = labels.iter().flat_map(|label| (0..step.classes as u32).map(move |class| i64::from(class == *label)));
    [features.collect(), one_hot.collect()]
}

pub fn words(plan: &Plan, states: &[Vec<f32>]) -> Vec<Vec<i64>> {
    let words = encode_states::<u64>(plan, states).expect("states fit");
    words.into_iter().map(|words| words.into_iter().map(|word| word as i64).collect()).collect()
}

/// What a measuring plan reveals in clear, and what it saw.
pub fn measuring<'p>(
    plan: &'p Plan,
    step: &StepGraph,
    states: &[Vec<f32>],
    (features, labels): &(Vec<f32>, Vec<u32>),
) -> (Vec<u64>, Watching<'p>) {
    let [features, labels] = encoded(plan, step, features, labels);
    let (before, mut rounding) = (words(plan, states), Watching { plan, seen: Vec::new() });
    let mut after = before.clone();
    let left = Reference::of_step(plan).run_step(&mut after, features, labels, &mut rounding, [0, 0]);
    assert_eq!(before, after, "measuring changes nothing");
    (left.result.expect("exponents").into_iter().map(|word| word as u64).collect(), rounding)
}

pub fn initial(step: &StepGraph) -> Vec<Vec<f32>> {
    step.states.iter().map(|state| state.initial.clone()).collect()
}

pub fn names(step: &StepGraph) -> Vec<String> {
    measured(step).into_iter().map(|node| step.nodes[node].name.clone()).collect()
}

pub fn scales_after(plan: &Plan) -> Vec<Scale> {
    plan.training.as_ref().expect("training").states.iter().map(|state| state.after).collect()
}

/// The relative error of the velocities that a step leaves, against float, and the first value that left its bound.
pub fn error(
    plan: &Plan,
    step: &StepGraph,
    states: &[Vec<f32>],
    (features, labels): &(Vec<f32>, Vec<u32>),
) -> (f64, Option<Excess>) {
    let mut trainer = Trainer::new(step);
    trainer.states_mut().clone_from_slice(states);
    trainer.run(step, features, labels, 0);
    let [features, labels] = encoded(plan, step, features, labels);
    let mut words = words(plan, states);
    let excess = Reference::of_step(plan).run_step(&mut words, features, labels, &mut Nearest, [0, 0]).excess;
    let (mut off, mut all) = (0f64, 0f64);
    let specs = &plan.training.as_ref().expect("training").states;
    for ((words, spec), float) in words.iter().zip(specs).zip(trainer.states()) {
        if spec.role == Role::Velocity {
            let words: Vec<u64> = words.iter().map(|word| *word as u64).collect();
            let private = decode_state(&words, spec.after);
            off += private.iter().zip(float).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            all += float.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>();
        }
    }
    ((off / all).sqrt(), excess)
}

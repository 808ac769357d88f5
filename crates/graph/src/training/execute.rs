//! Steps in float32: the training that a private one is compared with, and that its ranges are taken from.

use std::collections::HashMap;

use super::builder::forward_node;
use super::float::{self, Real, bilinear, by_channel};
use super::public;
use super::step::{Role, State, StepGraph, StepOp};
use super::windows;

/// What a step gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The loss summed over the batch, where the graph computes it.
    pub loss: Option<f64>,
    /// The logits, `[batch, classes]`.
    pub output: Vec<f32>,
}

/// Trains in float32: the states of a run, on which steps work. Steps and evaluations of one recipe have the same states.
pub struct Trainer {
    machine: Machine<f32>,
}

impl Trainer {
    /// The states that the graph begins with; dropout from seed 0.
    pub fn new(step: &StepGraph) -> Self {
        Trainer::with_seed(step, 0)
    }

    /// The same, dropout from the recipe's seed.
    pub fn with_seed(step: &StepGraph, seed: u64) -> Self {
        let states = step.states.iter().map(|state| state.initial.clone()).collect();
        Trainer { machine: Machine { states, seed, spare: Spare::default() } }
    }

    /// Values of the states, in the graph's order.
    pub fn states(&self) -> &[Vec<f32>] {
        &self.machine.states
    }

    /// The same, to set them. Their lengths stay.
    pub fn states_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.machine.states
    }

    /// Values of what training changes, parameters and running statistics, by name, as [`crate::export_onnx`] takes them.
    pub fn parameters(&self, step: &StepGraph) -> std::collections::BTreeMap<String, Vec<f32>> {
        let kept = |(state, _): &(&State, _)| matches!(state.role, Role::Parameter | Role::Running);
        let pairs = step.states.iter().zip(&self.machine.states).filter(kept);
        pairs.map(|(state, values)| (state.name.clone(), values.clone())).collect()
    }

    /// Step number `number` on a batch: `features` `[batch, ...]`, one label an item.
    ///
    /// # Panics
    /// When lengths differ from the graph's, or a label is no class.
    pub fn run(&mut self, step: &StepGraph, features: &[f32], labels: &[u32], number: u64) -> Outcome {
        self.run_observed(step, features, labels, number, |_, _| ())
    }

    /// The same; `observe` sees the value of each node. Of nodes that change states it sees what the state became; of an update
    /// the velocity, or the gradient with weight decay where there is none.
    ///
    /// # Panics
    /// When lengths differ from the graph's, or a label is no class.
    pub fn run_observed(
        &mut self,
        step: &StepGraph,
        features: &[f32],
        labels: &[u32],
        number: u64,
        observe: impl FnMut(usize, &[f32]),
    ) -> Outcome {
        let (loss, output) = self.machine.run(step, features, labels, number, observe);
        Outcome { loss: loss.map(f64::from), output }
    }
}

/// One step in float64 from the states that the graph begins with: what the rounding of float32 and of fixed point is measured
/// against. Gives the states after it; `observe` sees what [`Trainer::run_observed`] shows.
///
/// # Panics
/// When lengths differ from the graph's, or a label is no class.
pub fn step_in_f64(
    step: &StepGraph,
    features: &[f32],
    labels: &[u32],
    observe: impl FnMut(usize, &[f64]),
) -> Vec<Vec<f64>> {
    let features: Vec<f64> = features.iter().map(|&value| value.into()).collect();
    let mut machine = Machine::<f64>::new(step);
    machine.run(step, &features, labels, 0, observe);
    machine.states
}

/// Buffers that were let go, by length, so that memory is not asked for anew.
#[derive(Clone)]
struct Spare<T>(HashMap<usize, Vec<Vec<T>>>);

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Spare(HashMap::new())
    }
}

impl<T: Real> Spare<T> {
    /// Of any content.
    fn take(&mut self, len: usize) -> Vec<T> {
        let kept = self.0.get_mut(&len).and_then(Vec::pop);
        kept.unwrap_or_else(|| vec![T::zero(); len])
    }

    fn give(&mut self, buffer: Vec<T>) {
        self.0.entry(buffer.len()).or_default().push(buffer);
    }
}

/// What backward nodes need of a forward one.
enum Memory {
    None,
    Bits(Vec<bool>),
    Places(Vec<u32>),
}

/// The executor, over `f32` or `f64`.
#[derive(Clone)]
pub(super) struct Machine<T> {
    pub states: Vec<Vec<T>>,
    pub seed: u64,
    spare: Spare<T>,
}

impl<T: Real> Machine<T> {
    pub fn new(step: &StepGraph) -> Self {
        let wide = |state: &State| state.initial.iter().map(|&value| T::of(value.into())).collect();
        Machine { states: step.states.iter().map(wide).collect(), seed: 0, spare: Spare::default() }
    }

    /// Values that are held for later steps.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.spare.0.iter().map(|(len, buffers)| len * buffers.len()).sum()
    }

    pub fn run(
        &mut self,
        step: &StepGraph,
        features: &[T],
        labels: &[u32],
        number: u64,
        mut observe: impl FnMut(usize, &[T]),
    ) -> (Option<T>, Vec<T>) {
        assert_eq!(features.len(), step.batch * step.item_len, "values of a batch");
        assert_eq!(labels.len(), step.batch, "labels of a batch");
        assert!(labels.iter().all(|&label| (label as usize) < step.classes), "a label is no class");
        let mut run = Run {
            step,
            batch: (features, labels, number),
            seed: self.seed,
            states: &self.states,
            spare: &mut self.spare,
            values: step.nodes.iter().map(|_| Slot::Empty).collect(),
            memories: step.nodes.iter().map(|_| Memory::None).collect(),
        };
        let last = last_uses(step);
        let mut new = Vec::new();
        for (index, node) in step.nodes.iter().enumerate() {
            match changes(&node.op) {
                true => {
                    let changed = run.change(index);
                    let last = changed.states.last().map(|(_, values)| values);
                    observe(index, changed.seen.as_ref().or(last).map_or(&[], |seen| seen));
                    new.extend(changed.states);
                    changed.seen.into_iter().for_each(|seen| run.spare.give(seen));
                }
                false => {
                    run.values[index] = run.compute(index);
                    observe(index, run.value(index));
                }
            }
            for &read in node.inputs.iter().chain(&forward_node(&node.op)).filter(|read| last[**read] == index) {
                run.release(read);
            }
            // A value that is only looked at.
            if last[index] == usize::MAX && index != step.output && Some(index) != step.loss {
                run.release(index);
            }
        }
        let output = run.value(step.output).to_vec();
        let loss = step.loss.map(|loss| run.value(loss)[0]);
        (0..step.nodes.len()).for_each(|index| run.release(index));
        for (state, values) in new {
            let old = std::mem::replace(&mut self.states[state], values);
            self.spare.give(old);
        }
        (loss, output)
    }
}

/// For every node the one that reads it last; `usize::MAX` for those that are never let go, or never read.
fn last_uses(step: &StepGraph) -> Vec<usize> {
    let mut last = vec![usize::MAX; step.nodes.len()];
    for (index, node) in step.nodes.iter().enumerate() {
        node.inputs.iter().copied().chain(forward_node(&node.op)).for_each(|read| last[read] = index);
    }
    std::iter::once(step.output).chain(step.loss).for_each(|kept| last[kept] = usize::MAX);
    last
}

fn changes(op: &StepOp) -> bool {
    matches!(op, StepOp::Update { .. } | StepOp::Running { .. } | StepOp::Count { .. })
}

/// Where a node's value is.
enum Slot<T> {
    Empty,
    Own(Vec<T>),
    Features,
    State(usize),
}

impl<T> Slot<T> {
    fn get<'a>(&'a self, features: &'a [T], states: &'a [Vec<T>]) -> &'a [T] {
        match self {
            Slot::Own(values) => values,
            Slot::Features => features,
            Slot::State(state) => &states[*state],
            Slot::Empty => unreachable!("a value is kept until its last use"),
        }
    }
}

/// New values of states, and what an observer sees if not the last of these.
struct Changed<T> {
    states: Vec<(usize, Vec<T>)>,
    seen: Option<Vec<T>>,
}

struct Run<'a, T> {
    step: &'a StepGraph,
    batch: (&'a [T], &'a [u32], u64),
    seed: u64,
    states: &'a [Vec<T>],
    spare: &'a mut Spare<T>,
    values: Vec<Slot<T>>,
    memories: Vec<Memory>,
}

impl<T: Real> Run<'_, T> {
    fn value(&self, node: usize) -> &[T] {
        self.values[node].get(self.batch.0, self.states)
    }

    fn release(&mut self, node: usize) {
        if let Slot::Own(buffer) = std::mem::replace(&mut self.values[node], Slot::Empty) {
            self.spare.give(buffer);
        }
        self.memories[node] = Memory::None;
    }

    fn compute(&mut self, index: usize) -> Slot<T> {
        let node = &self.step.nodes[index];
        match &node.op {
            StepOp::Features => return Slot::Features,
            StepOp::State(state) => return Slot::State(*state),
            _ => (),
        }
        let mut out = self.spare.take(node.len);
        let memory = self.fill(index, &mut out);
        self.memories[index] = memory;
        Slot::Own(out)
    }

    fn fill(&self, index: usize, out: &mut [T]) -> Memory {
        let node = &self.step.nodes[index];
        let input = |place: usize| self.value(node.inputs[place]);
        let map = |out: &mut [T], f: &dyn Fn(T) -> T| {
            out.iter_mut().zip(input(0)).for_each(|(out, &x)| *out = f(x));
        };
        match &node.op {
            StepOp::Labels => {
                out.fill(T::zero());
                let rows = out.chunks_exact_mut(self.step.classes).zip(self.batch.1);
                rows.for_each(|(row, &label)| row[label as usize] = T::one());
            }
            StepOp::Product(shape) => bilinear(shape, input(0), input(1), out),
            StepOp::Add => {
                out.iter_mut().zip(input(0)).zip(input(1)).for_each(|((out, &a), &b)| *out = a + b);
                for place in 2..node.inputs.len() {
                    out.iter_mut().zip(input(place)).for_each(|(out, &x)| *out += x);
                }
            }
            StepOp::Subtract => {
                out.iter_mut().zip(input(0)).zip(input(1)).for_each(|((out, &a), &b)| *out = a - b);
            }
            StepOp::Scale(factor) => {
                let factor = T::of(*factor);
                out.iter_mut().zip(input(0)).for_each(|(out, &x)| *out = x * factor);
            }
            StepOp::Spread(axes) => by_channel(*axes, input(0), out, |_, value| value),
            StepOp::Reduce(axes) => float::reduce(*axes, input(0), out),
            StepOp::Arrange(arrange) => {
                out.fill(T::zero());
                let operands: Vec<&[T]> = node.inputs.iter().map(|&input| self.value(input)).collect();
                arrange.apply(1, &operands, out);
            }
            StepOp::Relu => {
                let x = input(0);
                out.iter_mut().zip(x).for_each(|(out, &x)| *out = if x < T::zero() { T::zero() } else { x });
                return Memory::Bits(x.iter().map(|&x| x >= T::zero()).collect());
            }
            StepOp::Clip { lo, hi } => {
                let (lo, hi) = (T::of((*lo).into()), T::of((*hi).into()));
                map(out, &|x| {
                    if x < lo {
                        lo
                    } else if x > hi {
                        hi
                    } else {
                        x
                    }
                });
            }
            StepOp::ReluBack { relu } => {
                let Memory::Bits(bits) = &self.memories[*relu] else { unreachable!("kept until its last use") };
                let pairs = out.iter_mut().zip(input(0)).zip(bits);
                pairs.for_each(|((out, &d), &bit)| *out = if bit { d } else { T::zero() });
            }
            StepOp::MaxPool(pool) => {
                let mut places = vec![0; out.len()];
                windows::max(pool, input(0), out, &mut places);
                return Memory::Places(places);
            }
            StepOp::MaxBack { pool } => {
                let Memory::Places(places) = &self.memories[*pool] else { unreachable!("kept until its last use") };
                let StepOp::MaxPool(pool) = &self.step.nodes[*pool].op else { unreachable!("a pooling") };
                windows::max_back(pool, places, input(0), out);
            }
            StepOp::AvgPool(average) => windows::average(average, input(0), out),
            StepOp::AvgBack(average) => windows::average_back(average, input(0), out),
            StepOp::Function(function) => map(out, &|x| T::of(function.of(x.wide()))),
            StepOp::Dropout { pattern, keep } => {
                let kept = public::pattern(self.seed, self.batch.2, *pattern, out.len(), *keep);
                let factor = T::of(256.0 / f64::from(*keep));
                let pairs = out.iter_mut().zip(input(0)).zip(kept);
                pairs.for_each(|((out, &x), kept)| *out = if kept { x * factor } else { T::zero() });
            }
            StepOp::Correct => {
                let rows = input(0).chunks_exact(self.step.classes).zip(self.batch.1);
                let right = rows.filter(|(row, label)| greatest(row) == **label as usize).count();
                out[0] = T::of(right as f64);
            }
            StepOp::Features
            | StepOp::State(_)
            | StepOp::Update { .. }
            | StepOp::Running { .. }
            | StepOp::Count { .. } => unreachable!("these have no value of their own"),
        }
        Memory::None
    }

    fn change(&mut self, index: usize) -> Changed<T> {
        let node = &self.step.nodes[index];
        let len = self.state_len(&node.op);
        let mut new = self.spare.take(len);
        let mut moved = if matches!(node.op, StepOp::Update { .. }) { self.spare.take(len) } else { Vec::new() };
        let input = |place: usize| self.values[node.inputs[place]].get(self.batch.0, self.states);
        match &node.op {
            StepOp::Running { state, momentum } => {
                let momentum = T::of(*momentum);
                let pairs = new.iter_mut().zip(input(0)).zip(input(1));
                pairs.for_each(|((new, &old), &x)| *new = old + momentum * (x - old));
                Changed { states: vec![(*state, new)], seen: None }
            }
            StepOp::Count { state } => {
                new[0] = self.states[*state][0] + input(0)[0];
                Changed { states: vec![(*state, new)], seen: None }
            }
            StepOp::Update { state, velocity, lr, momentum, nesterov, weight_decay } => {
                let (weights, gradient) = (input(0), input(node.inputs.len() - 1));
                let batch = self.step.batch as f64;
                let (rate, decay, momentum) = (T::of(lr / batch), T::of(weight_decay * batch), T::of(*momentum));
                let parts = moved.iter_mut().zip(gradient).zip(weights);
                parts.for_each(|((moved, &g), &w)| *moved = g + decay * w);
                if velocity.is_some() {
                    moved.iter_mut().zip(input(1)).for_each(|(moved, &old)| *moved += momentum * old);
                }
                let parts = new.iter_mut().zip(weights).zip(&moved).zip(gradient);
                parts.for_each(|(((new, &w), &v), &g)| {
                    let direction = if *nesterov { g + decay * w + momentum * v } else { v };
                    *new = w - rate * direction;
                });
                match velocity {
                    Some(velocity) => Changed { states: vec![(*state, new), (*velocity, moved)], seen: None },
                    None => Changed { states: vec![(*state, new)], seen: Some(moved) },
                }
            }
            _ => unreachable!("these change no state"),
        }
    }

    fn state_len(&self, op: &StepOp) -> usize {
        match op {
            StepOp::Update { state, .. } | StepOp::Running { state, .. } | StepOp::Count { state } => {
                self.states[*state].len()
            }
            _ => 0,
        }
    }
}

/// Where the greatest value is; of equal ones the first.
fn greatest<T: PartialOrd>(row: &[T]) -> usize {
    (1..row.len()).fold(0, |best, place| if row[place] > row[best] { place } else { best })
}

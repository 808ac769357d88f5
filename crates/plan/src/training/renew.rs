//! Ranges for the steps to come, from what was measured of one.

use std::collections::BTreeMap;

use ariann_graph::training::{StepGraph, StepOp, StepRanges};
use ariann_graph::{Function, ValueRange};

/// Well within the range of an exponent.
const WITHIN: f64 = 0.9;
/// The least part of a range that is left of it at once: what a window can tell.
const LEAST: f64 = 1.0 / 256.0;
/// And of the range of a velocity, which remembers earlier gradients.
const LEAST_VELOCITY: f64 = 0.5;

/// Ranges for the steps to come. `of` are the measured nodes' names and exponents ([`super::exponents`]); `step` is their step or
/// an evaluation, whose forward nodes have the same names.
///
/// * A measured node's range is the greatest that has its exponent, but not below 2^-8 of the one before.
/// * Other nodes follow in the order of computation: a range changes as the greatest change among what the value is made of,
///   and a sum is not beyond the sum of its terms' ranges. Functions with bounds keep them.
/// * Features, labels and parameters keep their ranges; so do the ranges of all states. Parameters have a margin of their own.
///   What moves a velocity follows its gradient, but is not less than half of what it was: it remembers earlier gradients. A
///   running statistic follows what it moves to where that grows, and does not shrink; an evaluation, which does not move it,
///   keeps its range.
///
/// Root mean squares change as the greatest magnitudes do.
pub fn renew(step: &StepGraph, ranges: &StepRanges, of: &[(String, i32)]) -> StepRanges {
    let of: BTreeMap<&str, i32> = of.iter().map(|(name, exponent)| (name.as_str(), *exponent)).collect();
    let mut new = ranges.clone();
    for (index, node) in step.nodes.iter().enumerate() {
        let max = match of.get(node.name.as_str()) {
            Some(exponent) => {
                let max_abs = WITHIN * 2f64.powi((*exponent).clamp(-1000, 1000));
                let greatest = ValueRange { max_abs, rms: 0.0 }.rounded().max_abs;
                greatest.max(ranges.nodes[index].max_abs * LEAST)
            }
            None => follows(step, index, &ranges.nodes, &new.nodes),
        };
        set(&mut new.nodes[index], max);
        // The state that is moved has room for what it becomes.
        if let StepOp::Running { .. } = node.op {
            let state = node.inputs[0];
            let max = max.max(new.nodes[state].max_abs);
            set(&mut new.nodes[state], max);
        }
    }
    new
}

fn set(range: &mut ValueRange, max: f64) {
    *range = ValueRange { max_abs: max, rms: range.rms * change(range.max_abs, max) };
}

fn change(old: f64, new: f64) -> f64 {
    if old > 0.0 { new / old } else { 1.0 }
}

/// The greatest magnitude of a node that was not measured, from those of its operands.
fn follows(step: &StepGraph, index: usize, old: &[ValueRange], new: &[ValueRange]) -> f64 {
    let (node, own) = (&step.nodes[index], old[index].max_abs);
    let changed = |input: usize| change(old[input].max_abs, new[input].max_abs);
    let changes = node.inputs.iter().map(|input| changed(*input));
    let greatest = changes.clone().reduce(f64::max).unwrap_or(1.0);
    match &node.op {
        StepOp::Features | StepOp::Labels | StepOp::State(_) | StepOp::Correct | StepOp::Count { .. } => own,
        StepOp::Add | StepOp::Subtract => {
            (own * greatest).min(node.inputs.iter().map(|input| new[*input].max_abs).sum())
        }
        StepOp::Product(_) => own * changes.product::<f64>(),
        StepOp::Clip { lo, hi } => (own * greatest).min(f64::from(lo.abs().max(hi.abs()))),
        StepOp::Function(function) => match function {
            Function::Sigmoid | Function::Tanh | Function::Exp | Function::Exponent | Function::Shrink { .. } => own,
            Function::Gelu | Function::GeluTanh => own * greatest,
            // Their greatest values are at the least operands.
            Function::Reciprocal => own * greatest.recip().max(1.0),
            Function::InverseRoot(_) => own * greatest.sqrt().recip().max(1.0),
            Function::Log => own + greatest.ln().abs(),
        },
        StepOp::Update { velocity, weight_decay, .. } => {
            let gradient = changed(*node.inputs.last().expect("an update has a gradient"));
            let least = if velocity.is_some() { LEAST_VELOCITY } else { 0.0 };
            let decay = weight_decay * step.batch as f64 * new[node.inputs[0]].max_abs;
            (own * gradient.max(least)).max(decay.min(own))
        }
        StepOp::Running { .. } => own.max(new[node.inputs[1]].max_abs),
        StepOp::Scale(_)
        | StepOp::Spread(_)
        | StepOp::Reduce(_)
        | StepOp::Arrange(_)
        | StepOp::Relu
        | StepOp::ReluBack { .. }
        | StepOp::MaxPool(_)
        | StepOp::MaxBack { .. }
        | StepOp::AvgPool(_)
        | StepOp::AvgBack(_)
        | StepOp::Dropout { .. } => own * greatest,
    }
}

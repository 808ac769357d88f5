//! Ranges for the steps to come, from what was measured of one.
//!
//! Three words for three things: a training that *rescales* (the command line's word) *measures* every N steps
//! ([`super::measure()`]: a plan of its own, whose result are exponents) and then *renews* its ranges from them ([`renew()`]), by which all
//! roles compile the plans of the steps to come.

use std::collections::BTreeMap;

use ariann_graph::training::{StepGraph, StepNode, StepOp, StepRanges};
use ariann_graph::{Function, ValueRange};

use super::MARGIN;

/// Well within the range of an exponent.
const WITHIN: f64 = 0.9;
/// The least part of a range that a renewal leaves of it.
const FALL: f64 = 0.5;
/// The least part of the job's range that is ever left: one bit less than the usual margin, so that a value as great as in the
/// rehearsal stays within its bound, and no measurement takes it for one that left.
const FLOOR: f64 = 2.0 / (1 << MARGIN) as f64;

/// Ranges for the steps to come. `ranges` are those of the steps before, `job` those that the training began with; `of` are the
/// measured nodes' names and exponents ([`super::exponents`]).
///
/// * A measured node's range grows at once to the greatest that has its exponent. It falls slowly, to half in a renewal, and
///   not below an eighth of the job's. What is measured is one batch, and gradients that are small while a training sits on a plateau
///   grow within few steps when it leaves it: whatever the rehearsal saw stays within the margin, however long a plateau was.
/// * Other nodes follow in the order of computation: a range differs from the job's as the greatest difference among what the
///   value is made of, and a sum is not beyond the sum of its terms' ranges. Functions with bounds keep them.
/// * Features, labels and parameters keep their ranges; so do the ranges of all states. Parameters have a margin of their own.
///   What moves a velocity follows its gradient, but is not less than half of what it was: it remembers earlier gradients. A
///   running statistic follows what it moves to where that grows, and does not shrink.
///
/// Root mean squares change as the greatest magnitudes do.
pub fn renew(step: &StepGraph, ranges: &StepRanges, job: &StepRanges, of: &[(String, i32)]) -> StepRanges {
    let mut new = ranges.clone();
    renew_nodes(step, ranges, job, of, &mut new);
    new
}

/// The same of an evaluation, whose forward nodes have the names of the step's. States are as `renewed`, the ranges of `step`,
/// says: an evaluation does not move a running statistic, and has to take it as the steps left it.
pub fn renew_evaluation(
    evaluation: &StepGraph,
    ranges: &StepRanges,
    job: &StepRanges,
    of: &[(String, i32)],
    (step, renewed): (&StepGraph, &StepRanges),
) -> StepRanges {
    let mut new = ranges.clone();
    for (index, node) in evaluation.nodes.iter().enumerate() {
        let moved = |(at, other): (usize, &StepNode)| (other.op == node.op).then(|| renewed.nodes[at].max_abs);
        if let StepOp::State(_) = node.op
            && let Some(max) = step.nodes.iter().enumerate().find_map(moved)
        {
            set(&mut new.nodes[index], &job.nodes[index], max.max(job.nodes[index].max_abs));
        }
    }
    renew_nodes(evaluation, ranges, job, of, &mut new);
    new
}

fn renew_nodes(step: &StepGraph, ranges: &StepRanges, job: &StepRanges, of: &[(String, i32)], new: &mut StepRanges) {
    let of: BTreeMap<&str, i32> = of.iter().map(|(name, exponent)| (name.as_str(), *exponent)).collect();
    for (index, node) in step.nodes.iter().enumerate() {
        let [before, first] = [ranges, job].map(|ranges| ranges.nodes[index].max_abs);
        let max = match (of.get(node.name.as_str()), &node.op) {
            (Some(exponent), _) => {
                let max_abs = WITHIN * 2f64.powi((*exponent).clamp(-1000, 1000));
                let greatest = ValueRange { max_abs, rms: 0.0 }.rounded().max_abs;
                greatest.max(before * FALL).max(first * FLOOR)
            }
            (None, StepOp::State(_)) => new.nodes[index].max_abs,
            (None, _) => follows(step, index, before, &job.nodes, &new.nodes),
        };
        set(&mut new.nodes[index], &job.nodes[index], max);
        // The state that is moved has room for what it becomes.
        if let StepOp::Running { .. } = node.op {
            let state = node.inputs[0];
            let max = max.max(new.nodes[state].max_abs);
            set(&mut new.nodes[state], &job.nodes[state], max);
        }
    }
}

fn set(range: &mut ValueRange, job: &ValueRange, max: f64) {
    *range = ValueRange { max_abs: max, rms: job.rms * change(job.max_abs, max) };
}

fn change(job: f64, new: f64) -> f64 {
    if job > 0.0 { new / job } else { 1.0 }
}

/// The greatest magnitude of a node that was not measured, from those of its operands; `before` is what it was.
fn follows(step: &StepGraph, index: usize, before: f64, job: &[ValueRange], new: &[ValueRange]) -> f64 {
    let (node, own) = (&step.nodes[index], job[index].max_abs);
    let changed = |input: usize| change(job[input].max_abs, new[input].max_abs);
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
            let gradient = own * changed(*node.inputs.last().expect("an update has a gradient"));
            let remembered = if velocity.is_some() { before * FALL } else { 0.0 };
            let decay = weight_decay * step.batch as f64 * new[node.inputs[0]].max_abs;
            gradient.max(remembered).max(decay.min(own))
        }
        StepOp::Running { .. } => before.max(new[node.inputs[1]].max_abs),
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

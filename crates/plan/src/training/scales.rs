//! Scales of a step's values.
//!
//! A product of operands with f_a and f_b fractional bits leaves a sum with f_a + f_b, which must hold max|z| with its
//! margin: f_a + f_b <= B = k - 2 - margin - ceil(log2 max|z|), where z is the product and every sum that its share enters
//! before it is rounded. An operand keeps one scale in all its products. Among all choices the one is taken that makes the
//! smallest operand's useful bits, f + log2 rms, as large as possible, then the next smallest, and so on: the tightest
//! constraint is met first, its two operands sharing its bits evenly.

use ariann_graph::training::{Role, StepGraph, StepOp, StepRanges};
use ariann_ring::Bilinear;

use super::TrainingOptions;
use crate::CompileError;
use crate::scales::{ScaleError, divisors};

/// Useful bits, f + log2 rms, that suffice for any operand, by ring.
const ENOUGH: [i32; 2] = [18, 27];
/// Fractional bits of parameters between steps at most, by ring.
const MASTER: [i32; 2] = [28, 40];
/// Margin of parameters, whose growth is slow.
const MASTER_MARGIN: i32 = 3;
/// The least useful bits of an operand: below it a layer is refused.
const LEAST_USEFUL_BITS: f64 = 1.5;

/// What is known of every value before any gate is made.
pub(super) struct Scales<'a> {
    step: &'a StepGraph,
    ranges: &'a StepRanges,
    ring: i32,
    margin: i32,
    /// Greatest magnitude of each value and of the sums that its share enters before it is rounded.
    reach: Vec<f64>,
    /// Fractional bits of each value as an operand of products and comparisons.
    frac: Vec<i32>,
    /// Shares that are rounded before they are summed.
    cut: Vec<bool>,
}

/// ceil(log2 x).
pub(super) fn bits(x: f64) -> i32 {
    x.max(2f64.powi(-60)).log2().ceil() as i32
}

/// What gates give a value: a share, as far as the kind of node tells.
pub(super) fn is_wire(step: &StepGraph, node: usize) -> bool {
    let node = &step.nodes[node];
    match &node.op {
        StepOp::Features
        | StepOp::Labels
        | StepOp::Relu
        | StepOp::Clip { .. }
        | StepOp::Function(_)
        | StepOp::ReluBack { .. }
        | StepOp::MaxBack { .. } => true,
        StepOp::Spread(_) | StepOp::Arrange(_) | StepOp::AvgPool(_) | StepOp::AvgBack(_) | StepOp::Dropout { .. } => {
            node.inputs.iter().all(|input| is_wire(step, *input))
        }
        _ => false,
    }
}

struct Groups(Vec<usize>);

impl Groups {
    fn of(&mut self, value: usize) -> usize {
        let above = self.0[value];
        if above == value {
            return value;
        }
        let root = self.of(above);
        self.0[value] = root;
        root
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a] = b;
    }
}

impl<'a> Scales<'a> {
    pub fn new(step: &'a StepGraph, ranges: &'a StepRanges, options: &TrainingOptions) -> Result<Self, CompileError> {
        let all = ranges.nodes.iter().chain(&ranges.states);
        for (index, range) in all.enumerate() {
            if !(range.max_abs.is_finite() && range.rms.is_finite()) {
                let layer = step.nodes.get(index).map_or("a state", |node| &node.name).to_string();
                return Err(ScaleError::Range { layer }.into());
            }
        }
        let nodes = step.nodes.len();
        let mut scales = Scales {
            step,
            ranges,
            ring: options.ring as i32,
            margin: options.margin as i32,
            reach: ranges.nodes.iter().map(|range| range.max_abs).collect(),
            frac: vec![0; nodes],
            cut: vec![false; nodes],
        };
        scales.reach();
        scales.solve(options)?;
        Ok(scales)
    }

    /// Greatest magnitude of a value.
    pub fn max(&self, node: usize) -> f64 {
        match self.step.nodes[node].op {
            // With a margin of its own; a running statistic may have grown since its rehearsal.
            StepOp::State(state) => {
                self.state_max(state).max(self.ranges.nodes[node].max_abs) * 2f64.powi(MASTER_MARGIN - self.margin)
            }
            _ => self.ranges.nodes[node].max_abs,
        }
    }

    /// Greatest magnitude of a state, before the first step and after each.
    fn state_max(&self, state: usize) -> f64 {
        let initial = self.step.states[state].initial.iter().fold(0f64, |max, x| max.max(f64::from(x.abs())));
        self.ranges.states[state].max_abs.max(initial)
    }

    /// Root mean square of a value.
    pub fn rms(&self, node: usize) -> f64 {
        self.ranges.nodes[node].rms
    }

    /// Fractional bits of a value as an operand.
    pub fn frac(&self, node: usize) -> i32 {
        self.frac[node]
    }

    /// Whether its share is rounded to [`Scales::frac`] before it is summed.
    pub fn is_cut(&self, node: usize) -> bool {
        self.cut[node]
    }

    pub fn ring(&self) -> i32 {
        self.ring
    }

    pub fn margin(&self) -> i32 {
        self.margin
    }

    /// Bits that tell the places of classes.
    pub fn room(&self) -> i32 {
        self.step.classes.next_power_of_two().trailing_zeros() as i32
    }

    fn enough(&self) -> i32 {
        ENOUGH[usize::from(self.ring == 64)]
    }

    /// Fractional bits that a value of such magnitude leaves.
    pub fn budget_of(&self, max: f64) -> i32 {
        // With room for what a window's opening adds.
        self.ring - 2 - self.margin - bits(max * 1.01)
    }

    /// Fractional bits of a share.
    pub fn budget(&self, node: usize) -> i32 {
        self.budget_of(self.reach[node])
    }

    /// Fractional bits of a state between steps.
    pub fn master(&self, state: usize) -> i32 {
        match self.step.states[state].role {
            Role::Count => 0,
            _ => MASTER[usize::from(self.ring == 64)].min(self.kept(self.state_max(state))),
        }
    }

    /// Fractional bits that a state of such magnitude leaves.
    pub fn kept(&self, max: f64) -> i32 {
        self.ring - 2 - MASTER_MARGIN - bits(max * 1.01)
    }

    /// From the last node to the first: what a share is summed to before it is rounded.
    fn reach(&mut self) {
        for node in (0..self.step.nodes.len()).rev() {
            let entry = &self.step.nodes[node];
            let out = self.reach[node];
            let enters = match &entry.op {
                StepOp::Add | StepOp::Subtract | StepOp::Arrange(_) => out,
                // What is spread is fitted to the sums that it enters while it is small.
                StepOp::Spread(_) => 0.0,
                StepOp::Scale(by) => out / by.abs(),
                StepOp::AvgPool(average) => out * divisors(average).map(|d| d as f64).iter().product::<f64>(),
                StepOp::AvgBack(average) => out * divisors(average).map(|d| d as f64).iter().product::<f64>(),
                StepOp::Dropout { keep, .. } => out * f64::from(*keep) / 256.0,
                StepOp::Reduce(_) => {
                    let input = entry.inputs[0];
                    // A sum far beyond its terms would take their bits: they are rounded first.
                    if !is_wire(self.step, input) && out > 4.0 * self.max(input) {
                        self.cut[input] = true;
                        0.0
                    } else {
                        out
                    }
                }
                StepOp::Update { nesterov, .. } => {
                    let gradient = *entry.inputs.last().expect("an update has a gradient");
                    // Nesterov's step looks ahead by the velocity once more.
                    let sum = if *nesterov { 2.0 * out } else { out };
                    self.reach[gradient] = self.reach[gradient].max(sum);
                    0.0
                }
                _ => 0.0,
            };
            for &input in &entry.inputs {
                self.reach[input] = self.reach[input].max(enters);
            }
        }
        // What is rounded reaches no further by itself.
        for node in 0..self.step.nodes.len() {
            if self.cut[node] {
                self.reach[node] = self.max(node);
            }
        }
    }

    fn solve(&mut self, options: &TrainingOptions) -> Result<(), CompileError> {
        let nodes = &self.step.nodes;
        let mut groups = Groups((0..nodes.len()).collect());
        for (index, node) in nodes.iter().enumerate() {
            match &node.op {
                StepOp::Relu
                | StepOp::Clip { .. }
                | StepOp::MaxPool(_)
                | StepOp::ReluBack { .. }
                | StepOp::MaxBack { .. } => {
                    groups.join(index, node.inputs[0]);
                }
                StepOp::Spread(_)
                | StepOp::Arrange(_)
                | StepOp::Dropout { .. }
                | StepOp::AvgPool(_)
                | StepOp::AvgBack(_)
                    if is_wire(self.step, index) =>
                {
                    node.inputs.iter().for_each(|input| groups.join(index, *input));
                }
                // What a rounded value less its mean is multiplied with has no more bits than that value.
                StepOp::Subtract if self.cut[node.inputs[0]] => groups.join(index, node.inputs[0]),
                _ => {}
            }
        }
        let of: Vec<usize> = (0..nodes.len()).map(|node| groups.of(node)).collect();
        // Useful bits count where a value is multiplied; the smallest root mean square of a group's operands decides.
        let mut offset = vec![f64::INFINITY; nodes.len()];
        let mut cap = vec![i32::MAX / 4; nodes.len()];
        let mut pairs: Vec<(usize, usize, i32)> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let fits = self.budget_of(self.max(index));
            let group = of[index];
            match &node.op {
                StepOp::Labels => cap[group] = cap[group].min(0),
                StepOp::Features => {
                    let [least, greatest] = options.input.range;
                    let range = least.abs().max(greatest.abs()).max(self.max(index));
                    cap[group] = cap[group].min(fits).min(self.ring - 2 - bits(range));
                }
                StepOp::State(state) => cap[group] = cap[group].min(self.master(*state)),
                _ => cap[group] = cap[group].min(fits),
            }
            match &node.op {
                StepOp::Product(of_what) => {
                    for (place, input) in node.inputs.iter().enumerate() {
                        let rms = self.rms(*input);
                        let label = matches!(nodes[*input].op, StepOp::Labels);
                        // Factors of channels are few: what is multiplied with them decides.
                        let few = matches!(of_what, Bilinear::Channels(_)) && place == 1;
                        if rms > 0.0 && !label {
                            let group = of[*input];
                            offset[group] = offset[group].min(rms.log2() - if few { 2.0 } else { 0.0 });
                        }
                    }
                    pairs.push((of[node.inputs[0]], of[node.inputs[1]], self.budget(index)));
                }
                StepOp::Add | StepOp::Subtract => {
                    for input in node.inputs.iter().filter(|input| is_wire(self.step, **input) || self.cut[**input]) {
                        let group = of[*input];
                        cap[group] = cap[group].min(self.budget(index));
                    }
                }
                StepOp::Correct => {
                    // Bits for the comparison of two outputs, their places and a unit.
                    let group = of[node.inputs[0]];
                    cap[group] = cap[group].min(self.budget_of(self.max(node.inputs[0])) - self.room() - 3);
                }
                StepOp::Reduce(_) => {
                    let group = of[node.inputs[0]];
                    if is_wire(self.step, node.inputs[0]) || self.cut[node.inputs[0]] {
                        cap[group] = cap[group].min(self.budget(index));
                    }
                }
                _ => {}
            }
        }
        let offset: Vec<f64> = offset.into_iter().map(|rms| if rms.is_finite() { rms } else { 0.0 }).collect();
        for (cap, offset) in cap.iter_mut().zip(&offset) {
            *cap = (*cap).min(self.enough() - offset.floor().max(-60.0) as i32);
        }
        self.spread_bits(&of, &offset, &cap, &pairs);
        self.refuse()
    }

    /// The tightest constraint first.
    fn spread_bits(&mut self, of: &[usize], offset: &[f64], cap: &[i32], pairs: &[(usize, usize, i32)]) {
        let mut fixed: Vec<Option<i32>> = vec![None; of.len()];
        let roots: Vec<usize> = (0..of.len()).filter(|node| of[*node] == *node).collect();
        loop {
            let mut least: Option<(f64, usize, i32)> = None;
            let mut consider = |useful: f64, group: usize, frac: i32| {
                if least.is_none_or(|(known, ..)| useful < known) {
                    least = Some((useful, group, frac));
                }
            };
            for &group in roots.iter().filter(|group| fixed[**group].is_none()) {
                consider(f64::from(cap[group]) + offset[group], group, cap[group]);
            }
            for &(a, b, budget) in pairs {
                match (fixed[a], fixed[b]) {
                    (Some(_), Some(_)) => {}
                    (Some(known), None) => consider(f64::from(budget - known) + offset[b], b, budget - known),
                    (None, Some(known)) => consider(f64::from(budget - known) + offset[a], a, budget - known),
                    (None, None) if a == b => {
                        let frac = budget.div_euclid(2);
                        consider(f64::from(frac) + offset[a], a, frac);
                    }
                    (None, None) => {
                        let half = (f64::from(budget) + offset[a] + offset[b]) / 2.0;
                        consider(half, a, (half - offset[a]).floor() as i32);
                    }
                }
            }
            let Some((_, group, frac)) = least else { break };
            fixed[group] = Some(frac.min(cap[group]));
        }
        for (frac, group) in self.frac.iter_mut().zip(of) {
            *frac = fixed[*group].expect("every group is fixed");
        }
    }

    /// Refuses operands that keep next to nothing.
    fn refuse(&self) -> Result<(), CompileError> {
        for (index, node) in self.step.nodes.iter().enumerate() {
            let StepOp::Product(_) = node.op else { continue };
            for (place, input) in node.inputs.iter().enumerate() {
                let rms = self.rms(*input);
                let useful = f64::from(self.frac[*input]) + rms.log2();
                if rms > 0.0 && useful < LEAST_USEFUL_BITS && !matches!(self.step.nodes[*input].op, StepOp::Labels) {
                    return Err(ScaleError::Narrow {
                        layer: node.name.clone(),
                        max_abs: self.reach[index],
                        budget: self.budget(index),
                        ring: self.ring as u32,
                        operand: if place == 0 { "first operand" } else { "second operand" },
                        bits: useful,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }
}

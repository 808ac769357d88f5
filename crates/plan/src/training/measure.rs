//! What new ranges are made from while a training runs: a plan that measures its products.
//!
//! It runs the forward and the backward pass of a step on a batch, changes nothing, and reveals to both parties one exponent a
//! product: the least power of two that is not below its greatest magnitude. That is what it tells about the data, the
//! labels and the weights: one power of two a product, each time. Sums, maxima and moved values follow from these.
//!
//! A share is brought to the top of the ring, where its range with its margin ends, and opened by a window that keeps few bits
//! below the range's exponent: comparisons are what measuring costs. Neighbours meet first. With m = max(a, b) known, the
//! lesser one is a + b - m without another comparison, so that greatest and least values take 3/2 comparisons a value, not 2.
//! When few are left, the values of all products go on together, and a table gives the exponents of those that remain.

use ariann_gates::arrange::Rearrange;
use ariann_gates::max::Max;
use ariann_gates::open::Open;
use ariann_gates::reveal::Reveal;
use ariann_gates::subtract::Subtract;
use ariann_gates::truncate::Truncate;
use ariann_gates::{Pooling, Receiver, Window, Windows};
use ariann_graph::Function;
use ariann_graph::training::{Role, StepGraph, StepNode, StepOp};
use ariann_ring::arrange::{Axis, Block};
use ariann_ring::{Arrange, Ring, fixed};

use super::build::{Builder, Held};
use crate::gate::Lookup;
use crate::scales::LOOKUP_WIDTH;
use crate::{CompileError, Entry, Gate, Plan, Revealed, Scale, StateSpec};

/// Bits that are measured below a range's exponent.
const BELOW: i32 = 8;
/// Values that are brought to one window together, about: what a role has in memory at once.
const TOGETHER: usize = 1 << 22;
/// And of how many nodes.
const NODES: usize = 256;
/// Values that meet in one window.
const MEET: usize = 64;
/// The gate that brings values to the top of the ring; its operands have the names of their nodes, and this part.
const VALUES: &str = "ranges/values";
const PART: &str = "range";

/// Exponents that say that there are no new ranges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// Another plan's.
    #[error(
        "ranges: the plan measures {expected} products and {got} exponents were given; both parties must run one plan"
    )]
    Length {
        /// The plan's.
        expected: usize,
        /// Given.
        got: usize,
    },
    /// No table has it.
    #[error(
        "ranges: \"{node}\" has an exponent that no measuring gives; both parties must run one plan and one version"
    )]
    Word {
        /// The node.
        node: String,
    },
    /// What was computed since is not to be trusted.
    #[error(
        "ranges: \"{node}\" left its range: it has values of about 2^{exponent}, and its products hold up to 2^{limit}; use a \
         smaller --rescale-every, a lower learning rate or --ring 64"
    )]
    Left {
        /// The first node in the order of computation.
        node: String,
        /// What was measured.
        exponent: i32,
        /// The exponent of its range, with the margin.
        limit: i32,
    },
}

/// What a measuring plan measures, in the order of what it reveals: nodes of the step.
///
/// These are the products that follow from a trained parameter and that an update follows from, and the functions 1/x and
/// 1/√x, whose greatest values are at the least operands. All else follows from them ([`super::renew()`]): sums and maxima from
/// what they are made of, other functions from their bounds. Products of frozen layers alone do not change, and what the
/// loss alone is made of would tell the loss.
pub fn measured(step: &StepGraph) -> Vec<usize> {
    let effects = step.nodes.iter().map(|node| matches!(node.op, StepOp::Update { .. } | StepOp::Running { .. }));
    let needed = needed(step, effects.collect());
    let mut changes = vec![false; step.nodes.len()];
    for (index, node) in step.nodes.iter().enumerate() {
        changes[index] = match node.op {
            StepOp::State(state) => step.states[state].role == Role::Parameter,
            _ => node.inputs.iter().any(|input| changes[*input]),
        };
    }
    let unbounded = |op: &StepOp| {
        let function = matches!(op, StepOp::Function(Function::Reciprocal | Function::InverseRoot(_)));
        function || matches!(op, StepOp::Product(_))
    };
    (0..step.nodes.len()).filter(|node| needed[*node] && changes[*node] && unbounded(&step.nodes[*node].op)).collect()
}

/// What the nodes marked in `needed` are computed from, and they themselves.
fn needed(step: &StepGraph, mut needed: Vec<bool>) -> Vec<bool> {
    for (index, node) in step.nodes.iter().enumerate().rev() {
        if needed[index] {
            node.inputs.iter().copied().chain(bits_of(node)).for_each(|read| needed[read] = true);
        }
    }
    needed
}

/// The node whose bits a gradient goes by.
fn bits_of(node: &StepNode) -> Option<usize> {
    match node.op {
        StepOp::ReluBack { relu: forward } | StepOp::MaxBack { pool: forward } => Some(forward),
        _ => None,
    }
}

/// A value that is measured.
struct Taken {
    node: usize,
    held: Held,
    len: usize,
}

/// Values among which one node's greatest magnitude is: `len` from `at` on of the share that a gate gives.
struct Left {
    gate: u32,
    at: usize,
    len: usize,
}

impl Builder<'_> {
    /// All gates of a measuring plan, and its states.
    pub(super) fn build_measuring(mut self) -> Result<(Vec<Entry>, Vec<StateSpec>), CompileError> {
        let (step, width) = (self.step, self.measured_width()?);
        self.states.iter_mut().for_each(|state| {
            state.before = if self.options.before.is_some() { state.before } else { state.after };
            state.after = state.before;
        });
        let nodes = measured(step);
        if nodes.is_empty() {
            return Err(CompileError::Unsupported(vec!["  ranges: the step has no product that changes".to_string()]));
        }
        let mut wanted = vec![false; step.nodes.len()];
        nodes.iter().for_each(|node| wanted[*node] = true);
        let needed = needed(step, wanted.clone());
        self.inputs();
        let (mut group, mut left): (Vec<Taken>, Vec<[Left; 2]>) = (Vec::new(), Vec::new());
        for node in (0..step.nodes.len()).filter(|node| needed[*node]) {
            self.node(node)?;
            if !wanted[node] {
                continue;
            }
            let len = self.len(node);
            if group.len() == NODES || group.iter().map(|taken| taken.len).sum::<usize>() + len > TOGETHER {
                self.extremes(&std::mem::take(&mut group), width, &mut left);
            }
            let forms = self.forms[node];
            let held = match forms.share {
                Some(held) => held,
                None => self.shared(self.name(node), forms.wire.expect("a product or a function was made"), len),
            };
            group.push(Taken { node, held, len });
        }
        self.extremes(&group, width, &mut left);
        self.reveal_exponents(width, left);
        Ok((self.gates, self.states))
    }

    /// Bits of the window: those below the range's exponent, the margin, a sign and what a difference needs.
    fn measured_width(&self) -> Result<u32, CompileError> {
        let width = (self.scales.margin() + 2 + BELOW).min(LOOKUP_WIDTH as i32);
        if width < self.scales.margin() + 4 {
            let reason = format!("  ranges: a margin of {} bits leaves none to measure", self.scales.margin());
            return Err(CompileError::Unsupported(vec![reason]));
        }
        Ok(width as u32)
    }

    /// A value as a fraction of its range: one is 2^e, where e is its range's exponent.
    fn fraction(&mut self, taken: &Taken) -> (u32, u64) {
        let (max, (_, scale)) = (self.scales.max(taken.node), taken.held);
        let whole = self.scales.ring() - 2 - self.scales.margin();
        let up = self.scales.budget_of(max) - (scale.frac + (f64::from(scale.factor).log2().ceil() as i32));
        let up = up.clamp(0, self.scales.ring() - 3);
        let result = Scale::bits(whole - up);
        let by = result.unit() / scale.unit();
        let (gate, _) = self.times(self.name(taken.node), PART, taken.held, by, 1, result, taken.len);
        (gate, 1 << up)
    }

    /// The greatest and the least of each [`MEET`] pairs of values, the least ones negated.
    fn extremes(&mut self, group: &[Taken], width: u32, left: &mut Vec<[Left; 2]>) {
        let meet = group.iter().map(|taken| taken.len.div_ceil(2)).max().unwrap_or(1).min(MEET);
        let (mut blocks, mut inputs, mut multipliers, mut windows) = (vec![], vec![], vec![], 0);
        let mut counts = Vec::with_capacity(group.len());
        for (source, taken) in group.iter().enumerate() {
            let (gate, multiplier) = self.fraction(taken);
            inputs.push(gate);
            multipliers.push(multiplier);
            blocks.push(block(source, 0, windows * 2 * meet, taken.len));
            counts.push(taken.len.div_ceil(2 * meet));
            windows += counts[source];
        }
        let whole = Scale::bits(self.scales.ring() - 2 - self.scales.margin());
        let pairs = windows * meet;
        // Where nothing goes there are zeros, which no greatest magnitude is below.
        let arrange = Arrange { len: 2 * pairs, blocks };
        let top = self.push(VALUES, "", &inputs, whole, Gate::Arrange(Rearrange { arrange, multipliers }));
        let window = Window { shift: self.options.ring - width, top: self.options.ring };
        let scale = Scale { frac: whole.frac - window.shift as i32, ..whole };
        let open = Gate::Open(Open { len: 2 * pairs, window, to: Receiver::Both });
        let opened = self.push("ranges/window", "", &[top], scale, open);
        let greater = self.greatest("ranges/pairs", opened, scale, width, pairs, 2);
        let [a, b] = [0, 1].map(|from| {
            let axes = vec![Axis { len: pairs, from: 2, to: 1 }];
            let arrange = Arrange { len: pairs, blocks: vec![Block { source: 0, from, to: 0, axes }] };
            let gate = Gate::Arrange(Rearrange { arrange, multipliers: vec![1] });
            self.push("ranges/one of two", "", &[opened], scale, gate)
        });
        let subtract = || Gate::Subtract(Subtract { len: pairs, width });
        let less = self.push("ranges/less one", "", &[greater, a], scale, subtract());
        let negated = self.push("ranges/lesser, negated", "", &[less, b], scale, subtract());
        let ends = [("ranges/greatest", greater), ("ranges/least", negated)].map(|(name, x)| {
            let x = self.greatest(name, x, scale, width, windows, meet);
            self.push(name, "share", &[x], scale, Gate::Truncate(Truncate { len: windows, width }))
        });
        let mut at = 0;
        for count in counts {
            left.push(ends.map(|gate| Left { gate, at, len: count }));
            at += count;
        }
    }

    /// The greatest of each window of `meet` neighbours.
    fn greatest(&mut self, name: &str, mut x: u32, scale: Scale, width: u32, windows: usize, meet: usize) -> u32 {
        let windows = Windows::Pool(Pooling {
            channels: windows,
            input: [1, meet],
            output: [1, 1],
            kernel: [1, meet],
            stride: [1, 1],
            pads: [0, 0],
            dilation: [1, 1],
        });
        for level in 0..windows.levels() {
            let gate = Gate::Max(Max { windows: windows.clone(), level, width, form: self.form() });
            x = self.push(name, &format!("max {}", level + 1), &[x], scale, gate);
        }
        x
    }

    /// What is left of all nodes, until it is one value each; their exponents.
    fn reveal_exponents(&mut self, width: u32, left: Vec<[Left; 2]>) {
        let mut lens: Vec<usize> = left.iter().map(|[greatest, _]| 2 * greatest.len).collect();
        let mut inputs: Vec<u32> = left.iter().flatten().map(|left| left.gate).collect();
        inputs.dedup();
        inputs.sort_unstable();
        inputs.dedup();
        let source = |gate: u32| inputs.binary_search(&gate).expect("it is one of them");
        // Of each node: where its values are, in pieces.
        let mut places: Vec<Vec<(usize, usize, usize)>> =
            left.iter().map(|ends| ends.iter().map(|left| (source(left.gate), left.at, left.len)).collect()).collect();
        let scale = self.gates[inputs[0] as usize].scale;
        let mut x = None;
        while x.is_none() || lens.iter().any(|len| *len > 1) {
            let meet = lens.iter().copied().max().unwrap_or(1).min(MEET);
            let (mut blocks, mut windows) = (Vec::new(), 0);
            let mut next = Vec::with_capacity(lens.len());
            for (len, places) in lens.iter_mut().zip(&places) {
                let mut to = windows * meet;
                for (source, at, piece) in places {
                    blocks.push(block(*source, *at, to, *piece));
                    to += piece;
                }
                *len = len.div_ceil(meet);
                next.push(vec![(0, windows, *len)]);
                windows += *len;
            }
            let arrange = Arrange { len: windows * meet, blocks };
            let of = x.map_or(inputs.clone(), |x| vec![x]);
            let gate = Rearrange { arrange, multipliers: vec![1; of.len()] };
            let mut moved = self.push("ranges/left", "", &of, scale, Gate::Arrange(gate));
            if x.is_none() {
                let open = Open { len: windows * meet, window: Window { shift: 0, top: width }, to: Receiver::Both };
                moved = self.push("ranges/left", "window", &[moved], scale, Gate::Open(open));
            }
            x = Some(self.greatest("ranges/of all", moved, scale, width, windows, meet));
            places = next;
        }
        let (len, to) = (lens.len(), Receiver::Both);
        let table = Gate::Lookup(Lookup { len, width, to, function: Function::Exponent });
        let exponents = self.push("ranges/exponents", "", &[x.expect("it was made")], Scale::bits(0), table);
        let reveal = Reveal { len, width: self.options.ring, to };
        self.push("ranges", "reveal", &[exponents], Scale::bits(0), Gate::Reveal(reveal));
    }
}

/// `len` neighbours.
fn block(source: usize, from: usize, to: usize, len: usize) -> Block {
    Block { source, from, to, axes: vec![Axis { len, from: 1, to: 1 }] }
}

/// What a measuring plan measures: each node's name and the exponent of its range.
fn ranges_of(plan: &Plan) -> Vec<(&str, i32)> {
    let values = plan.gates.iter().filter(|entry| entry.name == VALUES && matches!(entry.gate, Gate::Arrange(_)));
    let operands = values.flat_map(|entry| entry.inputs.iter().map(|input| &plan.gates[*input as usize]));
    operands
        .filter_map(|entry| match &entry.gate {
            Gate::Times(gate) => {
                let name = entry.name.strip_suffix(PART).and_then(|name| name.strip_suffix('/'))?;
                // What stands for one, as a power of two.
                Some((name, (-gate.by.log2()).ceil() as i32))
            }
            _ => None,
        })
        .collect()
}

/// The exponents e of what `plan`, of [`super::measure()`], revealed: each node's magnitudes are at most 2^e, and it is the least
/// such, as far as the window told: up to 2^-8 of its range, and a value within the rounding of a power of two may be on its
/// other side. (Where a dropped value's constant left a unit that is no power of two, e may be greater by one.) Refuses a
/// value that has left its range, with its margin, by whichever side saw it. Beyond twice that bound nothing is seen: values
/// wrap, as all do in a ring.
pub fn exponents<R: Ring>(plan: &Plan, words: &[R]) -> Result<Vec<i32>, RangesError> {
    let ranges = ranges_of(plan);
    let table = plan.gates.iter().find_map(|entry| match &entry.gate {
        Gate::Lookup(gate) if gate.function == Function::Exponent => {
            Some((gate, &plan.gates[entry.inputs[0] as usize]))
        }
        _ => None,
    });
    let measures = plan.reveal.what == Revealed::Ranges;
    let (Some((table, operand)), true, true) = (table, measures, words.len() == ranges.len()) else {
        let expected = if measures { ranges.len() } else { 0 };
        return Err(RangesError::Length { expected, got: words.len() });
    };
    let (below, margin) = (operand.scale.frac, table.width as i32 - 2 - operand.scale.frac);
    let exponent = |((name, range), word): (&(&str, i32), &R)| {
        let relative = match fixed::decode(*word, 0) as i32 {
            Function::LEAST_EXPONENT => -below - 1,
            word if (-below..=margin + 1).contains(&word) => word,
            _ => return Err(RangesError::Word { node: name.to_string() }),
        };
        let (exponent, limit) = (range + relative, range + margin);
        if relative >= margin {
            return Err(RangesError::Left { node: name.to_string(), exponent, limit });
        }
        Ok(exponent)
    };
    ranges.iter().zip(words).map(exponent).collect()
}

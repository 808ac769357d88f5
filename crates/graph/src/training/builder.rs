//! Building a step graph: nodes in order with names of their own; what nothing reads is left out at the end.

use std::collections::HashMap;

use ariann_ring::{Axes, Bilinear};

use super::step::{Gradient, StepNode, StepOp};
use crate::Function;

/// The nodes so far.
pub(super) struct Builder {
    pub nodes: Vec<StepNode>,
    /// Names that are taken, and the number to try first when one is wanted again.
    names: HashMap<String, u64>,
    /// Node of each state that was read.
    read: Vec<Option<usize>>,
}

impl Builder {
    pub fn new(states: usize) -> Self {
        Builder { nodes: Vec::new(), names: HashMap::new(), read: vec![None; states] }
    }

    /// Adds a node; a name that is taken gets a number.
    pub fn push(&mut self, name: &str, op: StepOp, inputs: Vec<usize>, len: usize) -> usize {
        let mut free = name.to_string();
        if let Some(mut number) = self.names.get(name).copied() {
            while self.names.contains_key(&free) {
                free = format!("{name}_{number}");
                number += 1;
            }
            self.names.insert(name.into(), number);
        }
        self.names.insert(free.clone(), 2);
        let name = free;
        self.nodes.push(StepNode { name, op, inputs, len });
        self.nodes.len() - 1
    }

    pub fn len(&self, node: usize) -> usize {
        self.nodes[node].len
    }

    /// The value of a state before the step.
    pub fn state(&mut self, name: &str, state: usize, len: usize) -> usize {
        if let Some(node) = self.read[state] {
            return node;
        }
        let node = self.push(name, StepOp::State(state), vec![], len);
        self.read[state] = Some(node);
        node
    }

    pub fn product(&mut self, name: &str, product: Bilinear, a: usize, b: usize) -> usize {
        debug_assert_eq!(product.lens(), [self.len(a), self.len(b)], "{name}");
        let len = product.out_len();
        self.push(name, StepOp::Product(product), vec![a, b], len)
    }

    /// A tensor times one value a kept place.
    pub fn channels(&mut self, name: &str, axes: Axes, tensor: usize, values: usize) -> usize {
        self.product(name, Bilinear::Channels(axes), tensor, values)
    }

    /// Two rows of values, one by one.
    pub fn times(&mut self, name: &str, a: usize, b: usize) -> usize {
        let axes = Axes { outer: 1, kept: self.len(a), inner: 1 };
        self.channels(name, axes, a, b)
    }

    pub fn add(&mut self, name: &str, inputs: Vec<usize>) -> usize {
        debug_assert!(inputs.iter().all(|&input| self.len(input) == self.len(inputs[0])), "{name}");
        let len = self.len(inputs[0]);
        self.push(name, StepOp::Add, inputs, len)
    }

    pub fn subtract(&mut self, name: &str, a: usize, b: usize) -> usize {
        debug_assert_eq!(self.len(a), self.len(b), "{name}");
        let len = self.len(a);
        self.push(name, StepOp::Subtract, vec![a, b], len)
    }

    pub fn scale(&mut self, name: &str, factor: f64, x: usize) -> usize {
        let len = self.len(x);
        self.push(name, StepOp::Scale(factor), vec![x], len)
    }

    pub fn function(&mut self, name: &str, function: Function, x: usize) -> usize {
        let len = self.len(x);
        self.push(name, StepOp::Function(function), vec![x], len)
    }

    pub fn spread(&mut self, name: &str, axes: Axes, x: usize) -> usize {
        debug_assert_eq!(self.len(x), axes.kept, "{name}");
        self.push(name, StepOp::Spread(axes), vec![x], axes.len())
    }

    pub fn reduce(&mut self, name: &str, axes: Axes, x: usize) -> usize {
        debug_assert_eq!(self.len(x), axes.len(), "{name}");
        self.push(name, StepOp::Reduce(axes), vec![x], axes.kept)
    }

    /// The nodes on which results depend, and where the results are among them: output, loss, gradients.
    pub fn finish(self, output: usize, loss: Option<usize>, gradients: Vec<Gradient>) -> Finished {
        let mut needed = vec![false; self.nodes.len()];
        needed[output] = true;
        loss.into_iter().for_each(|loss| needed[loss] = true);
        for (index, node) in self.nodes.iter().enumerate().rev() {
            needed[index] |= has_effect(&node.op);
            if needed[index] {
                node.inputs.iter().copied().chain(forward_node(&node.op)).for_each(|read| needed[read] = true);
            }
        }
        let mut numbers = vec![usize::MAX; self.nodes.len()];
        let mut nodes = Vec::new();
        for (index, mut node) in self.nodes.into_iter().enumerate().filter(|(index, _)| needed[*index]) {
            numbers[index] = nodes.len();
            node.inputs.iter_mut().for_each(|input| *input = numbers[*input]);
            if let StepOp::ReluBack { relu: forward } | StepOp::MaxBack { pool: forward } = &mut node.op {
                *forward = numbers[*forward];
            }
            nodes.push(node);
        }
        let gradients = gradients.into_iter().map(|g| Gradient { node: numbers[g.node], ..g }).collect();
        Finished { nodes, output: numbers[output], loss: loss.map(|loss| numbers[loss]), gradients }
    }
}

/// What [`Builder::finish`] leaves.
pub(super) struct Finished {
    pub nodes: Vec<StepNode>,
    pub output: usize,
    pub loss: Option<usize>,
    pub gradients: Vec<Gradient>,
}

/// It changes a state.
fn has_effect(op: &StepOp) -> bool {
    matches!(op, StepOp::Update { .. } | StepOp::Running { .. } | StepOp::Count { .. })
}

/// The node whose bits a gradient goes by.
pub(super) fn forward_node(op: &StepOp) -> Option<usize> {
    match op {
        StepOp::ReluBack { relu: node } | StepOp::MaxBack { pool: node } => Some(*node),
        _ => None,
    }
}

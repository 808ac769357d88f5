//! The gates of a graph, in order: each value gets the forms that its readers take, when they first ask for them.

mod forms;
mod layers;
mod softmax;

pub(crate) use layers::{steps, sums};

use ariann_gates::linear::{HOLDER, Weights};
use ariann_gates::{Party, Receiver, Sign};
use ariann_graph::{Graph, Op, ValueId};

use crate::compile::{CompileError, Head};
use crate::scales::Scales;
use crate::{Entry, Gate, Plan, Revealed, Scale, SignChoice};

/// Where scales and windows come from.
pub(crate) enum Choice<'a> {
    /// Chosen from ranges.
    Ranges {
        /// The ranges and what they ask for.
        scales: Box<Scales<'a>>,
        /// How ReLU decides a sign.
        sign: SignChoice,
    },
    /// Taken over from a plan, to see whether it is this graph's.
    Plan(&'a Plan),
}

/// The form in which a layer's gates give its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Natural {
    /// A wire of k bits.
    Wire,
    /// A wire of fewer bits that both know.
    Narrow,
    /// A share.
    Share,
}

/// The gates that give a value in its forms, so far.
#[derive(Clone, Copy, Default)]
struct Forms {
    share: Option<(u32, Scale)>,
    wire: Option<(u32, Scale)>,
    narrow: Option<(u32, Scale, u32)>,
}

pub(crate) struct Builder<'a> {
    graph: &'a Graph,
    head: Head,
    choice: Choice<'a>,
    gates: Vec<Entry>,
    forms: Vec<Forms>,
    natural: Vec<Natural>,
    /// Who needs the wire of a value; nobody in particular where only sums read it.
    needed: Vec<Option<Receiver>>,
    /// Made from the input alone by other places and sums: masked by its owner only.
    of_input: Vec<bool>,
}

fn join(a: Option<Receiver>, b: Receiver) -> Option<Receiver> {
    Some(match a {
        None => b,
        Some(a) if a == b => a,
        Some(_) => Receiver::Both,
    })
}

impl<'a> Builder<'a> {
    pub fn new(graph: &'a Graph, head: Head, choice: Choice<'a>) -> Self {
        let values = graph.nodes.len() + 1;
        let mut natural = vec![Natural::Wire; values];
        let mut of_input = vec![false; values];
        // What an outside client shared is opened under a mask of both.
        of_input[0] = head.reveal.to != Receiver::Client;
        for node in &graph.nodes {
            let first = node.inputs[0].0;
            let wires = node.inputs.iter().all(|input| natural[input.0] == Natural::Wire);
            let (form, input) = match &node.op {
                Op::Dense(_) | Op::Conv(_) | Op::Add | Op::Softmax(_) => (Natural::Share, false),
                // Refused when its layer is built.
                Op::BatchNorm(_) | Op::Dropout { .. } => (Natural::Share, false),
                Op::Relu | Op::Clip { .. } | Op::Function(_) => (Natural::Wire, false),
                Op::MaxPool(_) => (Natural::Narrow, false),
                Op::Reshape => (natural[first], of_input[first]),
                Op::AvgPool(_) | Op::Arrange(_) if wires => (Natural::Wire, node.inputs.iter().any(|x| of_input[x.0])),
                Op::AvgPool(_) | Op::Arrange(_) => (Natural::Share, false),
            };
            natural[node.output.0] = form;
            of_input[node.output.0] = input;
        }
        let mut builder = Builder {
            graph,
            head,
            choice,
            gates: Vec::new(),
            forms: vec![Forms::default(); values],
            natural,
            needed: vec![None; values],
            of_input,
        };
        builder.needed = builder.needed();
        builder
    }

    /// Who needs the operand of a linear layer.
    fn operand_to(&self) -> Receiver {
        match self.head.weights {
            Weights::Held => Receiver::only(HOLDER),
            Weights::Shared => Receiver::Both,
            Weights::Public => Receiver::only(Party::P1),
        }
    }

    fn needed(&self) -> Vec<Option<Receiver>> {
        let mut needed = vec![None; self.natural.len()];
        needed[self.graph.output.0] = Some(match self.head.reveal.what {
            Revealed::Logits if self.head.reveal.to != Receiver::Client => self.head.reveal.to,
            _ => Receiver::Both,
        });
        for node in self.graph.nodes.iter().rev() {
            let out = node.output.0;
            let of = match &node.op {
                Op::Dense(_) | Op::Conv(_) => Some(self.operand_to()),
                // These read a narrow wire, cut from this one.
                Op::Relu | Op::Clip { .. } | Op::MaxPool(_) => Some(Receiver::Both),
                Op::Function(_) | Op::Softmax(_) | Op::Add | Op::BatchNorm(_) | Op::Dropout { .. } => None,
                Op::Reshape => needed[out],
                Op::AvgPool(_) | Op::Arrange(_) if self.natural[out] == Natural::Wire => needed[out],
                Op::AvgPool(_) | Op::Arrange(_) => None,
            };
            for input in &node.inputs {
                if let Some(of) = of {
                    needed[input.0] = join(needed[input.0], of);
                }
            }
        }
        needed
    }

    /// Who gets the wire of `value`.
    fn to(&self, value: ValueId) -> Receiver {
        self.needed[value.0].unwrap_or(Receiver::only(HOLDER))
    }

    /// The value of which this one is a reshape.
    fn resolve(&self, mut value: ValueId) -> ValueId {
        while let Some(node) = value.node().filter(|node| self.graph.nodes[*node].op == Op::Reshape) {
            value = self.graph.nodes[node].inputs[0];
        }
        value
    }

    fn push(&mut self, name: &str, part: &str, inputs: &[u32], scale: Scale, gate: Gate) -> u32 {
        let name = if part.is_empty() { name.to_string() } else { format!("{name}/{part}") };
        self.gates.push(Entry { name, inputs: inputs.to_vec(), scale, gate });
        self.gates.len() as u32 - 1
    }

    /// The gate of the plan that is taken over, at the place of the next one.
    fn next_of<'p>(&self, plan: &'p Plan) -> Option<&'p Entry> {
        plan.gates.get(self.gates.len())
    }

    /// The name of the layer that computes a value.
    fn name(&self, value: ValueId) -> String {
        value.node().map_or_else(|| self.graph.input.name.clone(), |node| self.graph.nodes[node].name.clone())
    }

    /// How ReLU of a value at `scale` decides its sign.
    fn sign(&self, value: ValueId, scale: Scale) -> Sign {
        match &self.choice {
            Choice::Ranges { sign: SignChoice::Coarse, scales } => {
                // A unit of a part of the root mean square; many classes lie closer together (docs/accuracy.md).
                let part = if self.graph.output_len() > 100 { 64.0 } else { 16.0 };
                let bits = (scales.rms(value) / part / scale.unit()).log2().floor();
                if bits >= 1.0 { Sign::Coarse(bits.min(60.0) as u32) } else { Sign::Exact }
            }
            Choice::Ranges { .. } => Sign::Exact,
            Choice::Plan(plan) => match self.next_of(plan).map(|entry| &entry.gate) {
                Some(Gate::Relu(gate)) => gate.sign,
                Some(Gate::Clip(gate)) => gate.sign,
                _ => Sign::Exact,
            },
        }
    }

    /// All gates.
    pub fn build(mut self) -> Result<Vec<Entry>, CompileError> {
        let graph = self.graph;
        let mut refused = Vec::new();
        if graph.linear_nodes().next().is_none() {
            refused.push("  the model has no linear layer".to_string());
        }
        for node in &graph.nodes {
            if let Op::MaxPool(pool) = &node.op
                && pool.kernel == [1, 1]
                && node.len() != graph.len(node.inputs[0])
            {
                refused.push(format!("  {} (MaxPool): windows of one place that leave others out", node.name));
            }
        }
        if !refused.is_empty() {
            return Err(CompileError::Unsupported(refused));
        }
        self.input();
        for node in &graph.nodes {
            self.layer(node)?;
        }
        self.finish()?;
        Ok(self.gates)
    }
}

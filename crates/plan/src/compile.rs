//! From a graph and options to a plan: scales first, then the gates of each layer in order.

use ariann_gates::argmax::ArgMax;
use ariann_gates::input::Input;
use ariann_gates::linear::{HOLDER, Linear, Weights};
use ariann_gates::max::Max;
use ariann_gates::open::Open;
use ariann_gates::relu::Relu;
use ariann_gates::truncate::Truncate;
use ariann_gates::{LinearShape, Party, Pooling, Receiver, Window, Windows, reveal};
use ariann_graph::{FixedPoint, Graph, Op, Pool, Ranges};

use crate::scales::{self, Fate, ScaleError, Way};
use crate::{Entry, Gate, InputSpec, OutputSpec, Plan, Reveal, Revealed, VERSION};

/// What the planner may choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// k: 32 or 64.
    pub ring: u32,
    /// Who knows the weights.
    pub weights: Weights,
    /// What comes out, and to whom.
    pub reveal: Reveal,
    /// Declared range of the input.
    pub input_range: [f64; 2],
    /// Preprocessing of bytes: scale, mean and deviation per channel.
    pub scale: f32,
    /// Subtracted, per channel.
    pub mean: Vec<f32>,
    /// Divided by, per channel.
    pub std: Vec<f32>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Rings are 32 or 64 bits wide.
    #[error("a ring of {0} bits is not supported; use --ring 32 or --ring 64")]
    Ring(u32),
    /// The model cannot be held by the ring.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// Layers that no gate computes, all of them.
    #[error("these layers cannot be computed privately yet:\n{}", .0.join("\n"))]
    Unsupported(Vec<String>),
    /// The label of one output says nothing.
    #[error("the model has one output ({0}), so its label is always 0; use --reveal logits")]
    OneClass(String),
    /// The ranges belong to another graph.
    #[error("the value ranges list {got} linear layers and the model has {expected}; calibrate again with this model")]
    Ranges {
        /// Layers of the model.
        expected: usize,
        /// Layers of the ranges.
        got: usize,
    },
}

/// Compiles `graph` with the value ranges in `ranges`.
pub fn compile(graph: &Graph, ranges: &Ranges, options: &Options) -> Result<Plan, CompileError> {
    if options.ring != 32 && options.ring != 64 {
        return Err(CompileError::Ring(options.ring));
    }
    let linear: Vec<usize> = graph.linear_nodes().collect();
    if linear.len() != ranges.layers.len() {
        return Err(CompileError::Ranges { expected: linear.len(), got: ranges.layers.len() });
    }
    supported(graph)?;
    if options.reveal.what == Revealed::Label && graph.output_len() < 2 {
        return Err(CompileError::OneClass(graph.output_name.clone()));
    }
    let ways: Vec<Way> = linear.iter().map(|node| way(graph, *node, options.reveal.what)).collect();
    let scales = scales::choose(graph, ranges, options.ring, &ways)?;
    let builder = Builder { graph, options, scales: &scales, gates: Vec::new(), form: Form::Wide };
    let gates = builder.build();
    let frac_bits = output_frac(&scales);
    Ok(Plan {
        version: VERSION,
        model: graph.name.clone(),
        ring: options.ring,
        weights: options.weights,
        reveal: options.reveal,
        input: InputSpec {
            name: graph.input.name.clone(),
            shape: graph.input.shape.clone(),
            range: options.input_range,
            scale: options.scale,
            mean: options.mean.clone(),
            std: options.std.clone(),
        },
        output: OutputSpec {
            name: graph.output_name.clone(),
            classes: graph.output_len(),
            frac_bits,
            softmax: graph.softmax,
        },
        ranges: ranges.source,
        scales,
        gates,
    })
}

impl Plan {
    /// Whether this plan computes `graph`: the gates are those that its layers compile to, with this plan's scales.
    pub fn computes(&self, graph: &Graph) -> bool {
        let options = Options {
            ring: self.ring,
            weights: self.weights,
            reveal: self.reveal,
            input_range: self.input.range,
            scale: self.input.scale,
            mean: self.input.mean.clone(),
            std: self.input.std.clone(),
        };
        let layers = graph.linear_nodes().count() == self.scales.layers.len();
        if !layers || supported(graph).is_err() || graph.input.shape != self.input.shape {
            return false;
        }
        let builder = Builder { graph, options: &options, scales: &self.scales, gates: Vec::new(), form: Form::Wide };
        let gates = builder.build();
        gates.len() == self.gates.len() && gates.iter().zip(&self.gates).all(|(a, b)| a.gate == b.gate)
    }
}

/// Fractional bits of the last layer's output.
fn output_frac(scales: &FixedPoint) -> i32 {
    scales.layers.iter().fold(scales.input_frac, |f_x, layer| f_x + layer.weight_frac - layer.shift as i32)
}

/// Refuses what is no chain of linear layers, poolings and ReLUs that begins with a linear layer, naming every culprit.
fn supported(graph: &Graph) -> Result<(), CompileError> {
    let mut refused = Vec::new();
    let mut seen_linear = false;
    for (index, node) in graph.nodes.iter().enumerate() {
        let chained = node.inputs.len() == 1 && node.inputs[0].0 == index;
        seen_linear |= node.op.is_linear();
        if !chained {
            refused.push(format!("  {} ({}): branches are not supported", node.name, node.op.name()));
        } else if !seen_linear && !matches!(node.op, Op::Reshape) {
            refused.push(format!("  {} ({}): stands before the first linear layer", node.name, node.op.name()));
        } else if matches!(&node.op, Op::MaxPool(pool) if pool.kernel == [1, 1] && node.len() != graph.len(node.inputs[0]))
        {
            refused.push(format!("  {} ({}): windows of one place that leave others out", node.name, node.op.name()));
        } else if matches!(node.op, Op::MaxPool(_) | Op::Relu) && rectified_before(graph, index) {
            refused.push(format!(
                "  {} ({}): stands after a Relu with no linear layer between",
                node.name,
                node.op.name()
            ));
        }
    }
    if !seen_linear {
        refused.push("  the model has no linear layer".to_string());
    }
    if refused.is_empty() { Ok(()) } else { Err(CompileError::Unsupported(refused)) }
}

/// A ReLU stands between the last linear layer and node `index`.
fn rectified_before(graph: &Graph, index: usize) -> bool {
    graph.nodes[..index].iter().rev().take_while(|node| !node.op.is_linear()).any(|node| matches!(node.op, Op::Relu))
}

/// What becomes of linear layer `node`'s output.
fn way(graph: &Graph, node: usize, revealed: Revealed) -> Way {
    let after: Vec<&Op> =
        graph.nodes[node + 1..].iter().map(|node| &node.op).take_while(|op| !op.is_linear()).collect();
    let last = node + 1 + after.len() == graph.nodes.len();
    let labelled = last && revealed == Revealed::Label;
    let pooled = after.iter().any(|op| matches!(op, Op::MaxPool(_)));
    let rectified = after.iter().any(|op| matches!(op, Op::Relu));
    let fate = match (pooled, rectified) {
        (false, false) if last && !labelled => Fate::Logits,
        (false, true) if !labelled => Fate::Rectified,
        _ => Fate::Signed,
    };
    // Indices are below 2^(w-1).
    let indices = if labelled { graph.output_len().ilog2() + 2 } else { 0 };
    Way { fate, least: indices.max(3) }
}

/// The form of the value on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A wire of k bits, known to whom it goes next.
    Wide,
    /// A wire of fewer bits that both know.
    Narrow(u32),
    /// A share.
    Share,
}

struct Builder<'a> {
    graph: &'a Graph,
    options: &'a Options,
    scales: &'a FixedPoint,
    gates: Vec<Entry>,
    form: Form,
}

impl Builder<'_> {
    fn push(&mut self, name: &str, part: &str, gate: Gate, form: Form) {
        let name = if part.is_empty() { name.to_string() } else { format!("{name}/{part}") };
        self.gates.push(Entry { name, gate });
        self.form = form;
    }

    /// Who needs the operand of a linear layer.
    fn operand_to(&self) -> Receiver {
        match self.options.weights {
            Weights::Held => Receiver::only(HOLDER),
            Weights::Shared => Receiver::Both,
            Weights::Public => Receiver::only(Party::P1),
        }
    }

    /// Who needs the value that node `index` puts out: the next linear layer's multipliers, or the receiver of the result.
    fn next_to(&self, index: usize) -> Receiver {
        let linear_follows = self.graph.nodes[index + 1..].iter().any(|node| node.op.is_linear());
        if linear_follows { self.operand_to() } else { self.options.reveal.to }
    }

    fn build(mut self) -> Vec<Entry> {
        let graph = self.graph;
        self.push(&graph.input.name, "", Gate::Input(Input { len: graph.input.len() }), Form::Wide);
        let mut layer = 0;
        for (index, node) in graph.nodes.iter().enumerate() {
            match &node.op {
                Op::Dense(_) | Op::Conv(_) => {
                    self.linear(index, layer);
                    layer += 1;
                }
                Op::MaxPool(pool) => self.pool(&node.name, pool),
                Op::Relu => self.relu(index),
                Op::Reshape => {}
                Op::Add => unreachable!("refused before"),
            }
        }
        self.finish();
        self.gates
    }

    fn linear(&mut self, index: usize, layer: usize) {
        let node = &self.graph.nodes[index];
        if let Form::Narrow(width) = self.form {
            let len = self.graph.len(node.inputs[0]);
            self.push(&node.name, "truncate", Gate::Truncate(Truncate { len, width }), Form::Share);
            let whole = Window { shift: 0, top: self.options.ring };
            self.push(
                &node.name,
                "operand",
                Gate::Open(Open { len, window: whole, to: self.operand_to() }),
                Form::Wide,
            );
        }
        let shape = match &node.op {
            Op::Conv(conv) => LinearShape::Conv(conv.shape.clone()),
            _ => LinearShape::Dense { inputs: self.graph.len(node.inputs[0]), outputs: node.len() },
        };
        let source = self.gates.len() as u32 - 1;
        let masked_by = [source > 0, true];
        let gate = Gate::Linear(Linear { shape, weights: self.options.weights, source, masked_by });
        self.push(&node.name, "", gate, Form::Share);
        let scale = self.scales.layers[layer];
        if scale.truncated {
            let window = Window { shift: scale.shift, top: scale.top };
            let open = Open { len: node.len(), window, to: Receiver::Both };
            self.push(&node.name, "open", Gate::Open(open), Form::Narrow(window.width()));
        }
    }

    fn pool(&mut self, name: &str, pool: &Pool) {
        let Form::Narrow(width) = self.form else { unreachable!("refused before") };
        let windows = Windows::Pool(Pooling {
            channels: pool.channels,
            input: [pool.in_height, pool.in_width],
            output: [pool.out_height(), pool.out_width()],
            kernel: pool.kernel,
            stride: pool.stride,
            pads: [pool.pads[0], pool.pads[1]],
            dilation: pool.dilation,
        });
        for level in 0..windows.levels() {
            let gate = Gate::Max(Max { windows: windows.clone(), level, width });
            self.push(name, &format!("max {}", level + 1), gate, Form::Narrow(width));
        }
    }

    fn relu(&mut self, index: usize) {
        let Form::Narrow(width) = self.form else { unreachable!("refused before") };
        let node = &self.graph.nodes[index];
        let label_follows = self.options.reveal.what == Revealed::Label
            && !self.graph.nodes[index + 1..].iter().any(|n| n.op.is_linear());
        // The greatest of the rectified values is the greatest of the values, and the first of equal ones only when
        // all are negative: argmax takes the rectified wire itself.
        let to = if label_follows { Receiver::Both } else { self.next_to(index) };
        self.push(&node.name, "", Gate::Relu(Relu { len: node.len(), width, to }), Form::Wide);
    }

    fn finish(&mut self) {
        let (name, classes, to) = (self.graph.output_name.clone(), self.graph.output_len(), self.options.reveal.to);
        if self.options.reveal.what == Revealed::Logits {
            if let Form::Narrow(width) = self.form {
                self.push(&name, "truncate", Gate::Truncate(Truncate { len: classes, width }), Form::Share);
            }
            let reveal = reveal::Reveal { len: classes, width: self.options.ring, to };
            return self.push(&name, "reveal", Gate::Reveal(reveal), Form::Share);
        }
        let width = match self.form {
            Form::Narrow(width) => width,
            Form::Wide | Form::Share => self.options.ring,
        };
        for level in 0..Windows::Row(classes).levels() {
            let gate = Gate::ArgMax(ArgMax { len: classes, level, width });
            self.push(&name, &format!("argmax {}", level + 1), gate, Form::Narrow(width));
        }
        self.push(&name, "reveal", Gate::Reveal(reveal::Reveal { len: 1, width, to }), Form::Share);
    }
}

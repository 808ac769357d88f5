//! The graph: layers in the order of computation, with the shapes of one item.

use ariann_ring::{ConvShape, Tensor};

use crate::Pool;

/// A value of a graph: 0 is its input, `i + 1` the output of node `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

impl ValueId {
    /// The graph's input.
    pub const INPUT: ValueId = ValueId(0);

    /// The node that computes this value, none for the input.
    pub fn node(self) -> Option<usize> {
        self.0.checked_sub(1)
    }
}

/// A network ready to be computed. Shapes are those of one item; every value has a batch axis before them.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The model's own name.
    pub name: String,
    /// The one input.
    pub input: Input,
    /// Layers in topological order; node `i` computes `ValueId(i + 1)`.
    pub nodes: Vec<Node>,
    /// The result: logits.
    pub output: ValueId,
    /// The result's name in the model.
    pub output_name: String,
    /// The model ended in Softmax or LogSoftmax, left to the receiver of the logits.
    pub softmax: bool,
}

/// The input of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name in the model.
    pub name: String,
    /// Shape of one item, usually `[channels, height, width]` or `[features]`.
    pub shape: Vec<usize>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name in the model, made from its output's name where the model gives none. Unique.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The values it reads.
    pub inputs: Vec<ValueId>,
    /// The value it computes.
    pub output: ValueId,
    /// Shape of one item of the output.
    pub shape: Vec<usize>,
}

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A fully connected layer.
    Dense(Dense),
    /// A convolution.
    Conv(Conv),
    /// max(x, 0).
    Relu,
    /// Maximum over windows.
    MaxPool(Pool),
    /// Sum of two values of equal shape.
    Add,
    /// The same values in another shape.
    Reshape,
}

/// y = W·x + b.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// `[outputs, inputs]`.
    pub weights: Tensor<f32>,
    /// One value an output.
    pub bias: Option<Vec<f32>>,
    /// Name of the weights in the model.
    pub weight_name: String,
    /// Name of the bias in the model.
    pub bias_name: Option<String>,
}

/// Two-dimensional convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Sizes, strides, pads, dilation and groups.
    pub shape: ConvShape,
    /// `[out_channels, in_channels / groups, kernel height, kernel width]`.
    pub weights: Tensor<f32>,
    /// One value an output channel.
    pub bias: Option<Vec<f32>>,
    /// Name of the weights in the model.
    pub weight_name: String,
    /// Name of the bias in the model.
    pub bias_name: Option<String>,
}

impl Op {
    /// The operator's name, as ONNX calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Dense(_) => "Gemm",
            Op::Conv(_) => "Conv",
            Op::Relu => "Relu",
            Op::MaxPool(_) => "MaxPool",
            Op::Add => "Add",
            Op::Reshape => "Reshape",
        }
    }

    /// Has weights: dense layer or convolution.
    pub fn is_linear(&self) -> bool {
        self.weights().is_some()
    }

    /// Weights in row-major order, for linear layers.
    pub fn weights(&self) -> Option<&Tensor<f32>> {
        match self {
            Op::Dense(dense) => Some(&dense.weights),
            Op::Conv(conv) => Some(&conv.weights),
            _ => None,
        }
    }

    /// The bias of a linear layer that has one.
    pub fn bias(&self) -> Option<&[f32]> {
        match self {
            Op::Dense(dense) => dense.bias.as_deref(),
            Op::Conv(conv) => conv.bias.as_deref(),
            _ => None,
        }
    }
}

impl Input {
    /// Values of one item.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// An item has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Node {
    /// Values of one item of the output.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// An item of the output has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Graph {
    /// Indices of the layers with weights, in order. Scales and ranges are listed in this order.
    pub fn linear_nodes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].op.is_linear())
    }

    /// Shape of one item of a value.
    pub fn shape(&self, value: ValueId) -> &[usize] {
        match value.node() {
            Some(node) => &self.nodes[node].shape,
            None => &self.input.shape,
        }
    }

    /// Values of one item of a value.
    pub fn len(&self, value: ValueId) -> usize {
        self.shape(value).iter().product()
    }

    /// The graph has no layer.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Values of one item of the result.
    pub fn output_len(&self) -> usize {
        self.len(self.output)
    }

    /// Nodes that read a value.
    pub fn users(&self, value: ValueId) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(move |&node| self.nodes[node].inputs.contains(&value))
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        let of = |op: &Op| op.weights().map_or(0, |w| w.data().len()) + op.bias().map_or(0, <[f32]>::len);
        self.nodes.iter().map(|node| of(&node.op)).sum()
    }

    /// A pooling stands between the output of linear layer `node` and the next linear layer on some path.
    ///
    /// Values that enter a maximum need a tighter bound than those of which only the sign is taken.
    pub fn pooled_before_next_linear(&self, node: usize) -> bool {
        self.some_path(node, |op| match op {
            Some(Op::MaxPool(_)) => Path::Found,
            Some(Op::Dense(_) | Op::Conv(_)) | None => Path::Ends,
            Some(Op::Relu | Op::Add | Op::Reshape) => Path::GoesOn,
        })
    }

    /// The output of node `node` is used with its sign: by a sum, a linear layer or as the result, with no ReLU before.
    pub fn stays_signed(&self, node: usize) -> bool {
        self.some_path(node, |op| match op {
            Some(Op::Add | Op::Dense(_) | Op::Conv(_)) | None => Path::Found,
            Some(Op::Relu) => Path::Ends,
            Some(Op::MaxPool(_) | Op::Reshape) => Path::GoesOn,
        })
    }

    /// Follows all paths from the output of `node`, every layer looked at once; the end of the graph is `None`.
    fn some_path(&self, node: usize, judge: impl Fn(Option<&Op>) -> Path) -> bool {
        let mut reached = vec![false; self.nodes.len()];
        reached[node] = true;
        for user in node..self.nodes.len() {
            let output = self.nodes[user].output;
            let on_path = user == node
                || self.nodes[user].inputs.iter().filter_map(|input| input.node()).any(|maker| reached[maker]);
            if !on_path {
                continue;
            }
            if user != node {
                match judge(Some(&self.nodes[user].op)) {
                    Path::Found => return true,
                    Path::Ends => continue,
                    Path::GoesOn => reached[user] = true,
                }
            }
            if output == self.output && matches!(judge(None), Path::Found) {
                return true;
            }
        }
        false
    }
}

/// What a layer on a path means to the one that follows it.
enum Path {
    Found,
    Ends,
    GoesOn,
}

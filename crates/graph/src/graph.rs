//! The graph: layers in the order of computation, with the shapes of one item.

use ariann_ring::{Arrange, ConvShape, Tensor};

use crate::{AvgPool, Function, Pool};

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
    /// min(max(x, lo), hi), lo < hi; ReLU6 is 0 to 6.
    Clip {
        /// Least value.
        lo: f32,
        /// Greatest value.
        hi: f32,
    },
    /// A function of each value, by lookup.
    Function(Function),
    /// e^x / Σ e^x over each row of so many values.
    Softmax(usize),
    /// Maximum over windows.
    MaxPool(Pool),
    /// Average over windows.
    AvgPool(AvgPool),
    /// Concatenation, slice, padding with zeros, transposition: elements of the inputs in other places.
    Arrange(Arrange),
    /// Sum of two values of equal shape.
    Add,
    /// The same values in another shape.
    Reshape,
    /// Batch normalisation, in graphs for training only; for prediction it is folded into layers with weights.
    BatchNorm(BatchNorm),
    /// Values set to zero while training, in graphs for training only.
    Dropout {
        /// Fraction of the values, where the model says one.
        ratio: Option<f32>,
    },
}

/// y = γ·(x - mean)/√(variance + ε) + β, one value a channel, the first axis of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Factors γ.
    pub gamma: Vec<f32>,
    /// Terms β.
    pub beta: Vec<f32>,
    /// Running means.
    pub mean: Vec<f32>,
    /// Running variances.
    pub variance: Vec<f32>,
    /// What is added to a variance.
    pub epsilon: f64,
    /// How far running statistics move towards those of a batch: 0.1 in PyTorch, which is 1 less ONNX's momentum.
    pub momentum: f64,
    /// Names of γ, β, mean and variance in the model.
    pub names: [String; 4],
}

impl BatchNorm {
    /// Factor and term of each channel, with running statistics.
    pub fn scale_shift(&self) -> (Vec<f64>, Vec<f64>) {
        let scale = self
            .gamma
            .iter()
            .zip(&self.variance)
            .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + self.epsilon).sqrt());
        let scale: Vec<f64> = scale.collect();
        let parts = self.beta.iter().zip(&self.mean).zip(&scale);
        let shift = parts.map(|((&beta, &mean), scale)| f64::from(beta) - f64::from(mean) * scale).collect();
        (scale, shift)
    }
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
    /// One value an output channel, or one an output place where folding a layer before the padding made it so.
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
            Op::Clip { .. } => "Clip",
            Op::Function(function) => function.name(),
            Op::Softmax(_) => "Softmax",
            Op::MaxPool(_) => "MaxPool",
            Op::AvgPool(_) => "AveragePool",
            Op::Arrange(_) => "Arrange",
            Op::Add => "Add",
            Op::Reshape => "Reshape",
            Op::BatchNorm(_) => "BatchNormalization",
            Op::Dropout { .. } => "Dropout",
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
        let of = |op: &Op| match op {
            Op::BatchNorm(norm) => norm.gamma.len() + norm.beta.len(),
            op => op.weights().map_or(0, |w| w.data().len()) + op.bias().map_or(0, <[f32]>::len),
        };
        self.nodes.iter().map(|node| of(&node.op)).sum()
    }
}

//! What is public of a graph: its layers without their weights.
//!
//! Whoever trains a network together with others tells them its layers, and each compiles the plans from these. A network may
//! come from another organisation: it holds lengths, not tensors, so nothing large is made of it before [`Network::check`] has
//! looked at every number.

mod check;

use ariann_ring::{Arrange, ConvShape, Tensor};
use serde::{Deserialize, Serialize};

pub use check::NetworkError;

use crate::graph::{BatchNorm, Conv, Dense, Graph, Input, Node, Op, ValueId};
use crate::{AvgPool, Function, Pool};

/// What is public of a graph: layers, shapes, names and constants of operators; no weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    name: String,
    input_name: String,
    input_shape: Vec<usize>,
    layers: Vec<Layer>,
    output: usize,
    output_name: String,
    softmax: bool,
}

/// A [`Node`]. It computes the value after that of the layer before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    name: String,
    op: Operator,
    inputs: Vec<usize>,
    shape: Vec<usize>,
}

/// An [`Op`] without weights, and without what the shapes of its inputs tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Operator {
    Dense { outputs: usize, weights: Weights },
    Conv { channels: usize, groups: usize, windows: Windows, weights: Weights },
    Relu,
    Clip { lo: f32, hi: f32 },
    Function(Function),
    Softmax { row: usize },
    MaxPool(Windows),
    AvgPool { windows: Windows, counts: [Vec<u32>; 2] },
    Arrange(Arrange),
    Add,
    Reshape,
    BatchNorm { epsilon: f64, momentum: f64, names: [String; 4] },
    Dropout { ratio: Option<f32> },
}

/// Names of weights and bias, and how many values the bias has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    name: String,
    bias: Option<usize>,
    bias_name: Option<String>,
}

/// Windows over an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Windows {
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    dilation: [usize; 2],
}

impl Network {
    /// Drops the weights.
    pub fn of(graph: &Graph) -> Network {
        let layer = |node: &Node| Layer {
            name: node.name.clone(),
            op: Operator::of(&node.op),
            inputs: node.inputs.iter().map(|input| input.0).collect(),
            shape: node.shape.clone(),
        };
        Network {
            name: graph.name.clone(),
            input_name: graph.input.name.clone(),
            input_shape: graph.input.shape.clone(),
            layers: graph.nodes.iter().map(layer).collect(),
            output: graph.output.0,
            output_name: graph.output_name.clone(),
            softmax: graph.softmax,
        }
    }

    /// Refuses what no importer would have made. After it, [`Network::graph`] and the steps of that graph
    /// ([`training_step`](crate::training::training_step), [`evaluation`](crate::training::evaluation)) neither panic nor ask
    /// for more memory than the bounds on values and parameters allow.
    pub fn check(&self) -> Result<(), NetworkError> {
        check::check(self)
    }

    /// The graph with all weights zero, those of batch normalisation as well.
    ///
    /// # Panics
    /// Possibly, when [`Network::check`] refuses the network.
    pub fn graph(&self) -> Graph {
        let node = |(index, layer): (usize, &Layer)| Node {
            name: layer.name.clone(),
            op: layer.op.with_zeros(self.shape(layer.inputs[0])),
            inputs: layer.inputs.iter().copied().map(ValueId).collect(),
            output: ValueId(index + 1),
            shape: layer.shape.clone(),
        };
        Graph {
            name: self.name.clone(),
            input: Input { name: self.input_name.clone(), shape: self.input_shape.clone() },
            nodes: self.layers.iter().enumerate().map(node).collect(),
            output: ValueId(self.output),
            output_name: self.output_name.clone(),
            softmax: self.softmax,
        }
    }

    /// Shape of one item of a value.
    fn shape(&self, value: usize) -> &[usize] {
        ValueId(value).node().map_or(&self.input_shape, |layer| &self.layers[layer].shape)
    }
}

impl Operator {
    fn of(op: &Op) -> Operator {
        match op {
            Op::Dense(dense) => {
                let weights = Weights::of(&dense.weight_name, dense.bias.as_deref(), dense.bias_name.as_ref());
                Operator::Dense { outputs: dense.weights.shape()[0], weights }
            }
            Op::Conv(conv) => {
                let &ConvShape { out_channels: channels, kernel, stride, pads, dilation, groups, .. } = &conv.shape;
                let windows = Windows { kernel, stride, pads, dilation };
                let weights = Weights::of(&conv.weight_name, conv.bias.as_deref(), conv.bias_name.as_ref());
                Operator::Conv { channels, groups, windows, weights }
            }
            Op::Relu => Operator::Relu,
            &Op::Clip { lo, hi } => Operator::Clip { lo, hi },
            &Op::Function(function) => Operator::Function(function),
            &Op::Softmax(row) => Operator::Softmax { row },
            Op::MaxPool(pool) => Operator::MaxPool(Windows::of(pool)),
            Op::AvgPool(AvgPool { pool, counts }) => {
                Operator::AvgPool { windows: Windows::of(pool), counts: counts.clone() }
            }
            Op::Arrange(arrange) => Operator::Arrange(arrange.clone()),
            Op::Add => Operator::Add,
            Op::Reshape => Operator::Reshape,
            Op::BatchNorm(norm) => {
                Operator::BatchNorm { epsilon: norm.epsilon, momentum: norm.momentum, names: norm.names.clone() }
            }
            &Op::Dropout { ratio } => Operator::Dropout { ratio },
        }
    }

    /// The operator on a first input of such items, its weights zero.
    fn with_zeros(&self, input: &[usize]) -> Op {
        match self {
            Operator::Dense { outputs, weights: Weights { name, bias, bias_name } } => Op::Dense(Dense {
                weights: zeros(vec![*outputs, input[0]]),
                bias: bias.map(|len| vec![0.0; len]),
                weight_name: name.clone(),
                bias_name: bias_name.clone(),
            }),
            Operator::Conv { channels, groups, windows, weights: Weights { name, bias, bias_name } } => {
                let shape = windows.conv(input, *channels, *groups);
                let axes = vec![*channels, shape.in_channels / groups, shape.kernel[0], shape.kernel[1]];
                Op::Conv(Conv {
                    shape,
                    weights: zeros(axes),
                    bias: bias.map(|len| vec![0.0; len]),
                    weight_name: name.clone(),
                    bias_name: bias_name.clone(),
                })
            }
            Operator::Relu => Op::Relu,
            &Operator::Clip { lo, hi } => Op::Clip { lo, hi },
            &Operator::Function(function) => Op::Function(function),
            &Operator::Softmax { row } => Op::Softmax(row),
            Operator::MaxPool(windows) => Op::MaxPool(windows.pool(input)),
            Operator::AvgPool { windows, counts } => {
                Op::AvgPool(AvgPool { pool: windows.pool(input), counts: counts.clone() })
            }
            Operator::Arrange(arrange) => Op::Arrange(arrange.clone()),
            Operator::Add => Op::Add,
            Operator::Reshape => Op::Reshape,
            Operator::BatchNorm { epsilon, momentum, names } => {
                let [gamma, beta, mean, variance] = [(); 4].map(|()| vec![0.0; input[0]]);
                let (epsilon, momentum, names) = (*epsilon, *momentum, names.clone());
                Op::BatchNorm(BatchNorm { gamma, beta, mean, variance, epsilon, momentum, names })
            }
            &Operator::Dropout { ratio } => Op::Dropout { ratio },
        }
    }
}

fn zeros(shape: Vec<usize>) -> Tensor<f32> {
    Tensor::zeros(shape).expect("the check bounds parameters")
}

impl Weights {
    fn of(name: &str, bias: Option<&[f32]>, bias_name: Option<&String>) -> Weights {
        Weights { name: name.into(), bias: bias.map(<[f32]>::len), bias_name: bias_name.cloned() }
    }
}

impl Windows {
    fn of(pool: &Pool) -> Windows {
        let &Pool { kernel, stride, pads, dilation, .. } = pool;
        Windows { kernel, stride, pads, dilation }
    }

    /// Over images `[channels, height, width]`.
    fn pool(&self, image: &[usize]) -> Pool {
        let Windows { kernel, stride, pads, dilation } = *self;
        Pool { channels: image[0], in_height: image[1], in_width: image[2], kernel, stride, pads, dilation }
    }

    fn conv(&self, image: &[usize], out_channels: usize, groups: usize) -> ConvShape {
        let Windows { kernel, stride, pads, dilation } = *self;
        ConvShape {
            in_channels: image[0],
            in_height: image[1],
            in_width: image[2],
            out_channels,
            kernel,
            stride,
            pads,
            dilation,
            groups,
        }
    }
}

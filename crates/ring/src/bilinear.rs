//! Shapes of products of two tensors: what a linear layer computes forwards, and what training computes backwards.

use serde::{Deserialize, Serialize};

use crate::ConvShape;

/// The public shape of a linear layer, for one item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LinearShape {
    /// y = W·x, W of `outputs` rows and `inputs` columns.
    Dense {
        /// Elements of x.
        inputs: usize,
        /// Elements of y.
        outputs: usize,
    },
    /// A two-dimensional convolution, NCHW.
    Conv(ConvShape),
}

impl LinearShape {
    /// Elements of one item's input.
    pub fn in_len(&self) -> usize {
        match self {
            LinearShape::Dense { inputs, .. } => *inputs,
            LinearShape::Conv(shape) => shape.in_len(),
        }
    }

    /// Elements of one item's output.
    pub fn out_len(&self) -> usize {
        match self {
            LinearShape::Dense { outputs, .. } => *outputs,
            LinearShape::Conv(shape) => shape.out_len(),
        }
    }

    /// Output channels: the bias has one element for each.
    pub fn channels(&self) -> usize {
        match self {
            LinearShape::Dense { outputs, .. } => *outputs,
            LinearShape::Conv(shape) => shape.out_channels,
        }
    }

    /// Elements of the weights.
    pub fn weight_len(&self) -> usize {
        match self {
            LinearShape::Dense { inputs, outputs } => inputs * outputs,
            LinearShape::Conv(shape) => shape.weight_len(),
        }
    }

    /// Multiply-adds of one item.
    pub fn multiply_adds(&self) -> u64 {
        match self {
            LinearShape::Dense { inputs, outputs } => (inputs * outputs) as u64,
            LinearShape::Conv(shape) => shape.multiply_adds(),
        }
    }
}

/// Three axes of a tensor, of which the one in the middle is kept: sums run over the outer and the inner one, and a value a
/// kept place is spread over them. Element (o, c, i) lies at `(o * kept + c) * inner + i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axes {
    /// Places of the outer axis, such as the items of a batch.
    pub outer: usize,
    /// Places that are kept, such as channels.
    pub kept: usize,
    /// Places of the inner axis, such as the pixels of a channel.
    pub inner: usize,
}

impl Axes {
    /// Elements of the tensor.
    pub fn len(&self) -> usize {
        self.outer * self.kept * self.inner
    }

    /// The tensor has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements that are summed to one.
    pub fn terms(&self) -> usize {
        self.outer * self.inner
    }
}

/// A product of two tensors, linear in each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bilinear {
    /// A linear layer: inputs `[items, in]` and weights to outputs `[items, out]`, without bias.
    Forward {
        /// The layer.
        shape: LinearShape,
        /// Items of the batch.
        items: usize,
    },
    /// The gradient of its input: gradients `[items, out]` and weights to `[items, in]`.
    BackwardInput {
        /// The layer.
        shape: LinearShape,
        /// Items of the batch.
        items: usize,
    },
    /// The gradient of its weights, summed over the batch: gradients `[items, out]` and inputs `[items, in]` to weights.
    BackwardWeights {
        /// The layer.
        shape: LinearShape,
        /// Items of the batch.
        items: usize,
    },
    /// A tensor times one value a kept place: `[outer, kept, inner]` and `[kept]` to `[outer, kept, inner]`.
    Channels(Axes),
    /// Sums of products: `[outer, kept, inner]` twice to `[kept]`.
    Inner(Axes),
}

impl Bilinear {
    /// Elements of both operands.
    pub fn lens(&self) -> [usize; 2] {
        match self {
            Bilinear::Forward { shape, items } => [items * shape.in_len(), shape.weight_len()],
            Bilinear::BackwardInput { shape, items } => [items * shape.out_len(), shape.weight_len()],
            Bilinear::BackwardWeights { shape, items } => [items * shape.out_len(), items * shape.in_len()],
            Bilinear::Channels(axes) => [axes.len(), axes.kept],
            Bilinear::Inner(axes) => [axes.len(), axes.len()],
        }
    }

    /// Elements of the product.
    pub fn out_len(&self) -> usize {
        match self {
            Bilinear::Forward { shape, items } => items * shape.out_len(),
            Bilinear::BackwardInput { shape, items } => items * shape.in_len(),
            Bilinear::BackwardWeights { shape, .. } => shape.weight_len(),
            Bilinear::Channels(axes) => axes.len(),
            Bilinear::Inner(axes) => axes.kept,
        }
    }

    /// Multiply-adds of the product.
    pub fn multiply_adds(&self) -> u64 {
        match self {
            Bilinear::Forward { shape, items }
            | Bilinear::BackwardInput { shape, items }
            | Bilinear::BackwardWeights { shape, items } => *items as u64 * shape.multiply_adds(),
            Bilinear::Channels(axes) | Bilinear::Inner(axes) => axes.len() as u64,
        }
    }
}

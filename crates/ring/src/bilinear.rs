//! Shapes of products of two tensors: what a linear layer computes forwards, and what training computes backwards.

use serde::{Deserialize, Serialize};

use crate::product::backward;
use crate::{Axes, ConvShape, Matrix, Ring, conv2d, matmul};

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

    /// The product of `a` and `b`; `out` is overwritten.
    ///
    /// # Panics
    /// If a length does not fit, a convolution's shape is not [valid](ConvShape::validate), or a kernel forced by
    /// `ARIANN_PRODUCTS` does not exist here.
    pub fn apply<R: Ring>(&self, a: &[R], b: &[R], out: &mut [R]) {
        assert_eq!([a.len(), b.len()], self.lens(), "elements of the operands");
        assert_eq!(out.len(), self.out_len(), "elements of the product");
        match self {
            Bilinear::Forward { shape: LinearShape::Dense { inputs, outputs }, items } => {
                matmul(Matrix::new(a, *items, *inputs), Matrix::new(b, *outputs, *inputs).transposed(), out);
            }
            Bilinear::BackwardInput { shape: LinearShape::Dense { inputs, outputs }, items } => {
                matmul(Matrix::new(a, *items, *outputs), Matrix::new(b, *outputs, *inputs), out);
            }
            Bilinear::BackwardWeights { shape: LinearShape::Dense { inputs, outputs }, items } => {
                matmul(Matrix::new(a, *items, *outputs).transposed(), Matrix::new(b, *items, *inputs), out);
            }
            Bilinear::Forward { shape: LinearShape::Conv(shape), items } => conv2d(shape, *items, b, a, out),
            Bilinear::BackwardInput { shape: LinearShape::Conv(shape), items } => {
                backward::inputs(shape, *items, a, b, out);
            }
            Bilinear::BackwardWeights { shape: LinearShape::Conv(shape), items } => {
                backward::weights(shape, *items, a, b, out);
            }
            Bilinear::Channels(axes) => axes.channels(a, b, out),
            Bilinear::Inner(axes) => axes.inner(a, b, out),
        }
    }
}

//! Shapes of linear layers.

use ariann_ring::ConvShape;

/// The public shape of a linear layer, for one item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
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

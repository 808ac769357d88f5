//! The fixed-point reference: the integers of a private run, computed in clear.

use ariann_ring::Ring;
use serde::{Deserialize, Serialize};

/// Scales of a fixed-point computation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedPoint {
    /// k: values are integers modulo 2^k.
    pub ring_bits: u32,
    /// Fractional bits of the input.
    pub input_frac: i32,
    /// The linear layers, in the order of [`crate::Graph::linear_nodes`].
    pub layers: Vec<LayerScale>,
}

/// Scales of one linear layer: z = W·x + b, cut to the window [shift, top).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerScale {
    /// Fractional bits of the weights.
    pub weight_frac: i32,
    /// s: the output is divided by 2^s.
    pub shift: u32,
    /// m: the window ends below this bit.
    pub top: u32,
    /// The output is divided at all; not so where logits are revealed as they are.
    pub truncated: bool,
}

/// How z / 2^s becomes an integer.
pub trait Rounding<R: Ring> {
    /// Rounds the output of linear layer number `layer` for consecutive items from `first_item` on.
    fn round(&mut self, layer: usize, first_item: usize, z: &[R], shift: u32, top: u32, out: &mut [R]);
}

/// To the nearest integer, halves upwards: floor((z + 2^(s-1)) / 2^s).
#[derive(Clone, Copy, Debug, Default)]
pub struct Nearest;

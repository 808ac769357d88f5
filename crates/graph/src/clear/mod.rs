//! The fixed-point reference: the integers of a private run, computed in clear.

mod error;
mod reference;

use ariann_ring::{Ring, decode, encode};
use serde::{Deserialize, Serialize};

pub use error::ClearError;
pub use reference::Reference;

use crate::graph::{Graph, Node};

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

impl<R: Ring> Rounding<R> for Nearest {
    fn round(&mut self, _layer: usize, _first_item: usize, z: &[R], shift: u32, _top: u32, out: &mut [R]) {
        for (out, z) in out.iter_mut().zip(z) {
            *out = nearest(*z, shift);
        }
    }
}

/// floor((z + 2^(shift-1)) / 2^shift) of the signed element; the sum is taken without wrapping.
fn nearest<R: Ring>(z: R, shift: u32) -> R {
    if shift == 0 {
        return z;
    }
    R::from_i64(((i128::from(z.to_i64()) + (1i128 << (shift - 1))) >> shift) as i64)
}

/// The first value that left its bound. Beyond it a private run gives garbage, and nobody can see that.
#[derive(Clone, Debug, PartialEq)]
pub struct Excess {
    /// Number of the linear layer.
    pub layer: usize,
    /// Its name.
    pub name: String,
    /// The item.
    pub item: usize,
    /// The value before truncation, in integer units; exact below 2^53.
    pub value: f64,
    /// What its magnitude may be at most.
    pub bound: f64,
}

/// Result of the fixed-point reference.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearRun<R> {
    /// The outputs of all items.
    pub logits: Vec<R>,
    /// Their fractional bits.
    pub frac_bits: i32,
    /// The first value, in the order of layers and then items, that left its bound.
    pub excess: Option<Excess>,
}

impl<R: Ring> ClearRun<R> {
    /// The outputs as numbers.
    pub fn decoded(&self) -> Vec<f32> {
        self.logits.iter().map(|&logit| decode(logit, self.frac_bits) as f32).collect()
    }
}

/// Weights and bias of a linear layer as ring elements, row-major as in the layer. Without a bias: zeros.
pub fn encode_weights<R: Ring>(layer: &Node, weight_frac: i32, bias_frac: i32) -> Result<(Vec<R>, Vec<R>), ClearError> {
    let all = |values: &[f32], frac: i32| {
        let encoded = values.iter().map(|&value| encode::<R>(value.into(), frac));
        encoded
            .collect::<Result<Vec<R>, _>>()
            .map_err(|source| ClearError::Weights { layer: layer.name.clone(), source })
    };
    let weights = layer.op.weights().expect("encode_weights is for linear layers");
    let bias = match layer.op.bias() {
        Some(bias) => all(bias, bias_frac)?,
        None => vec![R::ZERO; layer.shape[0]],
    };
    Ok((all(weights.data(), weight_frac)?, bias))
}

/// What |z| of linear node `node` may be at most, in integer units.
///
/// A window [s, m) holds 2^(m-1) - 2^(s+1) where the value goes into ReLU and no pooling follows, and
/// 2^(m-2) - 2^(s+1) where it enters a maximum or stays signed. An output that is not truncated must fit the ring.
pub fn bound(graph: &Graph, node: usize, scale: &LayerScale, ring_bits: u32) -> f64 {
    if !scale.truncated {
        return 2f64.powi(ring_bits as i32 - 1) - 1.0;
    }
    let tight = graph.pooled_before_next_linear(node) || graph.stays_signed(node);
    let top = scale.top as i32 - if tight { 2 } else { 1 };
    2f64.powi(top) - 2f64.powi(scale.shift as i32 + 1)
}

/// Computes `items` items with the integers of `fixed`, truncating with `rounding`.
///
/// A few items at a time pass through all layers, so `rounding` is called for each layer in turn, once for every
/// such group of items.
pub fn run<R: Ring>(
    graph: &Graph,
    fixed: &FixedPoint,
    items: usize,
    x: &[f32],
    rounding: &mut dyn Rounding<R>,
) -> Result<ClearRun<R>, ClearError> {
    Reference::new(graph, fixed)?.run(items, x, rounding)
}

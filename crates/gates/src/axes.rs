//! Sums over axes, and values spread over them: shares to a share, wires to a wire.
//!
//! Computes   `x[c] = Σ_o Σ_i x[o, c, i]`; or `x[o, c, i] = x[c]`.
//! Learns     nothing: no message. Masks are summed and spread likewise.
//! Material   none.
//! Online     no message.
//! Error      none: exact modulo 2^k.

use ariann_device::{Axes, Device};
use ariann_ring::Ring;

use crate::Cost;

/// Sums over the outer and the inner axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reduce {
    /// The operand's axes.
    pub axes: Axes,
}

/// One value a kept place, for all places of the outer and the inner axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The result's axes.
    pub axes: Axes,
}

impl Reduce {
    /// The sums of a share, of masked values or of masks.
    pub fn apply<R: Ring, D: Device>(&self, device: &D, x: &D::Words<R>) -> D::Words<R> {
        device.reduce_axes(&self.axes, x)
    }

    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }
}

impl Spread {
    /// The values of a share, of masked values or of masks, spread.
    pub fn apply<R: Ring, D: Device>(&self, device: &D, x: &D::Words<R>) -> D::Words<R> {
        device.spread_axes(&self.axes, x)
    }

    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }
}

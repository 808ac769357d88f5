//! Sums over axes, and values spread over them: shares to a share, wires to a wire.
//!
//! Computes   x[c] = Σ_o Σ_i x[o, c, i]; or x[o, c, i] = x[c].
//! Learns     nothing: no message. Masks are summed and spread likewise.
//! Material   none.
//! Online     no message.
//! Error      none: exact modulo 2^k.

use ariann_device::Axes;

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
    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }
}

impl Spread {
    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }
}

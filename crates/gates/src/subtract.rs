//! Difference of two wires of w bits that both know.
//!
//! Computes   â - b̂ mod 2^w, under the mask α_a - α_b.
//! Learns     nothing: no message.
//! Material   none.
//! Online     no message.
//! Error      none.
//! Bound      a and b in [-2^(w-2), 2^(w-2)), so that the difference has a sign in w bits.

use ariann_device::Device;
use ariann_ring::Ring;

use crate::Cost;

/// Subtracts `len` wires of `width` bits from as many.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Subtract {
    /// Values an item.
    pub len: usize,
    /// w.
    pub width: u32,
}

impl Subtract {
    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }

    /// The wire, or its mask at the dealer.
    pub fn apply<R: Ring, D: Device>(&self, device: &D, a: &D::Words<R>, b: &D::Words<R>) -> D::Words<R> {
        let mut difference = device.copy(a);
        device.sub(&mut difference, b);
        device.reduce(&mut difference, self.width);
        difference
    }
}

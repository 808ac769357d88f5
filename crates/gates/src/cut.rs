//! Cut: a wire of k bits, known to both, becomes one of fewer bits.
//!
//! Computes   x̂ mod 2^w, under the mask r mod 2^w.
//! Learns     nothing: no message.
//! Material   none.
//! Online     no message.
//! Error      none.
//! Bound      x in [-2^(w-2), 2^(w-2)) where a maximum or a signed value follows, [-2^(w-1), 2^(w-1)) for a sign alone.

use ariann_device::Device;
use ariann_ring::Ring;

use crate::Cost;

/// Cuts `len` wires to their low `width` bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Cut {
    /// Values an item.
    pub len: usize,
    /// w.
    pub width: u32,
}

impl Cut {
    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }

    /// The wire, or its mask at the dealer.
    pub fn apply<R: Ring, D: Device>(&self, device: &D, x: &D::Words<R>) -> D::Words<R> {
        let mut cut = device.copy(x);
        device.reduce(&mut cut, self.width);
        cut
    }
}

//! Dropout: a public pattern sets values to zero; shares to a share, wires to a wire.
//!
//! Computes   x·p, p in {0, 1}, from the public pattern of the step. What is kept is scaled up by the result's scale.
//! Learns     nothing: no message. The pattern does not depend on any value; masks are multiplied likewise.
//! Material   none.
//! Online     no message.
//! Error      none.

use ariann_device::Device;
use ariann_ring::Ring;

use crate::Cost;

/// A pattern over `len` values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Values.
    pub len: usize,
    /// Of 256 values so many are kept on average.
    pub keep: u32,
    /// Which pattern of a step this is: a layer's forward and backward gates have the same.
    pub pattern: u32,
}

impl Dropout {
    /// What the pattern of the step keeps of a share, of masked values or of masks.
    pub fn apply<R: Ring, D: Device>(&self, device: &D, x: &D::Words<R>, pattern: &[bool]) -> D::Words<R> {
        debug_assert_eq!(pattern.len(), self.len);
        let mut kept = device.copy(x);
        device.keep(&mut kept, pattern);
        kept
    }

    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }
}

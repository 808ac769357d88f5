//! Product of two wires that both know: the linear layers of training, forwards and backwards, and products by channels.
//!
//! Computes   z_b = f(x̂, b·ŷ - r_y,b) - f(r_x,b, ŷ) + c_b, f linear in each operand, c = f(r_x, r_y): a share of f(x, y).
//! Learns     nothing: no message. c_1 is padded by c_0.
//! Material   k/8 bytes an element of the result to P1; c_0 from P0's seed.
//! Online     no message: two products a party, one at the dealer.
//! Error      none: exact modulo 2^k.
//! Source     Beaver (CRYPTO 1991) for bilinear maps, on masked values: Boyle et al., EUROCRYPT 2021.

use ariann_device::Bilinear;
use ariann_ring::Ring;
use ariann_ring::pack::packed_len;

use crate::Cost;

/// A product of two wires of k bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// What is multiplied and summed.
    pub of: Bilinear,
}

impl Product {
    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        let material = [0, packed_len(self.of.out_len(), R::BITS)];
        Cost { multiply_adds: self.of.multiply_adds(), material, ..Cost::default() }
    }
}

//! Rearrangement: concatenation, slices, padding with zeros, transposition; of shares, or of wires with their masks.
//!
//! Computes   elements of the operands, each times its operand's public factor, in other places; zero where nothing goes.
//! Learns     nothing: no message.
//! Material   none.
//! Online     no message.
//! Error      none.

use ariann_device::Device;
use ariann_ring::{Arrange, Ring};

use crate::Cost;

/// A rearrangement of operands of one form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Rearrange {
    /// What goes where.
    pub arrange: Arrange,
    /// The public factor of each operand; it brings all to one scale.
    pub multipliers: Vec<u64>,
}

impl Rearrange {
    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }

    /// The same for shares, masked values and masks.
    pub fn apply<R: Ring, D: Device>(&self, device: &D, items: usize, operands: &[&D::Words<R>]) -> D::Words<R> {
        if self.multipliers.iter().all(|factor| *factor == 1) {
            return device.arrange(items, &self.arrange, operands);
        }
        let scaled: Vec<D::Words<R>> = operands
            .iter()
            .zip(&self.multipliers)
            .map(|(operand, factor)| {
                let mut operand = device.copy(operand);
                device.scale(&mut operand, *factor);
                operand
            })
            .collect();
        device.arrange(items, &self.arrange, &scaled.iter().collect::<Vec<_>>())
    }
}

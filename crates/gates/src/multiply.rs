//! Placeholder: the gate's author replaces this file.

use ariann_device::Device;
use ariann_ring::Ring;

use crate::{Context, Cost, Dealing, GateError, Sections};

/// Element-wise products of `len` pairs of wires of k bits that both know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Multiply {
    /// Values an item.
    pub len: usize,
}

impl Multiply {
    /// Cost.
    pub fn cost<R: Ring>(&self) -> Cost {
        todo!()
    }
    /// Deal.
    pub fn deal<R: Ring, D: Device>(&self, _: &Dealing<'_, D>, _: [&D::Words<R>; 2], _: &mut [Vec<u8>; 2]) {
        todo!()
    }
    /// Share.
    pub fn share<R: Ring, D: Device>(
        &self,
        _: &Context<'_, D>,
        _: &dyn Sections,
        _: [&D::Words<R>; 2],
        _: [&D::Words<R>; 2],
    ) -> Result<D::Words<R>, GateError> {
        todo!()
    }
}

//! Placeholder: the gate's author replaces this file.

use ariann_device::Device;
use ariann_ring::Ring;

use crate::{Comparison, Context, Cost, Dealing, GateError, Receiver, Sections, Sign, Step};

/// min(max(x, lo), hi) of `len` wires of `width` bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Clip {
    /// Values an item.
    pub len: usize,
    /// w.
    pub width: u32,
    /// Who gets the resulting wire.
    pub to: Receiver,
    /// Least value, in units of the wire.
    pub lo: i64,
    /// Greatest value.
    pub hi: i64,
    /// How signs are compared.
    pub form: Comparison,
    /// On which bits.
    pub sign: Sign,
}

/// Waits.
pub struct State<R>(std::marker::PhantomData<R>);

impl Clip {
    /// Cost.
    pub fn cost<R: Ring>(&self) -> Cost {
        todo!()
    }
    /// Deal.
    pub fn deal<R: Ring, D: Device>(&self, _: &Dealing<'_, D>, _: &D::Words<R>, _: &mut [Vec<u8>; 2]) -> D::Words<R> {
        todo!()
    }
    /// Start.
    pub fn start<R: Ring, D: Device>(
        &self,
        _: &Context<'_, D>,
        _: &dyn Sections,
        _: &D::Words<R>,
    ) -> Result<Step<Option<D::Words<R>>, State<R>>, GateError> {
        todo!()
    }
}

impl<R: Ring> State<R> {
    /// Next.
    pub fn next<D: Device>(self, _: &Context<'_, D>, _: &[u8]) -> Result<Step<Option<D::Words<R>>, Self>, GateError> {
        todo!()
    }
}

//! Placeholder: the gate's author replaces this file.

use ariann_device::Device;
use ariann_ring::Ring;

use crate::{Context, Cost, Dealing, GateError, Receiver, Sections, Step};

/// A function of `len` wires of `width` bits by a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Values an item.
    pub len: usize,
    /// w, at most 16.
    pub width: u32,
    /// The results for every signed value of the wire, from the least.
    pub table: Vec<i64>,
    /// Who gets the resulting wire.
    pub to: Receiver,
}

/// Cost of `len` lookups of `width` bits.
pub fn cost<R: Ring>(_len: usize, _width: u32, _to: Receiver) -> Cost {
    todo!()
}

/// Waits.
pub struct State<R>(std::marker::PhantomData<R>);

impl Lookup {
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

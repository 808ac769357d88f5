//! Input: a party's own values become a wire.
//!
//! Computes   x̂ = x + r_b, the other party's part of the mask is 0.
//! Learns     the other party: k uniform bits a value.
//! Material   none: r_b from the owner's seed.
//! Online     k bits a value, from the owner to the other party, in half an exchange. The owner knows x̂ anyway.

use ariann_device::Device;
use ariann_fss::Party;
use ariann_ring::Ring;

use crate::{Context, Cost, GateError, Traffic, kind, other};

/// The party that brings the inputs of a prediction.
pub const OWNER: Party = Party::P1;

/// `len` values of their owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Input {
    /// Values an item.
    pub len: usize,
    /// Whose they are.
    #[serde(default = "of_p1", skip_serializing_if = "is_p1")]
    pub owner: Party,
}

fn of_p1() -> Party {
    OWNER
}

fn is_p1(owner: &Party) -> bool {
    *owner == OWNER
}

impl Input {
    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        let mut sent = [Traffic::NONE; 2];
        sent[self.owner as usize] = Traffic::new(self.len, R::BITS);
        Cost { exchanges: vec![sent], ..Cost::default() }
    }

    /// The owner masks its values: the wire and the message.
    pub fn send<R: Ring, D: Device>(&self, ctx: &Context<'_, D>, mut x: D::Words<R>) -> (D::Words<R>, Vec<u8>) {
        debug_assert!(ctx.party == self.owner);
        ctx.device.add(&mut x, &ctx.expand(kind::MASK, self.len, R::BITS));
        let message = ctx.device.pack(&x, R::BITS);
        (x, message)
    }

    /// The other party reads the wire.
    pub fn receive<R: Ring, D: Device>(&self, ctx: &Context<'_, D>, message: &[u8]) -> Result<D::Words<R>, GateError> {
        debug_assert!(ctx.party == other(self.owner));
        let zeros = ctx.device.upload(&vec![R::ZERO; self.len * ctx.items()]);
        ctx.device.open(zeros, message, R::BITS).map_err(GateError::Message)
    }
}

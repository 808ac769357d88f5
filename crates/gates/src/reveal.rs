//! Reveal: a secret result, to the receiver that the plan names.
//!
//! Computes   z = z_0 + z_1 at the receiver, from a share; or x = x̂ - r, from a wire that the receiver knows.
//!            For an outside client: each party keeps its share modulo 2^k, of which the low width bits count.
//! Learns     the receiver: the result. The sender's part is determined by the result and the receiver's own view.
//!            With an outside client neither party learns anything; shares leave under a word that both have in common.
//! Material   none.
//! Online     width bits a value, to each receiver, in one exchange; nothing where an outside client is the receiver.
//! Error      none.

use ariann_device::Device;
use ariann_fss::Party;
use ariann_ring::Ring;

use crate::open::{self, Opening};
use crate::{Context, Cost, GateError, Receiver};

/// Reveals `len` values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Reveal {
    /// Values an item.
    pub len: usize,
    /// Bits a value.
    pub width: u32,
    /// Who learns them.
    pub to: Receiver,
}

impl Reveal {
    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        let exchanges = match self.to {
            Receiver::Client => Vec::new(),
            to => vec![open::traffic(self.len, self.width, to)],
        };
        Cost { exchanges, ..Cost::default() }
    }

    /// Reveals a share.
    pub fn share<R: Ring, D: Device>(&self, ctx: &Context<'_, D>, share: D::Words<R>) -> (Opening<R, D>, Vec<u8>) {
        Opening::new(ctx, share, self.width, self.to)
    }

    /// Reveals a wire: `mask` is this party's part of its mask, `masked` the value for a party that knows it. A single
    /// receiver must know x̂; for both, and for an outside client, P0 adds it.
    pub fn wire<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        masked: Option<&D::Words<R>>,
        mut mask: D::Words<R>,
    ) -> (Opening<R, D>, Vec<u8>) {
        ctx.device.negate(&mut mask);
        let adds = match self.to {
            Receiver::P0 | Receiver::Both | Receiver::Client => Party::P0,
            Receiver::P1 => Party::P1,
        };
        if let (true, Some(masked)) = (adds == ctx.party, masked) {
            ctx.device.add(&mut mask, masked);
        }
        Opening::new(ctx, mask, self.width, self.to)
    }

    /// The result, at a receiver; each party's share of it, where the receiver is an outside client.
    pub fn finish<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        opening: Opening<R, D>,
        theirs: &[u8],
    ) -> Result<Option<D::Words<R>>, GateError> {
        match self.to {
            Receiver::Client => Ok(Some(opening.into_own())),
            _ => opening.finish(ctx, theirs),
        }
    }
}

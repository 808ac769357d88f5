//! Open: from a share to a wire, whole or by a window of its bits.
//!
//! Computes   x̂ = bits [s, m) of z + r, modulo 2^w, w = m - s. For s > 0 this is the truncation: with the dealer's
//!            α = ((r + c) >> s) mod 2^w, x̂ - α = z / 2^s rounded without bias, error below 1.5 units, variance 1/4.
//!            For s = 0 it is exact.
//! Learns     the receiver: w uniform bits. Dropping one's own low or high bits is local.
//! Material   none: r_0 and r_1 come from the parties' seeds, the coin c from the dealer's.
//! Online     1 exchange, w bits each way (one way when directed).
//! Bound      signed truncation and maxima: |z| <= 2^(m-2) - 2^(s+1); ReLU: |z| <= 2^(m-1) - 2^(s+1).
//! Source     openings of masked values: Boyle et al., EUROCRYPT 2021; the window and the coin: docs/protocol.md.

use std::convert::Infallible;

use ariann_device::{Device, Window};
use ariann_fss::Party;
use ariann_ring::Ring;

use crate::{Context, Cost, Dealing, GateError, Receiver, Traffic, kind, other};

/// Opens `len` shared values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Open {
    /// Values an item.
    pub len: usize,
    /// The bits that are sent.
    pub window: Window,
    /// Who gets the wire.
    pub to: Receiver,
}

impl Open {
    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        Cost { exchanges: vec![traffic(self.len, self.window.width(), self.to)], ..Cost::default() }
    }

    /// The mask α of the wire.
    pub fn deal<R: Ring, D: Device>(&self, dealing: &Dealing<'_, D>) -> D::Words<R> {
        let mask = dealing.mask(kind::MASK, self.len);
        // Without a truncation nothing is rounded and nothing is drawn.
        let coins = (self.window.shift > 0)
            .then(|| dealing.device.expand_bits(dealing.coins, &dealing.stream(kind::COIN, self.len)));
        dealing.device.deal_window(&mask, coins.as_ref(), self.window)
    }

    /// This party's part, and its message (empty when the other party receives nothing).
    pub fn start<R: Ring, D: Device>(&self, ctx: &Context<'_, D>, share: &D::Words<R>) -> (Opening<R, D>, Vec<u8>) {
        let mut message = Vec::new();
        let mut keep = |piece: &[u8]| {
            message.extend_from_slice(piece);
            Ok::<_, Infallible>(())
        };
        let Ok(opening) = self.start_in_pieces(ctx, share, &mut keep);
        (opening, message)
    }

    /// The same, with the message handed to `send` in pieces while the next ones are computed.
    pub fn start_in_pieces<R: Ring, D: Device, E>(
        &self,
        ctx: &Context<'_, D>,
        share: &D::Words<R>,
        send: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Opening<R, D>, E> {
        let stream = ctx.stream(kind::MASK, self.len);
        let mut nobody = |_: &[u8]| Ok(());
        let send = if self.to.includes(other(ctx.party)) { send } else { &mut nobody };
        let own = ctx.device.open_in_pieces(ctx.prg, &stream, share, self.window, ctx.party == Party::P0, send)?;
        Ok(Opening { own, width: self.window.width(), receives: self.to.includes(ctx.party) })
    }
}

/// What P0 and P1 send to open `len` values of `width` bits towards `to`.
pub fn traffic(len: usize, width: u32, to: Receiver) -> [Traffic; 2] {
    [Party::P0, Party::P1].map(|from| if to.includes(other(from)) { Traffic::new(len, width) } else { Traffic::NONE })
}

/// An opening whose message was made and whose answer has not come.
pub struct Opening<R: Ring, D: Device> {
    own: D::Words<R>,
    width: u32,
    receives: bool,
}

impl<R: Ring, D: Device> Opening<R, D> {
    /// Opens `own`, this party's part of a padded value modulo 2^width.
    pub fn new(ctx: &Context<'_, D>, own: D::Words<R>, width: u32, to: Receiver) -> (Self, Vec<u8>) {
        let message = if to.includes(other(ctx.party)) { ctx.device.pack(&own, width) } else { Vec::new() };
        (Opening { own, width, receives: to.includes(ctx.party) }, message)
    }

    /// This party's part.
    pub(crate) fn into_own(self) -> D::Words<R> {
        self.own
    }

    /// The opened value, for a party that receives it.
    pub fn finish(self, ctx: &Context<'_, D>, theirs: &[u8]) -> Result<Option<D::Words<R>>, GateError> {
        if !self.receives {
            return Ok(None);
        }
        ctx.device.open(self.own, theirs, self.width).map(Some).map_err(GateError::Message)
    }
}

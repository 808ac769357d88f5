//! ReLU of a wire, with its lift to the whole ring: after a window opening this is ReLU and truncation in one.
//!
//! Computes   y = max(x, 0) as a fresh wire modulo 2^k, from a wire of w bits that both know.
//! Learns     both: d̂ (1 uniform bit); the receiver of the wire: k uniform bits.
//! Material   DReLU's 16(ν+1) bytes to each, plus 5k/8 bytes to P1 (3k/8 when w = k).
//! Online     2 exchanges: 1 bit each way, then k bits each way (one way when directed). With the opening: 3 exchanges.
//! Error      none on the wire's value. Against the unrounded z / 2^s: below 2 units.
//! Source     AriaNN (PoPETs 2022) §4, fused with truncation as in docs/protocol.md.

use ariann_device::{Device, Lift};
use ariann_ring::Ring;

use crate::drelu::{DRelu, MaskedBit};
use crate::open::{self, Opening};
use crate::select::Select;
use crate::{Context, Cost, Dealing, GateError, Receiver, Sections, kind};

/// ReLU of `len` wires of `width` bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Relu {
    /// Values an item.
    pub len: usize,
    /// w.
    pub width: u32,
    /// Who gets the resulting wire.
    pub to: Receiver,
}

impl Relu {
    fn drelu(&self) -> DRelu {
        DRelu { len: self.len, width: self.width }
    }

    fn select<R: Ring>(&self) -> Select {
        let lift = if self.width == R::BITS { Lift::None } else { Lift::From(self.width) };
        Select { len: self.len, width: R::BITS, lift, table: kind::TABLE }
    }

    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        let mut cost = self.drelu().cost();
        cost.material[1] += self.select::<R>().table_bytes();
        cost.exchanges.push(open::traffic(self.len, R::BITS, self.to));
        cost
    }

    /// Makes one slot's material and returns the mask of the result; `alpha` is the mask of the wire.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> D::Words<R> {
        let r_d = self.drelu().deal(dealing, alpha, sections);
        let r = dealing.mask(kind::MASK, self.len);
        self.select::<R>().deal(dealing, &r_d, alpha, &r, sections);
        r
    }

    /// The masked bit's exchange.
    pub fn start<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        sections: &dyn Sections,
        x: &D::Words<R>,
    ) -> Result<(MaskedBit<D>, Vec<u8>), GateError> {
        self.drelu().start(ctx, sections, x)
    }

    /// The output's exchange.
    pub fn select_open<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        x: &D::Words<R>,
        bit: MaskedBit<D>,
        theirs: &[u8],
    ) -> Result<(Opening<R, D>, Vec<u8>), GateError> {
        let (d, tables) = bit.finish(ctx, theirs)?;
        let share = self.select::<R>().share(ctx, tables.keys(), 0, &d, x)?;
        Ok(Opening::new(ctx, share, R::BITS, self.to))
    }
}

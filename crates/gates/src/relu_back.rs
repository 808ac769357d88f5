//! Backwards through ReLU: the gradient where the bit of the forward gate is one, by one select and no comparison.
//!
//! Computes   y = d·g as a fresh wire modulo 2^k, d the bit that the forward gate decided, from a narrow wire g of w bits that
//!            both know, of either sign: its lift is the signed one.
//! Learns     the receiver of the wire: k uniform bits. d̂ is known from the forward gate.
//! Material   5k/8 bytes to P1 (3k/8 when w = k): r_d is dealt again.
//! Online     1 exchange: k bits each way (one way when directed).
//! Error      none on the wire's value.
//! Bound      g in [-2^(w-2), 2^(w-2)).
//! Source     docs/protocol.md, "Training".

use ariann_device::{Device, Lift};
use ariann_ring::Ring;

use crate::open::{self, Opening};
use crate::select::Select;
use crate::{Context, Cost, Dealing, GateError, Material, Receiver, Sections, kind};

/// Selects `len` wires of `width` bits by kept bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReluBack {
    /// Values.
    pub len: usize,
    /// w.
    pub width: u32,
    /// Who gets the resulting wire.
    pub to: Receiver,
}

impl ReluBack {
    fn select<R: Ring>(&self) -> Select {
        // A whole wire needs no lift.
        let lift = if self.width == R::BITS { Lift::None } else { Lift::Signed(self.width) };
        Select { len: self.len, width: R::BITS, lift, table: kind::TABLE }
    }

    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        let material = [0, self.select::<R>().table_bytes()];
        Cost { material, exchanges: vec![open::traffic(self.len, R::BITS, self.to)], ..Cost::default() }
    }

    /// Makes one slot's material. `r_d` masks the bits of the forward gate, `alpha` is the mask of the gradient's wire.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        r_d: &D::Bits,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) {
        let r = dealing.mask(kind::MASK, self.len);
        self.select::<R>().deal(dealing, r_d, alpha, &r, sections);
    }

    /// This party's part of the new wire and its message; `d` are the masked bits of the forward gate, `x` the gradient's wire.
    pub fn start<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        sections: &dyn Sections,
        d: &D::Bits,
        x: &D::Words<R>,
    ) -> Result<(Opening<R, D>, Vec<u8>), GateError> {
        let material = Material::new(sections, ctx.items())?;
        let share = self.select::<R>().share(ctx, &material, 0, d, x)?;
        Ok(Opening::new(ctx, share, R::BITS, self.to))
    }
}

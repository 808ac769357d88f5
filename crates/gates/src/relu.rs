//! ReLU of a wire, with its lift to the whole ring: after a window opening this is ReLU and truncation in one.
//!
//! Computes   y = max(x, 0) as a fresh wire modulo 2^k, from a wire of w bits that both know. With a coarse sign the bit is
//!            decided on x̂ - 2^(t-1) without its low t bits (α >> t at the dealer), and x is selected as it is.
//! Learns     both: d̂ (1 uniform bit), by chunks also its marks; the receiver of the wire: k uniform bits.
//! Material   DReLU's (16(ν+1) bytes to each, or by chunks to P1 alone), plus 5k/8 bytes to P1 (3k/8 when w = k).
//! Online     2 exchanges (by chunks 3): 1 bit each way, then k bits each way (one way when directed).
//! Error      none on the wire's value. Against the unrounded z / 2^s: below 2 units. With a coarse sign also |x| where
//!            -2^(t-1) < x < 2^(t-1), without bias: P(d = 1) grows evenly from 0 to 1 there.
//! Bound      |x| < 2^(w-1); with a coarse sign x in [-2^(w-2), 2^(w-2)), of either sign when it is selected, t <= w - 3.
//! Source     AriaNN (PoPETs 2022) §4, fused with truncation as in docs/protocol.md.

use ariann_device::Device;
use ariann_fss::Party;
use ariann_ring::Ring;

use crate::drelu::{self, DRelu};
use crate::open::{self, Opening};
use crate::select::Select;
use crate::{Comparison, Context, Cost, Dealing, Material, Progress, Receiver, Sections, Sign, Step, kind};

/// ReLU of `len` wires of `width` bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Relu {
    /// Values an item.
    pub len: usize,
    /// w.
    pub width: u32,
    /// Who gets the resulting wire.
    pub to: Receiver,
    /// How signs are compared.
    pub form: Comparison,
    /// Where they are decided.
    pub sign: Sign,
}

impl Relu {
    fn drelu(&self) -> DRelu {
        DRelu { len: self.len, points: 1, width: self.sign.window(self.width).width(), form: self.form }
    }

    fn select<R: Ring>(&self) -> Select {
        Select { len: self.len, width: R::BITS, lift: self.sign.lift::<R>(self.width), table: kind::TABLE }
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
        self.deal_keeping(dealing, alpha, sections).0
    }

    /// The same, with the masks r_d of the bits.
    pub fn deal_keeping<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> (D::Words<R>, D::Bits) {
        let r_d = self.sign.deal(&self.drelu(), self.width, dealing, alpha, sections);
        let r = dealing.mask(kind::MASK, self.len);
        self.select::<R>().deal(dealing, &r_d, alpha, &r, sections);
        (r, r_d)
    }

    /// The first message.
    pub fn start<'a, R: Ring, D: Device>(
        &'a self,
        ctx: &Context<'_, D>,
        sections: &'a dyn Sections,
        x: &'a D::Words<R>,
    ) -> Progress<Option<D::Words<R>>, State<'a, R, D>> {
        let material = Material::new(sections, ctx.items())?;
        let coarse = match self.sign {
            Sign::Exact => None,
            Sign::Coarse(_) => {
                Some(ctx.device.offsets(x, 1, &[self.sign.half::<R>().neg()], self.sign.window(self.width)))
            }
        };
        let (message, bits) = self.drelu().start(ctx, &material, coarse.as_ref().unwrap_or(x))?;
        Ok(Step::Exchange(message, State(Stage::Comparing(Comparing { relu: self, x, coarse, material, bits }))))
    }
}

/// A ReLU that waits for a message.
pub struct State<'a, R: Ring, D: Device>(Stage<'a, R, D>);

enum Stage<'a, R: Ring, D: Device> {
    Comparing(Comparing<'a, R, D>),
    Opening(Opening<R, D>),
}

struct Comparing<'a, R: Ring, D: Device> {
    relu: &'a Relu,
    x: &'a D::Words<R>,
    /// The wire that the sign is taken of, when it is not x.
    coarse: Option<D::Words<R>>,
    material: Material<'a>,
    bits: drelu::State<D>,
}

impl<R: Ring, D: Device> State<'_, R, D> {
    /// The wire at a party that receives it, or the next message.
    pub fn next(self, ctx: &Context<'_, D>, theirs: &[u8]) -> Progress<Option<D::Words<R>>, Self> {
        self.next_keeping(ctx, theirs, &mut None)
    }

    /// The same; leaves d̂ in `kept` when it is known.
    pub fn next_keeping(
        self,
        ctx: &Context<'_, D>,
        theirs: &[u8],
        kept: &mut Option<D::Bits>,
    ) -> Progress<Option<D::Words<R>>, Self> {
        let Comparing { relu, x, coarse, material, bits } = match self.0 {
            Stage::Comparing(comparing) => comparing,
            Stage::Opening(opening) => return Ok(Step::Done(opening.finish(ctx, theirs)?)),
        };
        let d = match bits.next(ctx, &material, coarse.as_ref().unwrap_or(x), theirs)? {
            Step::Exchange(message, bits) => {
                let comparing = Comparing { relu, x, coarse, material, bits };
                return Ok(Step::Exchange(message, State(Stage::Comparing(comparing))));
            }
            Step::Done(d) => d,
        };
        let offset = relu.drelu().key_bytes()[Party::P1 as usize];
        let share = relu.select::<R>().share(ctx, &material, offset, &d, x)?;
        *kept = Some(d);
        let (opening, message) = Opening::new(ctx, share, R::BITS, relu.to);
        Ok(Step::Exchange(message, State(Stage::Opening(opening))))
    }
}

//! ReLU of a wire, with its lift to the whole ring: after a window opening this is ReLU and truncation in one.
//!
//! Computes   y = max(x, 0) as a fresh wire modulo 2^k, from a wire of w bits that both know.
//! Learns     both: d̂ (1 uniform bit); the receiver of the wire: k uniform bits.
//! Material   DReLU's 16(ν+1) bytes to each, plus 5k/8 bytes to P1 (3k/8 when w = k).
//! Online     2 exchanges: 1 bit each way, then k bits each way (one way when directed). With the opening: 3 exchanges.
//! Error      none on the wire's value. Against the unrounded z / 2^s: below 2 units.
//! Source     AriaNN (PoPETs 2022) §4, fused with truncation as in docs/protocol.md.

use ariann_device::{Device, Lift};
use ariann_fss::Party;
use ariann_ring::Ring;

use crate::drelu::{self, DRelu};
use crate::open::{self, Opening};
use crate::select::Select;
use crate::{Comparison, Context, Cost, Dealing, GateError, Material, Receiver, Sections, Sign, Step, kind};

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
        DRelu { len: self.len, points: 1, width: self.width, form: self.form }
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

    /// The first message.
    pub fn start<'a, R: Ring, D: Device>(
        &'a self,
        ctx: &Context<'_, D>,
        sections: &'a dyn Sections,
        x: &'a D::Words<R>,
    ) -> Result<Step<Option<D::Words<R>>, State<'a, R, D>>, GateError> {
        let material = Material::new(sections, ctx.items())?;
        let (message, bits) = self.drelu().start(ctx, &material, x)?;
        Ok(Step::Exchange(message, State(Stage::Comparing { relu: self, x, material, bits })))
    }
}

/// A ReLU that waits for a message.
pub struct State<'a, R: Ring, D: Device>(Stage<'a, R, D>);

enum Stage<'a, R: Ring, D: Device> {
    Comparing { relu: &'a Relu, x: &'a D::Words<R>, material: Material<'a>, bits: drelu::State<D> },
    Opening(Opening<R, D>),
}

impl<R: Ring, D: Device> State<'_, R, D> {
    /// The wire at a party that receives it, or the next message.
    pub fn next(self, ctx: &Context<'_, D>, theirs: &[u8]) -> Result<Step<Option<D::Words<R>>, Self>, GateError> {
        let (relu, x, material, bits) = match self.0 {
            Stage::Comparing { relu, x, material, bits } => (relu, x, material, bits),
            Stage::Opening(opening) => return Ok(Step::Done(opening.finish(ctx, theirs)?)),
        };
        let d = match bits.next(ctx, &material, x, theirs)? {
            Step::Exchange(message, bits) => {
                return Ok(Step::Exchange(message, State(Stage::Comparing { relu, x, material, bits })));
            }
            Step::Done(d) => d,
        };
        let offset = relu.drelu().key_bytes()[Party::P1 as usize];
        let share = relu.select::<R>().share(ctx, &material, offset, &d, x)?;
        let (opening, message) = Opening::new(ctx, share, R::BITS, relu.to);
        Ok(Step::Exchange(message, State(Stage::Opening(opening))))
    }
}

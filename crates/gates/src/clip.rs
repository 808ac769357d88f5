//! Clip: a wire kept between two public bounds (ReLU6), lifted to the whole ring as in `relu`.
//!
//! Computes   y = min(max(x, lo), hi) = lo + ReLU(x - lo) - ReLU(x - hi) as a fresh wire modulo 2^k, from a wire of w bits
//!            that both know. One comparison key (or one set of chunks' vectors) is read at x̂ - lo and at x̂ - hi: both have
//!            the mask α. Two selects, whose sum is opened once.
//! Learns     both: two bits d̂ under separate pads, in one message; the receiver of the wire: k uniform bits.
//! Material   DReLU's for one key (two combining vectors by chunks), plus two selects' 2·5k/8 bytes to P1 (2·3k/8 when w = k).
//! Online     2 exchanges (by chunks 3): 2 bits each way, then k bits each way (one way when directed).
//! Error      as in `relu`, next to lo and next to hi.
//! Bound      as in `relu`, for x - lo and x - hi.
//! Source     docs/protocol.md, ReLU and its select.

use ariann_device::{Device, Window};
use ariann_fss::Party;
use ariann_ring::Ring;
use ariann_ring::arrange::{Arrange, Axis, Block};

use crate::drelu::{self, DRelu};
use crate::open::{self, Opening};
use crate::select::Select;
use crate::{Comparison, Context, Cost, Dealing, Material, Progress, Receiver, Sections, Sign, Step, kind};

/// min(max(x, lo), hi) of `len` wires of `width` bits, lo < hi.
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

impl Clip {
    fn drelu(&self) -> DRelu {
        DRelu { len: self.len, points: 2, width: self.sign.window(self.width).width(), form: self.form }
    }

    fn select<R: Ring>(&self) -> Select {
        Select { len: 2 * self.len, width: R::BITS, lift: self.sign.lift::<R>(self.width), table: kind::TABLE }
    }

    fn whole(&self) -> Window {
        Window { shift: 0, top: self.width }
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
        let device = dealing.device;
        let r_d = self.sign.deal(&self.drelu(), self.width, dealing, alpha, sections);
        let twice = device.offsets(alpha, 1, &[R::ZERO; 2], self.whole());
        let r = dealing.mask(kind::MASK, self.len);
        // The first select carries the mask of the result, the second none.
        let axes = vec![Axis { len: self.len, from: 1, to: 1 }];
        let first = Arrange { len: 2 * self.len, blocks: vec![Block { source: 0, from: 0, to: 0, axes }] };
        let masks = device.arrange(1, &first, &[&r]);
        self.select::<R>().deal(dealing, &r_d, &twice, &masks, sections);
        r
    }

    /// The first message.
    pub fn start<'a, R: Ring, D: Device>(
        &'a self,
        ctx: &Context<'_, D>,
        sections: &'a dyn Sections,
        x: &D::Words<R>,
    ) -> Progress<Option<D::Words<R>>, State<'a, R, D>> {
        let material = Material::new(sections, ctx.items())?;
        let bounds = [self.lo, self.hi].map(|bound| R::from_i64(bound).neg());
        let points = ctx.device.offsets(x, ctx.items(), &bounds, self.whole());
        let coarse = match self.sign {
            Sign::Exact => None,
            Sign::Coarse(_) => {
                let bounds = bounds.map(|bound| bound.sub(self.sign.half()));
                Some(ctx.device.offsets(x, ctx.items(), &bounds, self.sign.window(self.width)))
            }
        };
        let (message, bits) = self.drelu().start(ctx, &material, coarse.as_ref().unwrap_or(&points))?;
        Ok(Step::Exchange(message, State(Stage::Comparing(Comparing { clip: self, points, coarse, material, bits }))))
    }
}

/// A clip that waits for a message.
pub struct State<'a, R: Ring, D: Device>(Stage<'a, R, D>);

enum Stage<'a, R: Ring, D: Device> {
    Comparing(Comparing<'a, R, D>),
    Opening(Opening<R, D>),
}

struct Comparing<'a, R: Ring, D: Device> {
    clip: &'a Clip,
    /// x̂ - lo and x̂ - hi.
    points: D::Words<R>,
    /// The wires that the signs are taken of, when they are not these.
    coarse: Option<D::Words<R>>,
    material: Material<'a>,
    bits: drelu::State<D>,
}

impl<R: Ring, D: Device> State<'_, R, D> {
    /// The wire at a party that receives it, or the next message.
    pub fn next(self, ctx: &Context<'_, D>, theirs: &[u8]) -> Progress<Option<D::Words<R>>, Self> {
        let Comparing { clip, points, coarse, material, bits } = match self.0 {
            Stage::Comparing(comparing) => comparing,
            Stage::Opening(opening) => return Ok(Step::Done(opening.finish(ctx, theirs)?)),
        };
        let d = match bits.next(ctx, &material, coarse.as_ref().unwrap_or(&points), theirs)? {
            Step::Exchange(message, bits) => {
                let comparing = Comparing { clip, points, coarse, material, bits };
                return Ok(Step::Exchange(message, State(Stage::Comparing(comparing))));
            }
            Step::Done(d) => d,
        };
        let offset = clip.drelu().key_bytes()[Party::P1 as usize];
        let both = clip.select::<R>().share(ctx, &material, offset, &d, &points)?;
        let mut share = ctx.device.sub_halves(&both, ctx.items());
        if ctx.party == Party::P0 && clip.lo != 0 {
            let lo = R::from_i64(clip.lo);
            share = ctx.device.offsets(&share, ctx.items(), &[lo], Window { shift: 0, top: R::BITS });
        }
        let (opening, message) = Opening::new(ctx, share, R::BITS, clip.to);
        Ok(Step::Exchange(message, State(Stage::Opening(opening))))
    }
}

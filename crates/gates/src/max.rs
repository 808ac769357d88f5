//! One level of a maximum: pairs of wires of w bits to wires of w bits.
//!
//! Computes   max(a, b) = b + d·(a - b), d = 1{a >= b}, for every pair of the level; unpaired wires pass unchanged.
//!            û = â - b̂ is a function of what is open, its mask is α_a - α_b: nothing is opened for the comparison.
//! Learns     both: d̂ (1 uniform bit) and the re-masked d·(a - b) (w uniform bits) a pair.
//! Material   DReLU's 16(ν+1) bytes to each, plus 3w/8 bytes to P1, a pair.
//! Online     2 exchanges: 1 bit, then w bits, each way, a pair.
//! Error      none: rounding happened once, at the opening.
//! Bound      a and b in [-2^(w-2), 2^(w-2)), so that the difference has a sign in w bits.
//! Source     AriaNN (PoPETs 2022) §4.3 for the tree; masked as in docs/protocol.md.

use ariann_device::{Device, Lift};
use ariann_fss::Party;
use ariann_ring::Ring;

use crate::drelu::{self, DRelu};
use crate::open::{self, Opening};
use crate::select::Select;
use crate::windows::Level;
use crate::{Comparison, Context, Cost, Dealing, Material, Progress, Receiver, Sections, Step, Windows, kind};

/// A level of the maximum of `windows`, over wires of `width` bits that both know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Max {
    /// Which elements meet.
    pub windows: Windows,
    /// The level, from 0.
    pub level: u32,
    /// w.
    pub width: u32,
    /// How signs are compared.
    pub form: Comparison,
}

impl Max {
    fn drelu(&self) -> DRelu {
        DRelu { len: self.windows.pairs(self.level), points: 1, width: self.width, form: self.form }
    }

    fn select(&self) -> Select {
        Select { len: self.windows.pairs(self.level), width: self.width, lift: Lift::None, table: kind::TABLE }
    }

    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        let mut cost = self.drelu().cost();
        cost.material[1] += self.select().table_bytes();
        cost.exchanges.push(open::traffic(self.drelu().len, self.width, Receiver::Both));
        cost
    }

    /// The pairs, which are the same in every run: `level` below.
    pub fn level(&self) -> Level {
        self.windows.level(self.level)
    }

    /// Makes one slot's material and returns the masks after this level.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        level: &Level,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> D::Words<R> {
        self.deal_keeping(dealing, level, alpha, sections).0
    }

    /// The same, with the masks r_d of the bits.
    pub fn deal_keeping<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        level: &Level,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> (D::Words<R>, D::Bits) {
        let (c, b) = difference(dealing.device, alpha, 1, level, self.width);
        let r_d = self.drelu().deal(dealing, &c, sections);
        let r = dealing.mask(kind::MASK, level.a.len());
        self.select().deal(dealing, &r_d, &c, &r, sections);
        (merge(dealing.device, alpha, b, &r, 1, level, self.width), r_d)
    }

    /// The first message.
    pub fn start<'a, R: Ring, D: Device>(
        &'a self,
        ctx: &Context<'_, D>,
        sections: &'a dyn Sections,
        level: &'a Level,
        x: &'a D::Words<R>,
    ) -> Progress<D::Words<R>, State<'a, R, D>> {
        let material = Material::new(sections, ctx.items())?;
        let (difference, b) = difference(ctx.device, x, ctx.items(), level, self.width);
        let (message, bits) = self.drelu().start(ctx, &material, &difference)?;
        let stage = Stage::Comparing { difference, material, bits };
        Ok(Step::Exchange(message, State { max: self, x, b, level, stage }))
    }
}

/// A level that waits for a message.
pub struct State<'a, R: Ring, D: Device> {
    max: &'a Max,
    x: &'a D::Words<R>,
    b: D::Words<R>,
    level: &'a Level,
    stage: Stage<'a, R, D>,
}

enum Stage<'a, R: Ring, D: Device> {
    Comparing { difference: D::Words<R>, material: Material<'a>, bits: drelu::State<D> },
    Opening(Opening<R, D>),
}

impl<'a, R: Ring, D: Device> State<'a, R, D> {
    /// The wires after this level, or the next message.
    pub fn next(self, ctx: &Context<'_, D>, theirs: &[u8]) -> Progress<D::Words<R>, Self> {
        self.next_keeping(ctx, theirs, &mut None)
    }

    /// The same; leaves d̂ in `kept` when it is known.
    pub fn next_keeping(
        self,
        ctx: &Context<'_, D>,
        theirs: &[u8],
        kept: &mut Option<D::Bits>,
    ) -> Progress<D::Words<R>, Self> {
        let State { max, x, b, level, stage } = self;
        let wait = |b, stage: Stage<'a, R, D>| State { max, x, b, level, stage };
        let (difference, material, bits) = match stage {
            Stage::Comparing { difference, material, bits } => (difference, material, bits),
            Stage::Opening(opening) => {
                let y = opening.finish(ctx, theirs)?.expect("both receive");
                return Ok(Step::Done(merge(ctx.device, x, b, &y, ctx.items(), level, max.width)));
            }
        };
        let d = match bits.next(ctx, &material, &difference, theirs)? {
            Step::Exchange(message, bits) => {
                return Ok(Step::Exchange(message, wait(b, Stage::Comparing { difference, material, bits })));
            }
            Step::Done(d) => d,
        };
        let offset = max.drelu().key_bytes()[Party::P1 as usize];
        let share = max.select().share(ctx, &material, offset, &d, &difference)?;
        *kept = Some(d);
        let (opening, message) = Opening::new(ctx, share, max.width, Receiver::Both);
        Ok(Step::Exchange(message, wait(b, Stage::Opening(opening))))
    }
}

/// a - b and b of every pair; alike for masked values and for masks.
pub(crate) fn difference<R: Ring, D: Device>(
    device: &D,
    x: &D::Words<R>,
    items: usize,
    level: &Level,
    width: u32,
) -> (D::Words<R>, D::Words<R>) {
    device.differences(x, items, level.in_len, [&level.a, &level.b], width)
}

/// b + y at the pairs, x where there is no partner; alike for masked values and for masks.
pub(crate) fn merge<R: Ring, D: Device>(
    device: &D,
    x: &D::Words<R>,
    mut b: D::Words<R>,
    y: &D::Words<R>,
    items: usize,
    level: &Level,
    width: u32,
) -> D::Words<R> {
    device.add_reduce(&mut b, y, width);
    if level.single.is_empty() {
        return b;
    }
    let single = device.gather(x, items, level.in_len, &level.single);
    device.scatter(items, level.out_len, &[(&b, &level.paired), (&single, &level.carried)])
}

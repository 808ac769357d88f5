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
use ariann_ring::Ring;

use crate::drelu::{DRelu, MaskedBit};
use crate::open::{self, Opening};
use crate::select::Select;
use crate::windows::Level;
use crate::{Context, Cost, Dealing, GateError, Receiver, Sections, Windows, kind};

/// A level of the maximum of `windows`, over wires of `width` bits that both know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Max {
    /// Which elements meet.
    pub windows: Windows,
    /// The level, from 0.
    pub level: u32,
    /// w.
    pub width: u32,
}

impl Max {
    fn drelu(&self) -> DRelu {
        DRelu { len: self.windows.pairs(self.level), width: self.width }
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

    /// Makes one slot's material and returns the masks after this level.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        alpha: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) -> D::Words<R> {
        let level = self.windows.level(self.level);
        let (c, b) = difference(dealing.device, alpha, 1, &level, self.width);
        let r_d = self.drelu().deal(dealing, &c, sections);
        let r = dealing.mask(kind::MASK, level.a.len());
        self.select().deal(dealing, &r_d, &c, &r, sections);
        merge(dealing.device, alpha, b, &r, 1, &level, self.width)
    }

    /// The masked bit's exchange.
    pub fn start<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        sections: &dyn Sections,
        x: D::Words<R>,
    ) -> Result<(Compared<R, D>, Vec<u8>), GateError> {
        let level = self.windows.level(self.level);
        let (difference, b) = difference(ctx.device, &x, ctx.items(), &level, self.width);
        let (bit, message) = self.drelu().start(ctx, sections, &difference)?;
        Ok((Compared { x, b, difference, level, bit }, message))
    }

    /// The re-masking exchange.
    pub fn select_open<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        compared: Compared<R, D>,
        theirs: &[u8],
    ) -> Result<(Selected<R, D>, Vec<u8>), GateError> {
        let Compared { x, b, difference, level, bit } = compared;
        let (d, tables) = bit.finish(ctx, theirs)?;
        let share = self.select().share(ctx, tables.keys(), 0, &d, &difference)?;
        let (opening, message) = Opening::new(ctx, share, self.width, Receiver::Both);
        Ok((Selected { x, b, level, opening }, message))
    }

    /// The wires after this level.
    pub fn finish<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        selected: Selected<R, D>,
        theirs: &[u8],
    ) -> Result<D::Words<R>, GateError> {
        let Selected { x, b, level, opening } = selected;
        let y = opening.finish(ctx, theirs)?.expect("both receive");
        Ok(merge(ctx.device, &x, b, &y, ctx.items(), &level, self.width))
    }
}

/// A level whose comparison is under way.
pub struct Compared<R: Ring, D: Device> {
    x: D::Words<R>,
    b: D::Words<R>,
    difference: D::Words<R>,
    level: Level,
    bit: MaskedBit<D>,
}

/// A level whose result is being opened.
pub struct Selected<R: Ring, D: Device> {
    x: D::Words<R>,
    b: D::Words<R>,
    level: Level,
    opening: Opening<R, D>,
}

/// a - b and b of every pair; alike for masked values and for masks.
pub(crate) fn difference<R: Ring, D: Device>(
    device: &D,
    x: &D::Words<R>,
    items: usize,
    level: &Level,
    width: u32,
) -> (D::Words<R>, D::Words<R>) {
    let mut a = device.gather(x, items, level.in_len, &level.a);
    let b = device.gather(x, items, level.in_len, &level.b);
    device.sub(&mut a, &b);
    device.reduce(&mut a, width);
    (a, b)
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
    device.add(&mut b, y);
    device.reduce(&mut b, width);
    if level.single.is_empty() {
        return b;
    }
    let single = device.gather(x, items, level.in_len, &level.single);
    device.scatter(items, level.out_len, &[(&b, &level.paired), (&single, &level.carried)])
}

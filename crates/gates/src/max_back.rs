//! Backwards through one level of a maximum: the gradient goes to the greater of each pair, by one select on the kept bit.
//!
//! Computes   for every pair (a, b) with bit d and gradient g of its maximum: d·g at a, g - d·g at b, added up where windows
//!            overlap; unpaired places hand their gradient on. A wire modulo 2^k, from one that both know.
//!            What is opened is y = d·g + r: a gets y, under r, and b gets ĝ - y, under r_g - r.
//! Learns     both: k uniform bits a pair. d̂ is known from the forward gate.
//! Material   3k/8 bytes a pair to P1: r_d is dealt again.
//! Online     1 exchange: k bits each way, a pair.
//! Error      none.
//! Source     docs/protocol.md, "Training".

use ariann_device::{Device, Lift};
use ariann_ring::Ring;

use crate::open::{self, Opening};
use crate::select::Select;
use crate::windows::Level;
use crate::{Context, Cost, Dealing, GateError, Material, Receiver, Sections, Windows, kind};

/// Backwards through level `level` of the maximum of `windows`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxBack {
    /// Which elements met.
    pub windows: Windows,
    /// The level, from 0.
    pub level: u32,
}

impl MaxBack {
    fn select<R: Ring>(&self) -> Select {
        let len = self.windows.pairs(self.level);
        Select { len, width: R::BITS, lift: Lift::None, table: kind::TABLE }
    }

    /// See the head of this file.
    pub fn cost<R: Ring>(&self) -> Cost {
        let select = self.select::<R>();
        let exchanges = vec![open::traffic(select.len, R::BITS, Receiver::Both)];
        Cost { material: [0, select.table_bytes()], exchanges, ..Cost::default() }
    }

    /// Makes one slot's material. `level` is that of the forward gate and `r_d` masks its bits, `mask` is the mask of the
    /// gradient's wire.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        level: &Level,
        r_d: &D::Bits,
        mask: &D::Words<R>,
        sections: &mut [Vec<u8>; 2],
    ) {
        let r = dealing.mask(kind::MASK, level.a.len());
        with_pairs(dealing.device, level, 1, mask, |c| {
            self.select::<R>().deal(dealing, r_d, c, &r, sections);
        });
    }

    /// This party's part of what is opened and its message; `d` are the masked bits of the forward gate, `g` the gradient's
    /// wire.
    pub fn start<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        sections: &dyn Sections,
        level: &Level,
        d: &D::Bits,
        g: &D::Words<R>,
    ) -> Result<(Opening<R, D>, Vec<u8>), GateError> {
        let material = Material::new(sections, ctx.items())?;
        let select = |v: &D::Words<R>| self.select::<R>().share(ctx, &material, 0, d, v);
        let share = with_pairs(ctx.device, level, ctx.items(), g, select)?;
        Ok(Opening::new(ctx, share, R::BITS, Receiver::Both))
    }

    /// The wire before the level.
    pub fn finish<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        level: &Level,
        g: &D::Words<R>,
        opening: Opening<R, D>,
        theirs: &[u8],
    ) -> Result<D::Words<R>, GateError> {
        let y = opening.finish(ctx, theirs)?.expect("both receive");
        Ok(part(ctx.device, level, ctx.items(), g, &y))
    }
}

/// What the places before a level get of the gradient `g` after it and of `y` at its pairs: alike for masked values and for
/// masks, with r for y.
pub fn part<R: Ring, D: Device>(
    device: &D,
    level: &Level,
    items: usize,
    g: &D::Words<R>,
    y: &D::Words<R>,
) -> D::Words<R> {
    let (pairs, singles) = ([&level.a[..], &level.b, &level.paired], [&level.single[..], &level.carried]);
    device.part(items, level.in_len, pairs, singles, g, y)
}

/// Brings the elements of `g` at the level's pairs to `work`.
fn with_pairs<R: Ring, D: Device, T>(
    device: &D,
    level: &Level,
    items: usize,
    g: &D::Words<R>,
    work: impl FnOnce(&D::Words<R>) -> T,
) -> T {
    // Without single elements the pairs are all there are, in order.
    if level.single.is_empty() { work(g) } else { work(&device.gather(g, items, level.out_len, &level.paired)) }
}

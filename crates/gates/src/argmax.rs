//! One level of an argmax: pairs of wires, each with the wire of its index.
//!
//! Computes   as `max`, and with the same d̂ the index i = i_b + d·(i_a - i_b), re-masked. Ties go to the first.
//!            A second select at its own table: r_d is dealt again. n - 1 comparisons in all, not n².
//! Learns     both: d̂ and 2w uniform bits a pair (w at the last level, where only the index is needed).
//! Material   DReLU's 16(ν+1) bytes to each, plus 2·3w/8 bytes to P1, a pair (half at the last level).
//! Online     2 exchanges: 1 bit, then 2w bits (w at the last level), each way, a pair.
//! Error      none on the wires' values.
//! Source     AriaNN (PoPETs 2022) §4.4 compares all pairs; the tree with a carried index: docs/protocol.md.

use ariann_device::{Device, Lift};
use ariann_fss::Party;
use ariann_ring::Ring;

use crate::drelu::{self, DRelu};
use crate::max::{difference, merge};
use crate::open::{self, Opening};
use crate::select::Select;
use crate::windows::Level;
use crate::{
    Comparison, Context, Cost, Dealing, GateError, Material, Progress, Receiver, Sections, Step, Windows, kind,
};

/// A level of the argmax of `len` wires of `width` bits that both know; len < 2^(width-1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ArgMax {
    /// Values an item.
    pub len: usize,
    /// The level, from 0.
    pub level: u32,
    /// w, of the values and of the indices.
    pub width: u32,
    /// How signs are compared.
    pub form: Comparison,
}

/// Values and indices between two levels, at the dealer as masks.
pub struct Ranked<W> {
    /// Values; meaningless after the last level.
    pub value: W,
    /// Indices.
    pub index: W,
}

/// A party's state between two levels: the public wires and its own part of the index's mask.
pub struct Candidates<W> {
    /// Masked values and masked indices.
    pub open: Ranked<W>,
    /// This party's part of the index's mask.
    pub own_index_mask: W,
}

impl ArgMax {
    fn windows(&self) -> Windows {
        Windows::Row(self.len)
    }

    fn last(&self) -> bool {
        self.level + 1 == self.windows().levels()
    }

    fn drelu(&self) -> DRelu {
        DRelu { len: self.windows().pairs(self.level), points: 1, width: self.width, form: self.form }
    }

    fn select(&self, table: u8) -> Select {
        Select { len: self.drelu().len, width: self.width, lift: Lift::None, table }
    }

    /// Values opened a pair.
    fn opened(&self) -> usize {
        if self.last() { 1 } else { 2 }
    }

    /// See the head of this file.
    pub fn cost(&self) -> Cost {
        let mut cost = self.drelu().cost();
        cost.material[1] += self.opened() * self.select(kind::TABLE).table_bytes();
        cost.exchanges.push(open::traffic(self.opened() * self.drelu().len, self.width, Receiver::Both));
        cost
    }

    /// Indices before the first level, `items` times: public numbers under the mask 0.
    pub fn indices<R: Ring>(&self, items: usize) -> Vec<R> {
        (0..items * self.len).map(|i| R::from_u64((i % self.len) as u64)).collect()
    }

    /// Makes one slot's material and returns the masks after this level.
    pub fn deal<R: Ring, D: Device>(
        &self,
        dealing: &Dealing<'_, D>,
        alpha: &Ranked<D::Words<R>>,
        sections: &mut [Vec<u8>; 2],
    ) -> Ranked<D::Words<R>> {
        let (device, level) = (dealing.device, self.windows().level(self.level));
        let (c, b) = difference(device, &alpha.value, 1, &level, self.width);
        let r_d = self.drelu().deal(dealing, &c, sections);
        let r = dealing.mask(kind::MASK, level.a.len());
        if !self.last() {
            self.select(kind::TABLE).deal(dealing, &r_d, &c, &r, sections);
        }
        let (c, index_b) = difference(device, &alpha.index, 1, &level, self.width);
        let index_r = dealing.mask(kind::INDEX_MASK, level.a.len());
        self.select(kind::INDEX_TABLE).deal(dealing, &r_d, &c, &index_r, sections);
        Ranked {
            value: merge(device, &alpha.value, b, &r, 1, &level, self.width),
            index: merge(device, &alpha.index, index_b, &index_r, 1, &level, self.width),
        }
    }

    /// The first message.
    pub fn start<'a, R: Ring, D: Device>(
        &'a self,
        ctx: &Context<'_, D>,
        sections: &'a dyn Sections,
        before: Candidates<D::Words<R>>,
    ) -> Progress<Candidates<D::Words<R>>, State<'a, R, D>> {
        let material = Material::new(sections, ctx.items())?;
        let level = self.windows().level(self.level);
        let value = difference(ctx.device, &before.open.value, ctx.items(), &level, self.width);
        let index = difference(ctx.device, &before.open.index, ctx.items(), &level, self.width);
        let (message, bits) = self.drelu().start(ctx, &material, &value.0)?;
        let level = Pairs { gate: self, before, level, value_b: value.1, index_b: index.1 };
        let stage = Stage::Comparing { value: value.0, index: index.0, material, bits };
        Ok(Step::Exchange(message, State { level, stage }))
    }

    /// Where values and indices stand among the opened elements of an item.
    fn places(&self) -> Vec<Vec<u32>> {
        let pairs = self.drelu().len as u32;
        (0..self.opened() as u32).map(|part| (part * pairs..(part + 1) * pairs).collect()).collect()
    }
}

/// A level that waits for a message.
pub struct State<'a, R: Ring, D: Device> {
    level: Pairs<'a, R, D>,
    stage: Stage<'a, R, D>,
}

struct Pairs<'a, R: Ring, D: Device> {
    gate: &'a ArgMax,
    before: Candidates<D::Words<R>>,
    level: Level,
    value_b: D::Words<R>,
    index_b: D::Words<R>,
}

/// With the differences of values and of indices.
enum Stage<'a, R: Ring, D: Device> {
    Comparing { value: D::Words<R>, index: D::Words<R>, material: Material<'a>, bits: drelu::State<D> },
    Opening(Opening<R, D>),
}

impl<'a, R: Ring, D: Device> State<'a, R, D> {
    /// The wires after this level, or the next message.
    pub fn next(self, ctx: &Context<'_, D>, theirs: &[u8]) -> Progress<Candidates<D::Words<R>>, Self> {
        let State { level, stage } = self;
        let (value, index, material, bits) = match stage {
            Stage::Comparing { value, index, material, bits } => (value, index, material, bits),
            Stage::Opening(opening) => {
                let opened = opening.finish(ctx, theirs)?.expect("both receive");
                return Ok(Step::Done(level.after(ctx, &opened)));
            }
        };
        let d = match bits.next(ctx, &material, &value, theirs)? {
            Step::Exchange(message, bits) => {
                let stage = Stage::Comparing { value, index, material, bits };
                return Ok(Step::Exchange(message, State { level, stage }));
            }
            Step::Done(d) => d,
        };
        let share = level.share(ctx, &material, &d, &value, &index)?;
        let (opening, message) = Opening::new(ctx, share, level.gate.width, Receiver::Both);
        Ok(Step::Exchange(message, State { level, stage: Stage::Opening(opening) }))
    }
}

impl<R: Ring, D: Device> Pairs<'_, R, D> {
    /// What is opened: the selected values, unless this is the last level, and the selected indices.
    fn share(
        &self,
        ctx: &Context<'_, D>,
        material: &Material<'_>,
        d: &D::Bits,
        value: &D::Words<R>,
        index: &D::Words<R>,
    ) -> Result<D::Words<R>, GateError> {
        let gate = self.gate;
        let mut offset = gate.drelu().key_bytes()[Party::P1 as usize];
        let mut shares = Vec::with_capacity(2);
        if !gate.last() {
            shares.push(gate.select(kind::TABLE).share(ctx, material, offset, d, value)?);
            offset += gate.select(kind::TABLE).table_bytes();
        }
        shares.push(gate.select(kind::INDEX_TABLE).share(ctx, material, offset, d, index)?);
        let places = gate.places();
        let parts: Vec<_> = shares.iter().zip(&places).map(|(share, place)| (share, place.as_slice())).collect();
        Ok(ctx.device.scatter(ctx.items(), gate.opened() * self.level.a.len(), &parts))
    }

    /// The wires after this level, from what was opened.
    fn after(self, ctx: &Context<'_, D>, opened: &D::Words<R>) -> Candidates<D::Words<R>> {
        let Pairs { gate, before, level, value_b, index_b } = self;
        let (device, items) = (ctx.device, ctx.items());
        let places = gate.places();
        let part = |place: &[u32]| device.gather(opened, items, gate.opened() * level.a.len(), place);
        let index = part(places.last().expect("at least one"));
        let value = if gate.last() {
            value_b
        } else {
            merge(device, &before.open.value, value_b, &part(&places[0]), items, &level, gate.width)
        };
        let index = merge(device, &before.open.index, index_b, &index, items, &level, gate.width);
        let fresh = ctx.expand(kind::INDEX_MASK, level.a.len(), R::BITS);
        let own_b = device.gather(&before.own_index_mask, items, level.in_len, &level.b);
        let own_index_mask = merge(device, &before.own_index_mask, own_b, &fresh, items, &level, gate.width);
        Candidates { open: Ranked { value, index }, own_index_mask }
    }
}

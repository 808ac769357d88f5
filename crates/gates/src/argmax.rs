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
use ariann_ring::Ring;

use crate::drelu::{DRelu, MaskedBit};
use crate::max::{difference, merge};
use crate::open::{self, Opening};
use crate::select::Select;
use crate::windows::Level;
use crate::{Context, Cost, Dealing, GateError, Receiver, Sections, Windows, kind};

/// A level of the argmax of `len` wires of `width` bits that both know; len < 2^(width-1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ArgMax {
    /// Values an item.
    pub len: usize,
    /// The level, from 0.
    pub level: u32,
    /// w, of the values and of the indices.
    pub width: u32,
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
        DRelu { len: self.windows().pairs(self.level), width: self.width }
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

    /// The masked bit's exchange.
    pub fn start<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        sections: &dyn Sections,
        state: Candidates<D::Words<R>>,
    ) -> Result<(Compared<R, D>, Vec<u8>), GateError> {
        let level = self.windows().level(self.level);
        let value = difference(ctx.device, &state.open.value, ctx.items(), &level, self.width);
        let index = difference(ctx.device, &state.open.index, ctx.items(), &level, self.width);
        let (bit, message) = self.drelu().start(ctx, sections, &value.0)?;
        Ok((Compared { state, value, index, level, bit }, message))
    }

    /// The re-masking exchange.
    pub fn select_open<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        compared: Compared<R, D>,
        theirs: &[u8],
    ) -> Result<(Selected<R, D>, Vec<u8>), GateError> {
        let Compared { state, value, index, level, bit } = compared;
        let (d, tables) = bit.finish(ctx, theirs)?;
        let (keys, mut offset) = (tables.keys(), 0);
        let mut shares = Vec::with_capacity(2);
        if !self.last() {
            shares.push(self.select(kind::TABLE).share(ctx, keys, offset, &d, &value.0)?);
            offset += self.select(kind::TABLE).table_bytes();
        }
        shares.push(self.select(kind::INDEX_TABLE).share(ctx, keys, offset, &d, &index.0)?);
        let places = self.places();
        let parts: Vec<_> = shares.iter().zip(&places).map(|(share, place)| (share, place.as_slice())).collect();
        let both = ctx.device.scatter(ctx.items(), self.opened() * level.a.len(), &parts);
        let (opening, message) = Opening::new(ctx, both, self.width, Receiver::Both);
        Ok((Selected { state, value_b: value.1, index_b: index.1, level, opening }, message))
    }

    /// The wires after this level.
    pub fn finish<R: Ring, D: Device>(
        &self,
        ctx: &Context<'_, D>,
        selected: Selected<R, D>,
        theirs: &[u8],
    ) -> Result<Candidates<D::Words<R>>, GateError> {
        let Selected { state, value_b, index_b, level, opening } = selected;
        let (device, items) = (ctx.device, ctx.items());
        let opened = opening.finish(ctx, theirs)?.expect("both receive");
        let places = self.places();
        let part = |place: &[u32]| device.gather(&opened, items, self.opened() * level.a.len(), place);
        let index = part(places.last().expect("at least one"));
        let value = if self.last() {
            value_b
        } else {
            merge(device, &state.open.value, value_b, &part(&places[0]), items, &level, self.width)
        };
        let index = merge(device, &state.open.index, index_b, &index, items, &level, self.width);
        let fresh = ctx.expand(kind::INDEX_MASK, level.a.len(), R::BITS);
        let own_b = device.gather(&state.own_index_mask, items, level.in_len, &level.b);
        let own_index_mask = merge(device, &state.own_index_mask, own_b, &fresh, items, &level, self.width);
        Ok(Candidates { open: Ranked { value, index }, own_index_mask })
    }

    /// Where values and indices stand among the opened elements of an item.
    fn places(&self) -> Vec<Vec<u32>> {
        let pairs = self.drelu().len as u32;
        (0..self.opened() as u32).map(|part| (part * pairs..(part + 1) * pairs).collect()).collect()
    }
}

/// A level whose comparison is under way.
pub struct Compared<R: Ring, D: Device> {
    state: Candidates<D::Words<R>>,
    value: (D::Words<R>, D::Words<R>),
    index: (D::Words<R>, D::Words<R>),
    level: Level,
    bit: MaskedBit<D>,
}

/// A level whose result is being opened.
pub struct Selected<R: Ring, D: Device> {
    state: Candidates<D::Words<R>>,
    value_b: D::Words<R>,
    index_b: D::Words<R>,
    level: Level,
    opening: Opening<R, D>,
}

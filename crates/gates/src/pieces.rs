//! Material in bounded pieces: a gate's sections may be larger than memory.

use std::ops::Range;

use ariann_device::{Device, GROUP, Piece, Source};
use ariann_fss::Party;

use crate::{Context, GateError, Sections};

/// Bytes of a piece, if its elements allow it.
const PIECE: usize = 1 << 18;

/// A gate's material in a run. What is small is read once and kept, the rest is read when it is needed.
pub struct Material<'a> {
    sections: &'a dyn Sections,
    whole: Option<Vec<u8>>,
}

/// A part of every item's section: something for each element, whole bytes for every [`GROUP`] of them.
pub(crate) struct Part<F: Fn(usize) -> usize> {
    /// Where it begins in the section.
    pub offset: usize,
    /// Elements an item.
    pub len: usize,
    /// Bytes of an item's first elements, so many of them.
    pub bytes: F,
}

impl<'a> Material<'a> {
    /// The material of a run of `items` items.
    pub fn new(sections: &'a dyn Sections, items: usize) -> Result<Self, GateError> {
        let len = sections.section_len() * items;
        let mut whole = None;
        if len <= PIECE {
            let mut bytes = vec![0; len];
            if len > 0 {
                sections.read(0..items, &mut bytes).map_err(GateError::Sections)?;
            }
            whole = Some(bytes);
        }
        Ok(Material { sections, whole })
    }

    /// The bytes from `offset` on of all items' sections, for what is small.
    pub(crate) fn tails(&self, offset: usize, items: usize) -> Result<Vec<u8>, GateError> {
        let len = self.sections.section_len() - offset;
        let mut tails = vec![0; len * items];
        for (item, tail) in tails.chunks_mut(len.max(1)).enumerate() {
            self.read(item, offset..offset + len, tail)?;
        }
        Ok(tails)
    }

    fn read(&self, item: usize, range: Range<usize>, out: &mut [u8]) -> Result<(), GateError> {
        match &self.whole {
            Some(whole) => {
                let start = item * self.sections.section_len();
                out.copy_from_slice(&whole[start + range.start..start + range.end]);
                Ok(())
            }
            None => self.sections.read_part(item, range, out).map_err(GateError::Sections),
        }
    }
}

impl<F: Fn(usize) -> usize> Part<F> {
    /// Brings the pieces of a part to `work`, several at once, in order, with their bytes one after the other.
    pub fn each<D: Device>(
        &self,
        device: &D,
        material: &Material<'_>,
        items: usize,
        mut work: impl FnMut(&[Piece], &[u8]) -> Result<(), GateError>,
    ) -> Result<(), GateError> {
        let (mut pieces, mut buffer, mut filled) = (Vec::new(), Vec::new(), 0);
        let enough = device.bytes_at_once();
        for piece in self.pieces(items) {
            let Range { start, end } = piece.elements;
            let bytes = (self.bytes)(start)..(self.bytes)(end);
            if filled + bytes.len() > enough && filled > 0 {
                work(&pieces, &buffer[..filled])?;
                pieces.clear();
                filled = 0;
            }
            let after = filled + bytes.len();
            if buffer.len() < after {
                buffer.resize(after, 0);
            }
            material.read(
                piece.item,
                self.offset + bytes.start..self.offset + bytes.end,
                &mut buffer[filled..after],
            )?;
            pieces.push(piece);
            filled = after;
        }
        if pieces.is_empty() { Ok(()) } else { work(&pieces, &buffer[..filled]) }
    }

    /// Brings the pieces of a part that is in P0's seed, as words of `kind`, and is dealt to P1.
    pub fn each_source<D: Device>(
        &self,
        ctx: &Context<'_, D>,
        material: &Material<'_>,
        kind: u8,
        mut work: impl FnMut(&[Piece], Source<'_>) -> Result<(), GateError>,
    ) -> Result<(), GateError> {
        match ctx.party {
            Party::P0 => {
                let pieces: Vec<Piece> = self.pieces(ctx.items()).collect();
                work(&pieces, Source::Seed(ctx.prg, &ctx.stream(kind, self.len)))
            }
            Party::P1 => {
                self.each(ctx.device, material, ctx.items(), |pieces, bytes| work(pieces, Source::Dealt(bytes)))
            }
        }
    }

    /// All elements of all items.
    fn pieces(&self, items: usize) -> impl Iterator<Item = Piece> {
        let groups = self.len.div_ceil(GROUP);
        let bytes = (self.bytes)(self.len);
        let pieces = bytes.div_ceil(PIECE).clamp(1, groups.max(1));
        let step = groups.div_ceil(pieces) * GROUP;
        let len = self.len;
        (0..items).flat_map(move |item| {
            (0..len).step_by(step.max(1)).map(move |start| Piece { item, elements: start..(start + step).min(len) })
        })
    }
}

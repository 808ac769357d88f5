//! DReLU by chunks: see `fss::chunks`.

use ariann_fss::Party;
use ariann_fss::chunks::Chunks;
use ariann_prg::Prg;
use ariann_ring::Ring;

use super::address;
use super::compare::at;
use super::pieces::{each, outputs, sources};
use crate::{GROUP, Piece, Source, Stream};

/// Elements worked on at a time, so that what is expanded for them stays in the first-level cache.
const BLOCK: usize = 4 * GROUP;

/// What every width of a checked plan has.
const CUT: &str = "the plan compares by chunks only what they can be cut for";

fn chunks(width: u32) -> Chunks {
    Chunks::new(width - 1).expect(CUT)
}

/// Bytes of a piece of a part of which the first n elements take `bytes(n)`.
fn len_of(piece: &Piece, bytes: impl Fn(usize) -> usize) -> usize {
    bytes(piece.elements.end) - bytes(piece.elements.start)
}

/// Brings a piece's bytes to `work`, a block of elements at a time: its elements, counted from the piece's first, and its bytes.
fn blocks(
    source: Source<'_>,
    piece: &Piece,
    bytes: impl Fn(usize) -> usize,
    mut work: impl FnMut(std::ops::Range<usize>, &[u8]),
) {
    let mut buffer = Vec::new();
    let (start, end) = (piece.elements.start, piece.elements.end);
    for from in (start..end).step_by(BLOCK) {
        let to = (from + BLOCK).min(end);
        let range = bytes(from)..bytes(to);
        let elements = from - start..to - start;
        match source {
            Source::Seed(prg, stream) => {
                buffer.resize(range.len(), 0);
                // Groups take whole blocks of the stream.
                let first = range.start as u64 / 16;
                prg.fill_blocks(address(stream, stream.slots.start + piece.item as u32), first, &mut buffer);
                work(elements, &buffer);
            }
            Source::Dealt(dealt) => {
                let before = bytes(start);
                work(elements, &dealt[range.start - before..range.end - before]);
            }
        }
    }
}

/// See [`crate::Device::mark`]; `len` vectors an item, of which each is read at `points` wires.
pub(super) fn mark<R: Ring>(
    vectors: Source<'_>,
    pieces: &[Piece],
    (len, points): (usize, usize),
    x: &[R],
    width: u32,
    marks: &mut [u16],
) {
    let chunks = chunks(width);
    let bytes = |elements: usize| chunks.vectors_len(elements);
    let low = R::low_mask(width - 1);
    let read = |(piece, source): (&Piece, Source<'_>)| {
        let count = piece.elements.len();
        let mut found = vec![0u16; points * count];
        blocks(source, piece, bytes, |elements, vectors| {
            let mut lo = [R::ZERO; BLOCK];
            for point in 0..points {
                let x = &x[at(piece, len, points, point)..][elements.clone()];
                lo.iter_mut().zip(x).for_each(|(lo, x)| *lo = x.and(low));
                let found = &mut found[point * count..][elements.clone()];
                chunks.read(vectors, &lo[..x.len()], found).expect("lengths follow from the plan");
            }
        });
        found
    };
    let found = each(sources(pieces, vectors, |piece| len_of(piece, bytes)), read);
    for (piece, found) in pieces.iter().zip(found) {
        for (point, found) in found.chunks(piece.elements.len().max(1)).enumerate() {
            let marks = &mut marks[at(piece, len, points, point)..][..found.len()];
            marks.iter_mut().zip(found).for_each(|(mark, found)| *mark ^= found);
        }
    }
}

/// See [`crate::Device::combine`].
#[allow(clippy::too_many_arguments)]
pub(super) fn combine<R: Ring>(
    party: Party,
    tables: Source<'_>,
    pieces: &[Piece],
    len: usize,
    marks: &[u16],
    x: &[R],
    width: u32,
    bits: &mut [u8],
) {
    let chunks = chunks(width);
    let bytes = |elements: usize| chunks.tables_len(elements);
    let own_top = u64::from(party == Party::P0);
    let parts = sources(pieces, tables, |piece| len_of(piece, bytes)).into_iter().zip(outputs(pieces, len, bits));
    each(parts.collect(), |((piece, source), bits): ((&Piece, Source<'_>), &mut [u8])| {
        let first = piece.item * len + piece.elements.start;
        blocks(source, piece, bytes, |elements, tables| {
            let all = first + elements.start..first + elements.end;
            let bits = &mut bits[elements];
            chunks.combine(tables, &marks[all.clone()], bits).expect("lengths follow from the plan");
            let tops = x[all].iter().map(|x| (x.shr(width - 1).to_u64() & own_top) as u8);
            bits.iter_mut().zip(tops).for_each(|(bit, top)| *bit ^= top);
        });
    });
}

/// See [`crate::Device::deal_chunks`].
pub(super) fn deal<R: Ring>(
    prg: &Prg,
    vectors: &Stream,
    tables: &Stream,
    alpha: &[R],
    width: u32,
    marks: [Vec<u16>; 2],
    section: &mut Vec<u8>,
) {
    let chunks = chunks(width);
    let low = R::low_mask(width - 1);
    let lo: Vec<R> = alpha.iter().map(|alpha| alpha.and(low)).collect();
    let [mut pads, other] = marks;
    pads.iter_mut().zip(other).for_each(|(pad, other)| *pad ^= other);
    let mut part = |stream: &Stream, len: usize| {
        let start = section.len();
        section.resize(start + len, 0);
        prg.fill_blocks(address(stream, stream.slots.start), 0, &mut section[start..]);
        start
    };
    let first = part(vectors, chunks.vectors_len(lo.len()));
    let second = part(tables, chunks.tables_len(pads.len()));
    chunks.deal_vectors(&lo, &mut section[first..second]).expect("lengths follow from the plan");
    chunks.deal_tables(&pads, &mut section[second..]).expect("lengths follow from the plan");
}

//! Pieces and their bytes, in parallel where there are threads.

use rayon::prelude::*;

use crate::{Piece, Source};

/// Each piece with its own part of the source, `bytes` of it.
pub(super) fn sources<'a>(
    pieces: &'a [Piece],
    source: Source<'a>,
    bytes: impl Fn(&Piece) -> usize,
) -> Vec<(&'a Piece, Source<'a>)> {
    let mut offset = 0;
    let part = |piece: &'a Piece| match source {
        Source::Seed(..) => (piece, source),
        Source::Dealt(all) => {
            let from = offset;
            offset += bytes(piece);
            (piece, Source::Dealt(&all[from..offset]))
        }
    };
    pieces.iter().map(part).collect()
}

/// Each piece's elements in `out`, which has `len` an item; pieces follow one another.
pub(super) fn outputs<'a, T>(pieces: &[Piece], len: usize, out: &'a mut [T]) -> Vec<&'a mut [T]> {
    let Some(first) = pieces.first() else { return Vec::new() };
    let mut rest = &mut out[first.item * len + first.elements.start..];
    let part = |piece: &Piece| {
        let (own, after) = std::mem::take(&mut rest).split_at_mut(piece.elements.len());
        rest = after;
        own
    };
    pieces.iter().map(part).collect()
}

/// Runs `task` on each.
pub(super) fn each<T: Send, O: Send>(parts: Vec<T>, task: impl Fn(T) -> O + Sync + Send) -> Vec<O> {
    if rayon::current_num_threads() > 1 {
        parts.into_par_iter().map(task).collect()
    } else {
        parts.into_iter().map(task).collect()
    }
}

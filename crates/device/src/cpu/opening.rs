//! Openings in one pass: masks are expanded, added, cut and packed a piece at a time, while the piece is in the cache.

use ariann_prg::Prg;
use ariann_ring::{Ring, pack};
use rayon::prelude::*;

use super::address;
use crate::{Stream, Window};

/// Elements of a piece: a multiple of 8, so that packed pieces end at whole bytes.
const PIECE: usize = 1 << 15;

/// Words `from..` of all slots of the stream, one after the other.
fn masks<R: Ring>(prg: &Prg, stream: &Stream, from: usize, out: &mut [R]) {
    let (mut at, mut rest) = (from, out);
    while !rest.is_empty() {
        let (slot, word) = (at / stream.len, at % stream.len);
        let count = (stream.len - word).min(rest.len());
        let (here, tail) = rest.split_at_mut(count);
        prg.fill(address(stream, stream.slots.start + slot as u32), word as u64, here);
        (at, rest) = (at + count, tail);
    }
}

/// This party's part of an opening, its message handed to `send` in pieces.
pub fn open<R: Ring, E>(
    prg: &Prg,
    stream: &Stream,
    share: &[R],
    window: Window,
    half: bool,
    send: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<Vec<R>, E> {
    let add = if half { window.half() } else { R::ZERO };
    let low = R::low_mask(window.width());
    let mut own = vec![R::ZERO; share.len()];
    let mut message = Vec::new();
    let at_once = PIECE * rayon::current_num_threads();
    for (index, (own, share)) in own.chunks_mut(at_once).zip(share.chunks(at_once)).enumerate() {
        let piece = |(part, (own, share)): (usize, (&mut [R], &[R]))| {
            masks(prg, stream, index * at_once + part * PIECE, own);
            own.iter_mut().zip(share).for_each(|(own, z)| *own = own.add(*z).add(add).shr(window.shift).and(low));
        };
        if at_once > PIECE {
            own.par_chunks_mut(PIECE).zip(share.par_chunks(PIECE)).enumerate().for_each(piece);
        } else {
            piece((0, (own, share)));
        }
        message.clear();
        pack::pack(own, 0, window.width(), &mut message);
        send(&message)?;
    }
    Ok(own)
}

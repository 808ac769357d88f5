//! Masks as streams: a chunk at a time, in any order, never as a whole.

use std::marker::PhantomData;

use ariann_prg::{Address, Prg, Seed};
use ariann_ring::Ring;
use zeroize::Zeroize;

/// Values that are held at once: what a driver reads, masks and sends in one go.
pub const CHUNK: usize = 1 << 14;

/// A seed makes one mask, so it has one address.
const MASK: Address = Address { kind: 0x60, gate: 0, slot: 0 };

/// A mask, to be added or taken away.
pub(crate) struct Mask {
    prg: Prg,
    subtract: bool,
}

impl Mask {
    pub fn adding(seed: &Seed) -> Mask {
        Mask { prg: Prg::new(seed), subtract: false }
    }

    pub fn subtracting(seed: &Seed) -> Mask {
        Mask { prg: Prg::new(seed), subtract: true }
    }
}

/// Masks of one vector.
pub(crate) struct Masks<R> {
    masks: Vec<Mask>,
    ring: PhantomData<R>,
}

impl<R: Ring> Masks<R> {
    pub fn new(masks: Vec<Mask>) -> Masks<R> {
        Masks { masks, ring: PhantomData }
    }

    /// Puts all of them on words `first`, `first + 1`, ...
    pub fn apply(&self, first: u64, words: &mut [R]) {
        let mut scratch = vec![R::ZERO; words.len().min(CHUNK)];
        for (at, part) in (0u64..).step_by(CHUNK).zip(words.chunks_mut(CHUNK)) {
            let stream = &mut scratch[..part.len()];
            for mask in &self.masks {
                mask.prg.fill(MASK, first + at, stream);
                let pairs = part.iter_mut().zip(stream.iter());
                match mask.subtract {
                    false => pairs.for_each(|(word, mask)| *word = word.add(*mask)),
                    true => pairs.for_each(|(word, mask)| *word = word.sub(*mask)),
                }
            }
        }
        bytemuck::cast_slice_mut::<R, u8>(&mut scratch).zeroize();
    }
}

/// Little-endian bytes of ring elements.
pub(crate) fn to_bytes<R: Ring>(words: &[R]) -> Vec<u8> {
    let mut bytes = bytemuck::cast_slice(words).to_vec();
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(size_of::<R>()).for_each(<[u8]>::reverse);
    }
    bytes
}

/// Ring elements from their little-endian bytes, of which there are exactly enough.
pub(crate) fn from_bytes<R: Ring>(bytes: &[u8], words: &mut [R]) {
    let into: &mut [u8] = bytemuck::cast_slice_mut(words);
    into.copy_from_slice(bytes);
    if cfg!(target_endian = "big") {
        into.chunks_exact_mut(size_of::<R>()).for_each(<[u8]>::reverse);
    }
}

//! Counter blocks, and the two hashes on blocks that stand alone.

use super::{Kernel, Vector};
use crate::aes::Schedule;

/// out = AES(low ‖ high), AES(low ‖ high + 1), ... for whole blocks.
pub(crate) struct Words<'a> {
    pub(crate) keys: &'a Schedule,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) out: &'a mut [[u8; 16]],
}

impl Kernel for Words<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const N: usize>(self) {
        let stride = N * V::BLOCKS;
        let mut high = self.high;
        let mut rows = self.out.chunks_exact_mut(stride);
        // SAFETY: the caller has the instructions of V; a row has N·BLOCKS blocks, register j takes those from j·BLOCKS on
        unsafe {
            let zero = V::splat(0, 0);
            for row in &mut rows {
                let mut state = [V::count(self.low, high); N];
                for (j, block) in state.iter_mut().enumerate() {
                    *block = block.advance((j * V::BLOCKS) as u64);
                }
                let words = V::encrypt::<N>(self.keys, state, [zero; N]);
                for (j, word) in words.into_iter().enumerate() {
                    word.store(row.as_mut_ptr().add(j * V::BLOCKS).cast());
                }
                high = high.wrapping_add(stride as u64);
            }
            let rest = rows.into_remainder();
            for (i, block) in rest.iter_mut().enumerate() {
                let word = V::encrypt::<1>(self.keys, [V::splat(self.low, high.wrapping_add(i as u64))], [zero]);
                store_first(word[0], block);
            }
        }
    }
}

/// Replaces every block x by AES(σ(x)) xor σ(x).
pub(crate) struct Hash<'a> {
    pub(crate) keys: &'a Schedule,
    pub(crate) blocks: &'a mut [[u8; 16]],
}

impl Kernel for Hash<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const N: usize>(self) {
        let mut rows = self.blocks.chunks_exact_mut(N * V::BLOCKS);
        // SAFETY: the caller has the instructions of V; a row has N·BLOCKS blocks, register j takes those from j·BLOCKS on
        unsafe {
            for row in &mut rows {
                let row = row.as_mut_ptr();
                let mut sigma = [V::splat(0, 0); N];
                for (j, block) in sigma.iter_mut().enumerate() {
                    *block = V::load(row.add(j * V::BLOCKS).cast()).sigma();
                }
                for (j, hash) in V::encrypt::<N>(self.keys, sigma, sigma).into_iter().enumerate() {
                    hash.store(row.add(j * V::BLOCKS).cast());
                }
            }
            for block in rows.into_remainder() {
                let x = u128::from_le_bytes(*block);
                let sigma = V::splat(x as u64, (x >> 64) as u64).sigma();
                let hash = V::encrypt::<1>(self.keys, [sigma], [sigma]);
                store_first(hash[0], block);
            }
        }
    }
}

/// Writes the first block of a register.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn store_first<V: Vector>(register: V, block: &mut [u8; 16]) {
    const { assert!(V::BLOCKS <= 4) };
    let mut all = [[0u8; 16]; 4];
    // SAFETY: the caller has the instructions of V; `all` has room for the widest register
    unsafe { register.store(all.as_mut_ptr().cast()) };
    *block = all[0];
}

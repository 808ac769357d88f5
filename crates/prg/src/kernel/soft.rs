//! The portable vector: one block.

use super::Vector;
use crate::aes::{Schedule, soft};

impl Vector for u128 {
    const BLOCKS: usize = 1;
    type Mask = u128;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller gives 16 readable bytes
        u128::from_le_bytes(unsafe { from.cast::<[u8; 16]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller gives 16 writable bytes
        unsafe { to.cast::<[u8; 16]>().write_unaligned(self.to_le_bytes()) }
    }
    #[inline(always)]
    unsafe fn splat(low: u64, high: u64) -> Self {
        u128::from(high) << 64 | u128::from(low)
    }
    #[inline(always)]
    unsafe fn count(low: u64, high: u64) -> Self {
        u128::from(high) << 64 | u128::from(low)
    }
    #[inline(always)]
    unsafe fn advance(self, by: u64) -> Self {
        self.wrapping_add(u128::from(by) << 64)
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        self ^ other
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        self & other
    }
    #[inline(always)]
    unsafe fn sigma(self) -> Self {
        self.rotate_right(64) ^ (self & !u128::from(u64::MAX))
    }
    #[inline(always)]
    unsafe fn test(self, bits: Self) -> Self::Mask {
        let half = |value: u64| u64::from(value != 0).wrapping_neg();
        let met = self & bits;
        u128::from(half((met >> 64) as u64)) << 64 | u128::from(half(met as u64))
    }
    #[inline(always)]
    unsafe fn control(self) -> Self::Mask {
        (self & 1).wrapping_neg()
    }
    #[inline(always)]
    unsafe fn xor_where(self, mask: Self::Mask, other: Self) -> Self {
        self ^ (mask & other)
    }
    #[inline(always)]
    unsafe fn xor_unless(self, mask: Self::Mask, other: Self) -> Self {
        self ^ (!mask & other)
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
    #[inline(always)]
    unsafe fn encrypt<const N: usize>(keys: &Schedule, mut state: [Self; N], tail: [Self; N]) -> [Self; N] {
        for blocks in state.chunks_mut(soft::WIDTH) {
            let mut eight = [0; soft::WIDTH];
            eight[..blocks.len()].copy_from_slice(blocks);
            soft::encrypt(keys, &mut eight);
            blocks.copy_from_slice(&eight[..blocks.len()]);
        }
        std::array::from_fn(|j| state[j] ^ tail[j])
    }
}

//! ARMv8: one block in 128 bits.

use super::{Kernel, Vector};
use crate::aes::Schedule;
use std::arch::aarch64::*;

/// One block in 128 bits.
#[derive(Clone, Copy)]
pub(super) struct One(uint64x2_t);

pub(super) fn is_available() -> bool {
    std::arch::is_aarch64_feature_detected!("neon") && std::arch::is_aarch64_feature_detected!("aes")
}

/// # Safety
/// `is_available()`.
#[target_feature(enable = "neon,aes")]
pub(super) unsafe fn armv8(kernel: impl Kernel) {
    // SAFETY: the features of this function are those of One
    unsafe { kernel.run::<One, 8>() }
}

impl Vector for One {
    const BLOCKS: usize = 1;
    type Mask = uint64x2_t;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller has the instructions and gives that much memory
        unsafe { One(vreinterpretq_u64_u8(vld1q_u8(from))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller has the instructions and gives that much memory
        unsafe { vst1q_u8(to, vreinterpretq_u8_u64(self.0)) }
    }
    #[inline(always)]
    unsafe fn splat(low: u64, high: u64) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { One(vcombine_u64(vcreate_u64(low), vcreate_u64(high))) }
    }
    #[inline(always)]
    unsafe fn count(low: u64, high: u64) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { Self::splat(low, high) }
    }
    #[inline(always)]
    unsafe fn advance(self, by: u64) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { One(vaddq_u64(self.0, Self::splat(0, by).0)) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { One(veorq_u64(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { One(vandq_u64(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sigma(self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { One(veorq_u64(vextq_u64::<1>(self.0, self.0), vandq_u64(self.0, Self::splat(0, !0).0))) }
    }
    #[inline(always)]
    unsafe fn test(self, bits: Self) -> Self::Mask {
        // SAFETY: the caller has the instructions
        unsafe { vtstq_u64(self.0, bits.0) }
    }
    #[inline(always)]
    unsafe fn control(self) -> Self::Mask {
        // SAFETY: the caller has the instructions
        unsafe { vtstq_u64(vdupq_laneq_u64::<0>(self.0), Self::splat(1, 1).0) }
    }
    #[inline(always)]
    unsafe fn xor_where(self, mask: Self::Mask, other: Self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { One(veorq_u64(self.0, vandq_u64(mask, other.0))) }
    }
    #[inline(always)]
    unsafe fn xor_unless(self, mask: Self::Mask, other: Self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { One(veorq_u64(self.0, vbicq_u64(other.0, mask))) }
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
    #[inline(always)]
    unsafe fn encrypt<const N: usize>(keys: &Schedule, mut state: [Self; N], tail: [Self; N]) -> [Self; N] {
        // SAFETY: the caller has the instructions; round keys are 16 bytes each
        unsafe {
            // AESE adds its key first, so the tenth key is left over and takes the tail along
            for i in 0..9 {
                let key = Self::load(keys.0[i].as_ptr());
                for block in &mut state {
                    *block = round(*block, key);
                }
            }
            let ninth = Self::load(keys.0[9].as_ptr());
            let tenth = Self::load(keys.0[10].as_ptr());
            for (block, tail) in state.iter_mut().zip(tail) {
                *block = last_round(*block, ninth).xor(tail.xor(tenth));
            }
            state
        }
    }
}

// The AES intrinsics are always inlined, which needs their feature in the calling function; these two carry it, and
// merge into `armv8`, which has it too.

#[inline]
#[target_feature(enable = "neon,aes")]
fn round(block: One, key: One) -> One {
    One(vreinterpretq_u64_u8(vaesmcq_u8(vaeseq_u8(vreinterpretq_u8_u64(block.0), vreinterpretq_u8_u64(key.0)))))
}

#[inline]
#[target_feature(enable = "neon,aes")]
fn last_round(block: One, key: One) -> One {
    One(vreinterpretq_u64_u8(vaeseq_u8(vreinterpretq_u8_u64(block.0), vreinterpretq_u8_u64(key.0))))
}

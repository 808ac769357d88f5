//! Four blocks in 512 bits.

use crate::aes::Schedule;
use crate::kernel::Vector;
use std::arch::x86_64::*;

/// Four blocks in 512 bits.
#[derive(Clone, Copy)]
pub(super) struct Quad(__m512i);

impl Vector for Quad {
    const BLOCKS: usize = 4;
    type Mask = __mmask8;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller has the instructions and gives that much memory
        unsafe { Quad(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller has the instructions and gives that much memory
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }
    #[inline(always)]
    unsafe fn splat(low: u64, high: u64) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { Quad(_mm512_broadcast_i32x4(_mm_set_epi64x(high as i64, low as i64))) }
    }
    #[inline(always)]
    unsafe fn count(low: u64, high: u64) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { Quad(_mm512_add_epi64(Self::splat(low, high).0, _mm512_set_epi64(3, 0, 2, 0, 1, 0, 0, 0))) }
    }
    #[inline(always)]
    unsafe fn advance(self, by: u64) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { Quad(_mm512_add_epi64(self.0, Self::splat(0, by).0)) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { Quad(_mm512_xor_si512(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { Quad(_mm512_and_si512(self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn sigma(self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe {
            let swapped = _mm512_shuffle_epi32(self.0, 0x4e);
            Quad(_mm512_mask_xor_epi64(swapped, 0xaa, swapped, self.0))
        }
    }
    #[inline(always)]
    unsafe fn test(self, bits: Self) -> Self::Mask {
        // SAFETY: the caller has the instructions
        unsafe { _mm512_test_epi64_mask(self.0, bits.0) }
    }
    #[inline(always)]
    unsafe fn control(self) -> Self::Mask {
        // SAFETY: the caller has the instructions
        unsafe { _mm512_test_epi64_mask(_mm512_unpacklo_epi64(self.0, self.0), _mm512_set1_epi64(1)) }
    }
    #[inline(always)]
    unsafe fn xor_where(self, mask: Self::Mask, other: Self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { Quad(_mm512_mask_xor_epi64(self.0, mask, self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn xor_unless(self, mask: Self::Mask, other: Self) -> Self {
        // SAFETY: the caller has the instructions
        unsafe { Quad(_mm512_mask_xor_epi64(self.0, !mask, self.0, other.0)) }
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: the caller has the instructions; a prefetch never faults
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn encrypt<const N: usize>(keys: &Schedule, mut state: [Self; N], tail: [Self; N]) -> [Self; N] {
        // SAFETY: the caller has the instructions
        unsafe {
            let first = round(keys, 0);
            for block in &mut state {
                *block = block.xor(first);
            }
            for i in 1..10 {
                let key = round(keys, i);
                for block in &mut state {
                    block.0 = _mm512_aesenc_epi128(block.0, key.0);
                }
            }
            let last = round(keys, 10);
            for (block, tail) in state.iter_mut().zip(tail) {
                // the last round's key takes the tail along: it costs no addition of its own
                block.0 = _mm512_aesenclast_epi128(block.0, tail.xor(last).0);
            }
            state
        }
    }
}

/// Round key `i` for every block.
///
/// # Safety
/// The processor has the instructions.
#[inline(always)]
unsafe fn round(keys: &Schedule, i: usize) -> Quad {
    let key = keys.0[i].as_ptr();
    // SAFETY: the caller has the instructions; a schedule is aligned to 64 bytes and its round keys are 16 bytes each
    unsafe { Quad(_mm512_broadcast_i32x4(_mm_load_si128(key.cast()))) }
}

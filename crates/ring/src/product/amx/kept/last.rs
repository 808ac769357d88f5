//! Inputs on their way to channels last.

use std::arch::x86_64::*;

use crate::product::amx::pack::{eight, sixteen, transpose, transpose_u32};

/// See `Kernels::channels_last`.
pub fn channels_last_u32(x: &[u32], rows: &[usize], out: &mut [u32]) {
    #[target_feature(enable = "avx512f")]
    fn inner(x: &[u32], rows: &[usize], out: &mut [u32]) {
        let depth = rows.len();
        let count = out.len() / depth;
        for at in (0..count).step_by(16) {
            let cols = 16.min(count - at);
            for c in (0..depth).step_by(16) {
                let channels = 16.min(depth - c);
                let mut block = [_mm512_setzero_si512(); 16];
                for (v, row) in block.iter_mut().zip(&rows[c..c + channels]) {
                    if *row < x.len() {
                        *v = sixteen(&x[row + at..][..cols], 0);
                    }
                }
                for (i, v) in transpose_u32(block).into_iter().enumerate().take(cols) {
                    let place = &mut out[(at + i) * depth + c..][..channels];
                    // SAFETY: as many elements are written as the place has.
                    unsafe { _mm512_mask_storeu_epi32(place.as_mut_ptr().cast(), 0xffff >> (16 - channels), v) };
                }
            }
        }
    }
    // SAFETY: AVX-512 was asked for before this kernel was chosen.
    unsafe { inner(x, rows, out) }
}

/// See `Kernels::channels_last`.
pub fn channels_last_u64(x: &[u64], rows: &[usize], out: &mut [u64]) {
    #[target_feature(enable = "avx512f")]
    fn inner(x: &[u64], rows: &[usize], out: &mut [u64]) {
        let depth = rows.len();
        let count = out.len() / depth;
        for at in (0..count).step_by(8) {
            let cols = 8.min(count - at);
            for c in (0..depth).step_by(8) {
                let channels = 8.min(depth - c);
                let mut block = [_mm512_setzero_si512(); 8];
                for (v, row) in block.iter_mut().zip(&rows[c..c + channels]) {
                    if *row < x.len() {
                        *v = eight(&x[row + at..][..cols], 0);
                    }
                }
                for (i, v) in transpose(block).into_iter().enumerate().take(cols) {
                    let place = &mut out[(at + i) * depth + c..][..channels];
                    // SAFETY: as many elements are written as the place has.
                    unsafe { _mm512_mask_storeu_epi64(place.as_mut_ptr().cast(), 0xff >> (8 - channels), v) };
                }
            }
        }
    }
    // SAFETY: AVX-512 was asked for before this kernel was chosen.
    unsafe { inner(x, rows, out) }
}

//! AVX2. Tiles of 6 x 16 (u32) and 6 x 4 (u64): twelve registers of sums, and four for the operands.

use std::arch::x86_64::*;

use super::Matrix;
use super::direct::{Lines, Scratch};
use super::micro::{self, Line, Micro, Strip};
use super::portable::{pack_left_rows, pack_right_plain};
use super::{direct, vector};
use crate::Ring;

/// Micro-kernels on 256-bit registers.
pub struct Avx2;

const MR: usize = 6;
const WIDE: usize = 16;
const NARROW: usize = 4;

impl Micro<u32> for Avx2 {
    const MR: usize = MR;
    const NR: usize = WIDE;
    const KU: usize = 1;
    const KC: usize = 256;
    const LEFT: usize = MR * 4;
    const RIGHT: usize = WIDE * 4;

    fn pack_left(src: &[u32], stride: usize, rows: usize, k: usize, padded: usize, panel: &mut [Line]) {
        pack_left_rows(src, stride, rows, k, padded, MR, panel);
    }

    fn pack_right(strip: &Strip<u32>, panels: &mut [Line], panel: usize) {
        pack_right_plain::<u32, WIDE>(strip, panels, panel);
    }

    fn tile(padded: usize, (rows, cols): (usize, usize), left: &[Line], right: &[Line], tile: &mut [u32]) {
        let (left, right): (&[u32], &[u32]) = (bytemuck::cast_slice(left), bytemuck::cast_slice(right));
        assert!(left.len() >= MR * padded && right.len() >= WIDE * padded && tile.len() >= MR * WIDE);
        // SAFETY: lengths asserted; `Kernel::is_available` was asked before this kernel was chosen.
        unsafe {
            let tile_u32 = match (rows, cols) {
                (0..=2, 0..=8) => tile_u32::<2, 1>,
                (3..=4, 0..=8) => tile_u32::<4, 1>,
                (_, 0..=8) => tile_u32::<MR, 1>,
                (0..=2, _) => tile_u32::<2, 2>,
                (3..=4, _) => tile_u32::<4, 2>,
                _ => tile_u32::<MR, 2>,
            };
            tile_u32(padded, left.as_ptr(), right.as_ptr(), tile.as_mut_ptr());
        }
    }

    unsafe fn put(out: *mut u32, stride: usize, tile: &[u32], width: usize, add: bool) {
        // SAFETY: as the caller promises.
        unsafe {
            put(out, stride, tile, <Self as Micro<u32>>::NR, width, add);
        }
    }
}

impl Micro<u64> for Avx2 {
    const MR: usize = MR;
    const NR: usize = NARROW;
    const KU: usize = 1;
    const KC: usize = 256;
    const LEFT: usize = MR * 8;
    const RIGHT: usize = NARROW * 8;

    fn pack_left(src: &[u64], stride: usize, rows: usize, k: usize, padded: usize, panel: &mut [Line]) {
        pack_left_rows(src, stride, rows, k, padded, MR, panel);
    }

    fn pack_right(strip: &Strip<u64>, panels: &mut [Line], panel: usize) {
        pack_right_plain::<u64, NARROW>(strip, panels, panel);
    }

    fn tile(padded: usize, (rows, _): (usize, usize), left: &[Line], right: &[Line], tile: &mut [u64]) {
        let (left, right): (&[u64], &[u64]) = (bytemuck::cast_slice(left), bytemuck::cast_slice(right));
        assert!(left.len() >= MR * padded && right.len() >= NARROW * padded && tile.len() >= MR * NARROW);
        // SAFETY: lengths asserted; `Kernel::is_available` was asked before this kernel was chosen.
        unsafe {
            let tile_u64 = match rows {
                0..=2 => tile_u64::<2>,
                3..=4 => tile_u64::<4>,
                _ => tile_u64::<MR>,
            };
            tile_u64(padded, left.as_ptr(), right.as_ptr(), tile.as_mut_ptr());
        }
    }

    unsafe fn put(out: *mut u64, stride: usize, tile: &[u64], width: usize, add: bool) {
        // SAFETY: as the caller promises.
        unsafe {
            put(out, stride, tile, <Self as Micro<u64>>::NR, width, add);
        }
    }
}

/// The first `ROWS` rows of a tile, and of those the first `VECTORS` times eight columns.
///
/// # Safety
/// `left` holds MR rows of `k`, `right` k rows of 16, `tile` has room for MR x 16.
#[target_feature(enable = "avx2")]
unsafe fn tile_u32<const ROWS: usize, const VECTORS: usize>(
    k: usize,
    left: *const u32,
    right: *const u32,
    tile: *mut u32,
) {
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    // SAFETY: every offset lies inside what the caller promises.
    unsafe {
        let lower = left.add(3 * k);
        for at in 0..k {
            let mut b = [_mm256_setzero_si256(); VECTORS];
            for (v, b) in b.iter_mut().enumerate() {
                *b = _mm256_loadu_si256(right.add(at * WIDE + v * 8).cast());
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                // Two bases, so that every row is reached by an addressing mode.
                let row = if i < 3 { left.add(i * k) } else { lower.add((i - 3) * k) };
                let a = _mm256_set1_epi32(*row.add(at) as i32);
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm256_add_epi32(*sum, _mm256_mullo_epi32(a, b));
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                _mm256_storeu_si256(tile.add(i * WIDE + v * 8).cast(), *sum);
            }
        }
    }
}

/// The first `ROWS` rows of a tile.
///
/// a * b = low(a) low(b) + 2^32 (low(a) high(b) + high(a) low(b)): the two cross terms come from one 32-bit product with the halves of b exchanged, and are summed
/// apart, modulo 2^32.
///
/// # Safety
/// `left` holds MR rows of `k`, `right` k rows of 4, `tile` has room for MR x 4.
#[target_feature(enable = "avx2")]
unsafe fn tile_u64<const ROWS: usize>(k: usize, left: *const u64, right: *const u64, tile: *mut u64) {
    let mut low = [_mm256_setzero_si256(); ROWS];
    let mut cross = [_mm256_setzero_si256(); ROWS];
    // SAFETY: every offset lies inside what the caller promises.
    unsafe {
        let lower = left.add(3 * k);
        for at in 0..k {
            let b = _mm256_loadu_si256(right.add(at * NARROW).cast());
            let exchanged = _mm256_shuffle_epi32::<0b10_11_00_01>(b);
            for i in 0..ROWS {
                let row = if i < 3 { left.add(i * k) } else { lower.add((i - 3) * k) };
                let a = _mm256_set1_epi64x(*row.add(at) as i64);
                low[i] = _mm256_add_epi64(low[i], _mm256_mul_epu32(a, b));
                cross[i] = _mm256_add_epi32(cross[i], _mm256_mullo_epi32(a, exchanged));
            }
        }
        for i in 0..ROWS {
            let both = _mm256_add_epi32(cross[i], _mm256_srli_epi64::<32>(cross[i]));
            let sum = _mm256_add_epi64(low[i], _mm256_slli_epi64::<32>(both));
            _mm256_storeu_si256(tile.add(i * NARROW).cast(), sum);
        }
    }
}

/// `micro::put`, compiled for AVX2.
///
/// # Safety
/// As there.
unsafe fn put<R: Ring>(out: *mut R, stride: usize, tile: &[R], nr: usize, width: usize, add: bool) {
    #[target_feature(enable = "avx2")]
    unsafe fn inner<R: Ring>(out: *mut R, stride: usize, tile: &[R], nr: usize, width: usize, add: bool) {
        // SAFETY: as the caller promises.
        unsafe { micro::put(out, stride, tile, nr, width, add) }
    }
    // SAFETY: as the caller promises, and `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(out, stride, tile, nr, width, add) }
}

/// `vector::few_times`, compiled for AVX2.
pub fn few_times<R: Ring>(a: Matrix<R>, x: Matrix<R>, out: &mut [R]) {
    #[target_feature(enable = "avx2")]
    fn inner<R: Ring>(a: Matrix<R>, x: Matrix<R>, out: &mut [R]) {
        vector::few_times(a, x, out);
    }
    // SAFETY: `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(a, x, out) }
}

/// `vector::rows_times`, compiled for AVX2.
pub fn rows_times<R: Ring>(a: Matrix<R>, x: &[R], out: &mut [R], add: bool) {
    #[target_feature(enable = "avx2")]
    fn inner<R: Ring>(a: Matrix<R>, x: &[R], out: &mut [R], add: bool) {
        vector::rows_times(a, x, out, add);
    }
    // SAFETY: `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(a, x, out, add) }
}

/// `direct::group`, compiled for AVX2.
pub fn direct<R: Ring>(lines: &Lines, weights: &[R], x: &[R], out: &mut [R], scratch: &mut Scratch) {
    #[target_feature(enable = "avx2")]
    fn inner<R: Ring>(lines: &Lines, weights: &[R], x: &[R], out: &mut [R], scratch: &mut Scratch) {
        direct::group(lines, weights, x, out, scratch);
    }
    // SAFETY: `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(lines, weights, x, out, scratch) }
}

/// Multiply-adds that one round of `float_sums` does.
pub const FLOAT_SUMS: usize = 10 * 8;

/// `rounds` times ten float multiply-adds in registers, the measure of what the processor could do.
pub fn float_sums(rounds: usize) -> f32 {
    #[target_feature(enable = "avx2,fma")]
    fn inner(rounds: usize) -> f32 {
        let (x, y) = (_mm256_set1_ps(0.999), _mm256_set1_ps(1e-3));
        let mut sums = [y; 10];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, x, y);
            }
        }
        sums.iter().fold(0.0, |total, sum| total + _mm256_cvtss_f32(*sum))
    }
    // SAFETY: the caller asked for AVX2 and FMA.
    unsafe { inner(rounds) }
}

//! AVX-512. Products of 52 bits (IFMA) are one instruction with their sum, where `vpmulld` and `vpmullq` take two and three and a sum beside them.

use std::arch::x86_64::*;

use super::Matrix;
use super::direct::{Lines, Scratch};
use super::micro::{self, Line, Micro, STRIP, Strip};
use super::portable::{pack_left_rows, pack_right_plain};
use super::{direct, vector};
use crate::Ring;

/// Micro-kernels on 512-bit registers.
pub struct Avx512;

const MR: usize = 8;
/// Columns of a tile of u32.
const WIDE: usize = 16;
/// Columns of a tile of u64.
const NARROW: usize = 8;

/// Whether this machine has what these kernels and AMX's packing use.
pub fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512ifma")
        && is_x86_feature_detected!("avx512vnni")
}

impl Micro<u32> for Avx512 {
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

    fn tile(padded: usize, (rows, _): (usize, usize), left: &[Line], right: &[Line], tile: &mut [u32]) {
        let (left, right): (&[u32], &[u32]) = (bytemuck::cast_slice(left), bytemuck::cast_slice(right));
        assert!(left.len() > MR * padded && right.len() > WIDE * padded && tile.len() >= MR * WIDE);
        // SAFETY: lengths asserted; `Kernel::is_available` was asked before this kernel was chosen.
        unsafe {
            let tile_u32 = match rows {
                0..=2 => tile_u32::<2>,
                3..=4 => tile_u32::<4>,
                5..=6 => tile_u32::<6>,
                _ => tile_u32::<MR>,
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

/// A panel holds the elements, and after them a word of 32 bits for each, of which see `tile_u64`.
impl Micro<u64> for Avx512 {
    const MR: usize = MR;
    const NR: usize = NARROW;
    const KU: usize = 2;
    const KC: usize = 256;
    const LEFT: usize = MR * 12;
    const RIGHT: usize = NARROW * 12;

    fn pack_left(src: &[u64], stride: usize, rows: usize, k: usize, padded: usize, panel: &mut [Line]) {
        pack_left_rows(src, stride, rows, k, padded, MR, panel);
        let (elements, words) = bytemuck::cast_slice_mut::<_, u64>(panel).split_at_mut(MR * padded);
        let words: &mut [u32] = bytemuck::cast_slice_mut(words);
        for (word, v) in words.iter_mut().zip(elements) {
            *word = (*v & 0xffff) as u32 | ((*v >> 52) as u32) << 16;
        }
    }

    fn pack_right(strip: &Strip<u64>, panels: &mut [Line], panel: usize) {
        pack_right_plain::<u64, NARROW>(strip, panels, panel);
        for panel in panels.chunks_exact_mut(panel).take(strip.cols.div_ceil(NARROW)) {
            // SAFETY: `Kernel::is_available` was asked before this kernel was chosen.
            unsafe { right_words(bytemuck::cast_slice_mut(panel), strip) };
        }
    }

    fn tile(padded: usize, (rows, _): (usize, usize), left: &[Line], right: &[Line], tile: &mut [u64]) {
        let (left, right): (&[u64], &[u64]) = (bytemuck::cast_slice(left), bytemuck::cast_slice(right));
        let words = MR * padded / 2;
        assert!(
            padded.is_multiple_of(2) && left.len() >= MR * padded + words && right.len() >= NARROW * padded + words
        );
        assert!(tile.len() >= MR * NARROW);
        // SAFETY: lengths asserted; `Kernel::is_available` was asked before this kernel was chosen.
        unsafe {
            let tile_u64 = match rows {
                0..=2 => tile_u64::<2>,
                3..=4 => tile_u64::<4>,
                5..=6 => tile_u64::<6>,
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

/// The first `ROWS` rows of a tile.
///
/// Two elements lie in each lane of 64 bits; what stands above the low one changes a product by a multiple of 2^32 only, so nothing is masked.
/// Even columns come from the row as it lies, odd ones from one element further on.
///
/// # Safety
/// `left` holds MR rows of `k` and one element more, `right` k rows of 16 and one element more, `tile` has room for MR x 16.
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn tile_u32<const ROWS: usize>(k: usize, left: *const u32, right: *const u32, tile: *mut u32) {
    let mut even = [_mm512_setzero_si512(); ROWS];
    let mut odd = [_mm512_setzero_si512(); ROWS];
    // SAFETY: every offset lies inside what the caller promises.
    unsafe {
        let lower = left.add(4 * k);
        for at in 0..k {
            let b0 = _mm512_loadu_si512(right.add(at * WIDE).cast());
            let b1 = _mm512_loadu_si512(right.add(at * WIDE + 1).cast());
            for i in 0..ROWS {
                let row = if i < 4 { left.add(i * k) } else { lower.add((i - 4) * k) };
                let a = _mm512_set1_epi64(row.add(at).cast::<i64>().read_unaligned());
                even[i] = _mm512_madd52lo_epu64(even[i], a, b0);
                odd[i] = _mm512_madd52lo_epu64(odd[i], a, b1);
            }
        }
        for i in 0..ROWS {
            let row = _mm512_mask_blend_epi32(0xaaaa, even[i], _mm512_slli_epi64::<32>(odd[i]));
            _mm512_storeu_si512(tile.add(i * WIDE).cast(), row);
        }
    }
}

/// The first `ROWS` rows of a tile.
///
/// With a = a0 + 2^52 a1 and b alike, a * b = low52(a0 b0) + 2^52 (high52(a0 b0) + a0 b1 + a1 b0), and of the bracket 12 bits count. The first two are IFMA's;
/// the cross terms need 16 bits of a0 and b0, so that `vpdpwssd` sums both, for two k at once, from the words (a0, a1) and (b1, b0).
///
/// # Safety
/// `left` holds MR rows of `k` elements and as many words, `right` k rows of 8 elements and k/2 rows of 8 pairs of words, k even, `tile` has room for MR x 8.
#[target_feature(enable = "avx512f,avx512ifma,avx512vnni")]
unsafe fn tile_u64<const ROWS: usize>(k: usize, left: *const u64, right: *const u64, tile: *mut u64) {
    let mut low = [_mm512_setzero_si512(); ROWS];
    let mut high = [_mm512_setzero_si512(); ROWS];
    let mut cross = [_mm512_setzero_si512(); ROWS];
    // SAFETY: every offset lies inside what the caller promises.
    unsafe {
        let left_words = left.add(MR * k).cast::<u32>();
        let right_words = right.add(NARROW * k);
        for at in (0..k).step_by(2) {
            let b0 = _mm512_loadu_si512(right.add(at * NARROW).cast());
            let b1 = _mm512_loadu_si512(right.add((at + 1) * NARROW).cast());
            let words = _mm512_loadu_si512(right_words.add(at / 2 * NARROW).cast());
            for i in 0..ROWS {
                let a0 = _mm512_set1_epi64(*left.add(i * k + at) as i64);
                low[i] = _mm512_madd52lo_epu64(low[i], a0, b0);
                high[i] = _mm512_madd52hi_epu64(high[i], a0, b0);
                let a1 = _mm512_set1_epi64(*left.add(i * k + at + 1) as i64);
                low[i] = _mm512_madd52lo_epu64(low[i], a1, b1);
                high[i] = _mm512_madd52hi_epu64(high[i], a1, b1);
                let pair = _mm512_set1_epi64(left_words.add(i * k + at).cast::<i64>().read_unaligned());
                cross[i] = _mm512_dpwssd_epi32(cross[i], pair, words);
            }
        }
        for i in 0..ROWS {
            let both = _mm512_add_epi64(cross[i], _mm512_srli_epi64::<32>(cross[i]));
            let above = _mm512_slli_epi64::<52>(_mm512_add_epi64(high[i], both));
            _mm512_storeu_si512(tile.add(i * NARROW).cast(), _mm512_add_epi64(low[i], above));
        }
    }
}

/// Words of the rows of `strip`, which stand in the panel already.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn right_words(panel: &mut [u64], strip: &Strip<u64>) {
    let (elements, words) = panel.split_at_mut(NARROW * strip.padded);
    let (words, pairs) = (words.as_chunks_mut::<NARROW>().0, elements.as_chunks::<{ 2 * NARROW }>().0);
    let rows = strip.at / 2..strip.padded.min(strip.at + STRIP) / 2;
    for (words, pair) in words[rows.clone()].iter_mut().zip(&pairs[rows]) {
        let word = |v: u64| v >> 52 | (v & 0xffff) << 16;
        for (j, words) in words.iter_mut().enumerate() {
            *words = word(pair[j]) | word(pair[NARROW + j]) << 32;
        }
    }
}

/// `micro::put`, compiled for AVX-512.
///
/// # Safety
/// As there.
pub unsafe fn put<R: Ring>(out: *mut R, stride: usize, tile: &[R], nr: usize, width: usize, add: bool) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn inner<R: Ring>(out: *mut R, stride: usize, tile: &[R], nr: usize, width: usize, add: bool) {
        // SAFETY: as the caller promises.
        unsafe {
            match width == nr {
                true => micro::put(out, stride, tile, nr, nr, add),
                false => micro::put(out, stride, tile, nr, width, add),
            }
        }
    }
    // SAFETY: as the caller promises, and `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(out, stride, tile, nr, width, add) }
}

/// `vector::few_times`, compiled for AVX-512.
pub fn few_times<R: Ring>(a: Matrix<R>, x: Matrix<R>, out: &mut [R]) {
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    fn inner<R: Ring>(a: Matrix<R>, x: Matrix<R>, out: &mut [R]) {
        vector::few_times(a, x, out);
    }
    // SAFETY: `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(a, x, out) }
}

/// `vector::rows_times`, compiled for AVX-512.
pub fn rows_times<R: Ring>(a: Matrix<R>, x: &[R], out: &mut [R], add: bool) {
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    fn inner<R: Ring>(a: Matrix<R>, x: &[R], out: &mut [R], add: bool) {
        vector::rows_times(a, x, out, add);
    }
    // SAFETY: `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(a, x, out, add) }
}

/// `direct::group`, compiled for AVX-512.
pub fn direct<R: Ring>(lines: &Lines, weights: &[R], x: &[R], out: &mut [R], scratch: &mut Scratch) {
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    fn inner<R: Ring>(lines: &Lines, weights: &[R], x: &[R], out: &mut [R], scratch: &mut Scratch) {
        direct::group(lines, weights, x, out, scratch);
    }
    // SAFETY: `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(lines, weights, x, out, scratch) }
}

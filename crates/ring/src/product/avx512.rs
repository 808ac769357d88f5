//! AVX-512. Products of 52 bits (IFMA) are one instruction with their sum, where `vpmulld` and `vpmullq` take two and three and a sum beside them.

use std::arch::x86_64::*;

use super::Matrix;
use super::blocked::{Line, Micro, STRIP};
use super::conv::ConvShape;
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

    fn pack_left(
        src: &[u32],
        stride: usize,
        rows: usize,
        k: usize,
        padded: usize,
        panel: &mut [Line],
    ) {
        pack_left_rows(src, stride, rows, k, padded, MR, panel);
    }

    fn pack_right(
        src: &[u32],
        stride: usize,
        at: usize,
        cols: usize,
        padded: usize,
        panels: &mut [Line],
        panel: usize,
    ) {
        pack_right_plain::<u32, WIDE>(src, stride, at, cols, padded, panels, panel);
    }

    fn tile(padded: usize, left: &[Line], right: &[Line], tile: &mut [u32]) {
        let (left, right): (&[u32], &[u32]) =
            (bytemuck::cast_slice(left), bytemuck::cast_slice(right));
        assert!(left.len() > MR * padded && right.len() > WIDE * padded && tile.len() >= MR * WIDE);
        // SAFETY: lengths asserted; `Kernel::is_available` was asked before this kernel was chosen.
        unsafe { tile_u32(padded, left.as_ptr(), right.as_ptr(), tile.as_mut_ptr()) }
    }

    fn add(out: &mut [u32], values: &[u32]) {
        add_rows(out, values);
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

    fn pack_left(
        src: &[u64],
        stride: usize,
        rows: usize,
        k: usize,
        padded: usize,
        panel: &mut [Line],
    ) {
        pack_left_rows(src, stride, rows, k, padded, MR, panel);
        let (elements, words) = bytemuck::cast_slice_mut::<_, u64>(panel).split_at_mut(MR * padded);
        let words: &mut [u32] = bytemuck::cast_slice_mut(words);
        for (word, v) in words.iter_mut().zip(elements) {
            *word = (*v & 0xffff) as u32 | ((*v >> 52) as u32) << 16;
        }
    }

    fn pack_right(
        src: &[u64],
        stride: usize,
        at: usize,
        cols: usize,
        padded: usize,
        panels: &mut [Line],
        panel: usize,
    ) {
        pack_right_plain::<u64, NARROW>(src, stride, at, cols, padded, panels, panel);
        let rows = STRIP.min(padded - at);
        for panel in panels.chunks_exact_mut(panel).take(cols.div_ceil(NARROW)) {
            let (elements, words) =
                bytemuck::cast_slice_mut::<_, u64>(panel).split_at_mut(NARROW * padded);
            let words = bytemuck::cast_slice_mut::<_, u32>(words)
                .as_chunks_mut::<{ 2 * NARROW }>()
                .0;
            let pairs = elements.as_chunks::<{ 2 * NARROW }>().0;
            let word = |v: u64| (v >> 52) as u32 | ((v & 0xffff) as u32) << 16;
            for (words, pair) in words[at / 2..]
                .iter_mut()
                .zip(&pairs[at / 2..])
                .take(rows / 2)
            {
                for j in 0..NARROW {
                    words[2 * j] = word(pair[j]);
                    words[2 * j + 1] = word(pair[NARROW + j]);
                }
            }
        }
    }

    fn tile(padded: usize, left: &[Line], right: &[Line], tile: &mut [u64]) {
        let (left, right): (&[u64], &[u64]) =
            (bytemuck::cast_slice(left), bytemuck::cast_slice(right));
        let words = MR * padded / 2;
        assert!(
            padded % 2 == 0
                && left.len() >= MR * padded + words
                && right.len() >= NARROW * padded + words
        );
        assert!(tile.len() >= MR * NARROW);
        // SAFETY: lengths asserted; `Kernel::is_available` was asked before this kernel was chosen.
        unsafe { tile_u64(padded, left.as_ptr(), right.as_ptr(), tile.as_mut_ptr()) }
    }

    fn add(out: &mut [u64], values: &[u64]) {
        add_rows(out, values);
    }
}

/// Two elements lie in each lane of 64 bits; what stands above the low one changes a product by a multiple of 2^32 only, so nothing is masked.
/// Even columns come from the row as it lies, odd ones from one element further on.
///
/// # Safety
/// `left` holds MR rows of `k` and one element more, `right` k rows of 16 and one element more, `tile` has room for MR x 16.
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn tile_u32(k: usize, left: *const u32, right: *const u32, tile: *mut u32) {
    let mut even = [_mm512_setzero_si512(); MR];
    let mut odd = [_mm512_setzero_si512(); MR];
    // SAFETY: every offset lies inside what the caller promises.
    unsafe {
        let lower = left.add(4 * k);
        for at in 0..k {
            let b0 = _mm512_loadu_si512(right.add(at * WIDE).cast());
            let b1 = _mm512_loadu_si512(right.add(at * WIDE + 1).cast());
            for i in 0..MR {
                let row = if i < 4 {
                    left.add(i * k)
                } else {
                    lower.add((i - 4) * k)
                };
                let a = _mm512_set1_epi64(row.add(at).cast::<i64>().read_unaligned());
                even[i] = _mm512_madd52lo_epu64(even[i], a, b0);
                odd[i] = _mm512_madd52lo_epu64(odd[i], a, b1);
            }
        }
        for i in 0..MR {
            let row = _mm512_mask_blend_epi32(0xaaaa, even[i], _mm512_slli_epi64::<32>(odd[i]));
            _mm512_storeu_si512(tile.add(i * WIDE).cast(), row);
        }
    }
}

/// With a = a0 + 2^52 a1 and b alike, a * b = low52(a0 b0) + 2^52 (high52(a0 b0) + a0 b1 + a1 b0), and of the bracket 12 bits count. The first two are IFMA's;
/// the cross terms need 16 bits of a0 and b0, so that `vpdpwssd` sums both, for two k at once, from the words (a0, a1) and (b1, b0).
///
/// # Safety
/// `left` holds MR rows of `k` elements and as many words, `right` k rows of 8 elements and k/2 rows of 8 pairs of words, k even, `tile` has room for MR x 8.
#[target_feature(enable = "avx512f,avx512ifma,avx512vnni")]
unsafe fn tile_u64(k: usize, left: *const u64, right: *const u64, tile: *mut u64) {
    let mut low = [_mm512_setzero_si512(); MR];
    let mut high = [_mm512_setzero_si512(); MR];
    let mut cross = [_mm512_setzero_si512(); MR];
    // SAFETY: every offset lies inside what the caller promises.
    unsafe {
        let left_words = left.add(MR * k).cast::<u32>();
        let right_words = right.add(NARROW * k);
        for at in (0..k).step_by(2) {
            let b0 = _mm512_loadu_si512(right.add(at * NARROW).cast());
            let b1 = _mm512_loadu_si512(right.add((at + 1) * NARROW).cast());
            let words = _mm512_loadu_si512(right_words.add(at / 2 * NARROW).cast());
            for i in 0..MR {
                let a0 = _mm512_set1_epi64(*left.add(i * k + at) as i64);
                low[i] = _mm512_madd52lo_epu64(low[i], a0, b0);
                high[i] = _mm512_madd52hi_epu64(high[i], a0, b0);
                let a1 = _mm512_set1_epi64(*left.add(i * k + at + 1) as i64);
                low[i] = _mm512_madd52lo_epu64(low[i], a1, b1);
                high[i] = _mm512_madd52hi_epu64(high[i], a1, b1);
                let pair =
                    _mm512_set1_epi64(left_words.add(i * k + at).cast::<i64>().read_unaligned());
                cross[i] = _mm512_dpwssd_epi32(cross[i], pair, words);
            }
        }
        for i in 0..MR {
            let both = _mm512_add_epi64(cross[i], _mm512_srli_epi64::<32>(cross[i]));
            let above = _mm512_slli_epi64::<52>(_mm512_add_epi64(high[i], both));
            _mm512_storeu_si512(tile.add(i * NARROW).cast(), _mm512_add_epi64(low[i], above));
        }
    }
}

/// `out += values`.
pub fn add_rows<R: Ring>(out: &mut [R], values: &[R]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn inner<R: Ring>(out: &mut [R], values: &[R]) {
        for (o, v) in out.iter_mut().zip(values) {
            *o = o.add(*v);
        }
    }
    // SAFETY: `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(out, values) }
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

/// `direct::plane`, compiled for AVX-512.
pub fn plane<R: Ring>(shape: &ConvShape, at: usize, weights: &[R], x: &[R], out: &mut [R]) {
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    fn inner<R: Ring>(shape: &ConvShape, at: usize, weights: &[R], x: &[R], out: &mut [R]) {
        direct::plane(shape, at, weights, x, out);
    }
    // SAFETY: `Kernel::is_available` was asked before this kernel was chosen.
    unsafe { inner(shape, at, weights, x, out) }
}

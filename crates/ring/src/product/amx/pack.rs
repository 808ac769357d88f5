//! Panels of byte planes. A step of k has one tile of 16 lines for each plane; line i of a left tile is row i, line q of a right tile is four rows of k.

use std::arch::x86_64::*;

use super::{SIDE, STEP, TILE, load};
use crate::product::micro::{Line, STRIP, Strip};

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(line: &mut Line, v: __m512i) {
    // SAFETY: 64 bytes, aligned.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), v) }
}

/// Sixteen elements of `row` from `at`, zeros beyond its end.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn sixteen(row: &[u32], at: usize) -> __m512i {
    let row = &row[at.min(row.len())..];
    let mask = if row.len() >= 16 { 0xffff } else { (1u16 << row.len()) - 1 };
    // SAFETY: no element beyond the row's end is read.
    unsafe { _mm512_maskz_loadu_epi32(mask, row.as_ptr().cast()) }
}

/// Eight elements of `row` from `at`, zeros beyond its end.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn eight(row: &[u64], at: usize) -> __m512i {
    let row = &row[at.min(row.len())..];
    let mask = if row.len() >= 8 { 0xff } else { (1u8 << row.len()) - 1 };
    // SAFETY: no element beyond the row's end is read.
    unsafe { _mm512_maskz_loadu_epi64(mask, row.as_ptr().cast()) }
}

/// Left tile of plane p: row i has byte p of 64 consecutive elements of row i.
///
/// # Safety
/// AVX-512 F and VBMI are there.
#[target_feature(enable = "avx512f,avx512vbmi")]
pub(super) unsafe fn pack_left_u32(
    src: &[u32],
    stride: usize,
    rows: usize,
    k: usize,
    padded: usize,
    panel: &mut [Line],
) {
    // Byte p of sixteen elements into lane p.
    let by_plane = load(&std::array::from_fn(|i| (i % 16 * 4 + i / 16) as u8));
    for (step, tiles) in panel.chunks_exact_mut(4 * TILE).take(padded.div_ceil(STEP)).enumerate() {
        for i in 0..SIDE {
            let row = if i < rows { &src[i * stride..][..k] } else { &[] };
            let lanes = |q: usize| _mm512_permutexvar_epi8(by_plane, sixteen(row, step * STEP + q * 16));
            let planes = planes_u32([lanes(0), lanes(1), lanes(2), lanes(3)]);
            for (plane, v) in planes.into_iter().enumerate() {
                store(&mut tiles[plane * TILE + i], v);
            }
        }
    }
}

/// Lanes as a 4 x 4 matrix, transposed.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn planes_u32([v0, v1, v2, v3]: [__m512i; 4]) -> [__m512i; 4] {
    let (a, b) = (_mm512_shuffle_i32x4::<0x44>(v0, v1), _mm512_shuffle_i32x4::<0x44>(v2, v3));
    let (c, d) = (_mm512_shuffle_i32x4::<0xee>(v0, v1), _mm512_shuffle_i32x4::<0xee>(v2, v3));
    [
        _mm512_shuffle_i32x4::<0x88>(a, b),
        _mm512_shuffle_i32x4::<0xdd>(a, b),
        _mm512_shuffle_i32x4::<0x88>(c, d),
        _mm512_shuffle_i32x4::<0xdd>(c, d),
    ]
}

/// As `pack_left_u32`, eight planes.
///
/// # Safety
/// AVX-512 F and VBMI are there.
#[target_feature(enable = "avx512f,avx512vbmi")]
pub(super) unsafe fn pack_left_u64(
    src: &[u64],
    stride: usize,
    rows: usize,
    k: usize,
    padded: usize,
    panel: &mut [Line],
) {
    // Byte p of eight elements into quarter-lane p.
    let by_plane = load(&std::array::from_fn(|i| (i % 8 * 8 + i / 8) as u8));
    for (step, tiles) in panel.chunks_exact_mut(8 * TILE).take(padded.div_ceil(STEP)).enumerate() {
        for i in 0..SIDE {
            let row = if i < rows { &src[i * stride..][..k] } else { &[] };
            let mut v = [_mm512_setzero_si512(); 8];
            for (q, v) in v.iter_mut().enumerate() {
                *v = _mm512_permutexvar_epi8(by_plane, eight(row, step * STEP + q * 8));
            }
            for (plane, v) in transpose(v).into_iter().enumerate() {
                store(&mut tiles[plane * TILE + i], v);
            }
        }
    }
}

/// Eight vectors of eight words as an 8 x 8 matrix, transposed.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(v: [__m512i; 8]) -> [__m512i; 8] {
    let (mut pairs, mut fours, mut out) = (v, v, v);
    for i in 0..4 {
        pairs[i] = _mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]);
        pairs[4 + i] = _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]);
    }
    // Lane l of pairs[i] has word 2l (or 2l + 1, from 4 on) of vectors 2i and 2i + 1.
    for half in [0, 4] {
        let p = &pairs[half..half + 4];
        fours[half] = _mm512_shuffle_i32x4::<0x44>(p[0], p[1]);
        fours[half + 1] = _mm512_shuffle_i32x4::<0x44>(p[2], p[3]);
        fours[half + 2] = _mm512_shuffle_i32x4::<0xee>(p[0], p[1]);
        fours[half + 3] = _mm512_shuffle_i32x4::<0xee>(p[2], p[3]);
        for (lane, from) in [(0, half), (2, half + 2)] {
            out[2 * lane + half / 4] = _mm512_shuffle_i32x4::<0x88>(fours[from], fours[from + 1]);
            out[2 * lane + 2 + half / 4] = _mm512_shuffle_i32x4::<0xdd>(fours[from], fours[from + 1]);
        }
    }
    out
}

/// Sixteen vectors of sixteen words, transposed.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose_u32(v: [__m512i; 16]) -> [__m512i; 16] {
    let (mut a, mut b) = (v, v);
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    // Lane l of b[4i + j] has column 4l + j of rows 4i..4i + 4.
    for i in 0..4 {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    for j in 0..4 {
        let (low, high) =
            (_mm512_shuffle_i32x4::<0x44>(b[j], b[4 + j]), _mm512_shuffle_i32x4::<0x44>(b[8 + j], b[12 + j]));
        a[j] = _mm512_shuffle_i32x4::<0x88>(low, high);
        a[4 + j] = _mm512_shuffle_i32x4::<0xdd>(low, high);
        let (low, high) =
            (_mm512_shuffle_i32x4::<0xee>(b[j], b[4 + j]), _mm512_shuffle_i32x4::<0xee>(b[8 + j], b[12 + j]));
        a[8 + j] = _mm512_shuffle_i32x4::<0x88>(low, high);
        a[12 + j] = _mm512_shuffle_i32x4::<0xdd>(low, high);
    }
    a
}

/// Right tile of plane p: row q has byte p of the four elements of rows 4q.. of k, column after column.
///
/// # Safety
/// AVX-512 F and BW are there.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn pack_right_u32(strip: &Strip<u32>, panels: &mut [Line], panel: usize) {
    let at = strip.at;
    for (from, panel) in (0..strip.cols).step_by(SIDE).zip(panels.chunks_exact_mut(panel)) {
        let tiles = &mut panel[at / STEP * 4 * TILE..][..4 * TILE];
        for q in 0..STRIP / 4 {
            let row = |i: usize| sixteen(strip.row(4 * q + i, from), 0);
            let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
            let (a, b) = (_mm512_unpacklo_epi8(r0, r2), _mm512_unpacklo_epi8(r1, r3));
            let (c, d) = (_mm512_unpackhi_epi8(r0, r2), _mm512_unpackhi_epi8(r1, r3));
            // Column 4l + j in lane l of column[j], planes 0..4 of four bytes each.
            let column = [
                _mm512_unpacklo_epi8(a, b),
                _mm512_unpackhi_epi8(a, b),
                _mm512_unpacklo_epi8(c, d),
                _mm512_unpackhi_epi8(c, d),
            ];
            let (a, b) = (_mm512_unpacklo_epi32(column[0], column[1]), _mm512_unpacklo_epi32(column[2], column[3]));
            let (c, d) = (_mm512_unpackhi_epi32(column[0], column[1]), _mm512_unpackhi_epi32(column[2], column[3]));
            let line = at % STEP / 4 + q;
            store(&mut tiles[line], _mm512_unpacklo_epi64(a, b));
            store(&mut tiles[TILE + line], _mm512_unpackhi_epi64(a, b));
            store(&mut tiles[2 * TILE + line], _mm512_unpacklo_epi64(c, d));
            store(&mut tiles[3 * TILE + line], _mm512_unpackhi_epi64(c, d));
        }
    }
}

/// As `pack_right_u32`, eight planes.
///
/// # Safety
/// AVX-512 F and BW are there.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn pack_right_u64(strip: &Strip<u64>, panels: &mut [Line], panel: usize) {
    let at = strip.at;
    let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    let odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    for (from, panel) in (0..strip.cols).step_by(SIDE).zip(panels.chunks_exact_mut(panel)) {
        let tiles = &mut panel[at / STEP * 8 * TILE..][..8 * TILE];
        for q in 0..STRIP / 4 {
            let row = |i: usize, half: usize| eight(strip.row(4 * q + i, from), half);
            let left = planes([row(0, 0), row(1, 0), row(2, 0), row(3, 0)]);
            let right = planes([row(0, 8), row(1, 8), row(2, 8), row(3, 8)]);
            let line = at % STEP / 4 + q;
            for (pair, (l, r)) in left.into_iter().zip(right).enumerate() {
                store(&mut tiles[2 * pair * TILE + line], _mm512_permutex2var_epi64(l, even, r));
                store(&mut tiles[(2 * pair + 1) * TILE + line], _mm512_permutex2var_epi64(l, odd, r));
            }
        }
    }
}

/// Four rows of eight elements; vector i of the result has in lane l the words of planes 2i and 2i + 1, four bytes each for columns 2l and 2l + 1.
#[target_feature(enable = "avx512f,avx512bw")]
fn planes([r0, r1, r2, r3]: [__m512i; 4]) -> [__m512i; 4] {
    let (a, b) = (_mm512_unpacklo_epi8(r0, r2), _mm512_unpacklo_epi8(r1, r3));
    let (c, d) = (_mm512_unpackhi_epi8(r0, r2), _mm512_unpackhi_epi8(r1, r3));
    let (even_low, even_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (odd_low, odd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi32(even_low, odd_low),
        _mm512_unpackhi_epi32(even_low, odd_low),
        _mm512_unpacklo_epi32(even_high, odd_high),
        _mm512_unpackhi_epi32(even_high, odd_high),
    ]
}

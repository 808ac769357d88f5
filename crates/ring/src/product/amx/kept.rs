//! Places by channels on tiles: left panels are gathered from inputs that lie channels last, right panels are weights packed once.
//!
//! Panels of the weights lie block of k after block, in each the panels of sixteen channels one after the other, as they are read.

use std::arch::x86_64::*;
use std::cell::RefCell;

use bytemuck::Zeroable;

use super::pack::{eight, pack_left_u32, pack_left_u64, sixteen, store, transpose, transpose_u32};
use super::{Amx, SIDE, STEP, TILE, load};
use crate::Ring;
use crate::product::blocked::lines;
use crate::product::layout::{Layout, Task, UNIT, UNITS};
use crate::product::micro::{Line, Micro};
use crate::product::out::Out;

/// What depends on the ring. Callers have asked for AVX-512 and AMX.
pub trait Planes: Ring {
    /// Byte planes of the 64 elements at each of `places`, after `split`: rows of left tiles.
    fn copy(held: &[Line], places: &[usize], units: &[usize], panel: &mut [Line]);
    /// Byte planes of the four units of each step at each of `places`: rows of left tiles.
    fn gather(held: &[Self], places: &[usize], units: &[usize], panel: &mut [Line]);
    /// Every 64 elements become their planes, in place.
    fn split(held: &mut [Line]);
    /// The right tiles of one step from sixteen rows of `stride` elements.
    fn right(rows: &[Self], stride: usize, tiles: &mut [Line]);
    /// A tile of 16 x 16, turned.
    fn turn(tile: &mut [Self]);
}

/// Steps in a block of k, of about equal size.
fn block<R: Ring>(steps: usize) -> usize
where
    Amx: Micro<R>,
{
    steps.div_ceil(steps.div_ceil(<Amx as Micro<R>>::KC / STEP))
}

/// Panels of the weights of one group.
pub fn keep<R: Planes>(layout: &Layout, weights: &[R]) -> Vec<Line>
where
    Amx: Micro<R>,
{
    let (steps, count, channels) = (layout.steps(), layout.channels().div_ceil(SIDE), layout.channels());
    let tiles = size_of::<R>() * TILE;
    let mut panels = vec![Line::zeroed(); steps * count * tiles];
    let stride = steps * STEP;
    let mut rows = vec![R::ZERO; SIDE * stride];
    for n in 0..count {
        rows.fill(R::ZERO);
        for (o, row) in (n * SIDE..channels).zip(rows.chunks_exact_mut(stride)) {
            layout.weights(weights, o, row);
        }
        for k0 in (0..steps).step_by(block::<R>(steps)) {
            let ks = block::<R>(steps).min(steps - k0);
            let panel = &mut panels[(k0 * count + n * ks) * tiles..][..ks * tiles];
            for (step, tiles) in panel.chunks_exact_mut(tiles).enumerate() {
                R::right(&rows[(k0 + step) * STEP..], stride, tiles);
            }
        }
    }
    panels
}

/// The product of one task, on this thread.
pub fn multiply<R: Planes>(task: Task<R>, out: &Out<R>)
where
    Amx: Micro<R>,
{
    thread_local! {
        static LEFT: RefCell<Vec<Line>> = RefCell::default();
    }
    let Task { layout, held, places, panels, channels, at, turned } = task;
    let whole = layout.whole_steps();
    if whole {
        let len = held.len() / STEP * STEP;
        R::split(bytemuck::cast_slice_mut(&mut held[..len]));
    }
    let (steps, count) = (layout.steps(), layout.channels().div_ceil(SIDE));
    let mr = <Amx as Micro<R>>::rows(places.len());
    let tiles = size_of::<R>() * TILE;
    let mut tile = [R::ZERO; SIDE * SIDE];
    let mut product = |left: &mut Vec<Line>| {
        for k0 in (0..steps).step_by(block::<R>(steps)) {
            let ks = block::<R>(steps).min(steps - k0);
            let left = lines(left, places.len().div_ceil(mr) * ks * tiles);
            let units = &layout.units()[k0 * UNITS..][..ks * UNITS];
            for (places, panel) in places.chunks(mr).zip(left.chunks_exact_mut(ks * tiles)) {
                match whole {
                    true => R::copy(bytemuck::cast_slice(held), places, units, panel),
                    false => R::gather(held, places, units, panel),
                }
            }
            for n in channels.clone().step_by(SIDE) {
                let width = SIDE.min(channels.end - n);
                let right = &panels[(k0 * count + n / SIDE * ks) * tiles..][..ks * tiles];
                for (m, left) in left.chunks_exact(ks * tiles).enumerate() {
                    let rows = mr.min(places.len() - m * mr);
                    <Amx as Micro<R>>::tile(ks * STEP, (rows, width), left, right, &mut tile);
                    let place = at.0 + m * mr;
                    if turned {
                        out.put::<Amx>((place, rows), (n, width), &tile, k0 > 0);
                    } else {
                        R::turn(&mut tile);
                        out.put::<Amx>((n, width), (place, rows), &tile, k0 > 0);
                    }
                }
            }
        }
    };
    LEFT.with_borrow_mut(|left| <Amx as Micro<R>>::with(layout.step(), mr, || product(left)));
}

impl Planes for u32 {
    fn copy(held: &[Line], places: &[usize], units: &[usize], panel: &mut [Line]) {
        copy::<4>(held, places, units, panel);
    }

    fn gather(held: &[u32], places: &[usize], units: &[usize], panel: &mut [Line]) {
        #[target_feature(enable = "avx512f,avx512vbmi")]
        fn inner(held: &[u32], places: &[usize], units: &[usize], panel: &mut [Line]) {
            let by_plane = load(&std::array::from_fn(|i| (i % 16 * 4 + i / 16) as u8));
            for (units, tiles) in units.as_chunks::<UNITS>().0.iter().zip(panel.chunks_exact_mut(4 * TILE)) {
                for (i, place) in places.iter().enumerate() {
                    let lanes =
                        |q: usize| _mm512_permutexvar_epi8(by_plane, sixteen(&held[place + units[q]..][..UNIT], 0));
                    let planes = planes_u32([lanes(0), lanes(1), lanes(2), lanes(3)]);
                    for (plane, v) in planes.into_iter().enumerate() {
                        store(&mut tiles[plane * TILE + i], v);
                    }
                }
            }
        }
        // SAFETY: AVX-512 was asked for before this kernel was chosen.
        unsafe { inner(held, places, units, panel) }
    }

    fn split(held: &mut [Line]) {
        #[target_feature(enable = "avx512f,avx512vbmi")]
        fn inner(held: &mut [Line]) {
            let by_plane = load(&std::array::from_fn(|i| (i % 16 * 4 + i / 16) as u8));
            for step in held.as_chunks_mut::<4>().0 {
                let lanes = |q: usize| _mm512_permutexvar_epi8(by_plane, load(&step[q].0));
                let planes = planes_u32([lanes(0), lanes(1), lanes(2), lanes(3)]);
                for (line, v) in step.iter_mut().zip(planes) {
                    store(line, v);
                }
            }
        }
        // SAFETY: AVX-512 was asked for before this kernel was chosen.
        unsafe { inner(held) }
    }

    fn right(rows: &[u32], stride: usize, tiles: &mut [Line]) {
        // SAFETY: AVX-512 was asked for before this kernel was chosen.
        unsafe {
            pack_left_u32(rows, stride, SIDE, STEP, STEP, tiles);
            turn_words(tiles);
        }
    }

    fn turn(tile: &mut [u32]) {
        let lines: &mut [[u32; SIDE]; SIDE] = tile.as_chunks_mut().0.try_into().expect("a tile of 16 x 16");
        // SAFETY: AVX-512 was asked for before this kernel was chosen; a line is 64 bytes.
        unsafe {
            let turned = transpose_u32(std::array::from_fn(|i| _mm512_loadu_si512(lines[i].as_ptr().cast())));
            for (line, v) in lines.iter_mut().zip(turned) {
                _mm512_storeu_si512(line.as_mut_ptr().cast(), v);
            }
        }
    }
}

impl Planes for u64 {
    fn copy(held: &[Line], places: &[usize], units: &[usize], panel: &mut [Line]) {
        copy::<8>(held, places, units, panel);
    }

    fn gather(held: &[u64], places: &[usize], units: &[usize], panel: &mut [Line]) {
        #[target_feature(enable = "avx512f,avx512vbmi")]
        fn inner(held: &[u64], places: &[usize], units: &[usize], panel: &mut [Line]) {
            let by_plane = load(&std::array::from_fn(|i| (i % 8 * 8 + i / 8) as u8));
            for (units, tiles) in units.as_chunks::<UNITS>().0.iter().zip(panel.chunks_exact_mut(8 * TILE)) {
                for (i, place) in places.iter().enumerate() {
                    let mut v = [_mm512_setzero_si512(); 8];
                    for (q, v) in v.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                        let unit = &held[place + units[q]..][..UNIT];
                        *v = [eight(unit, 0), eight(unit, 8)].map(|v| _mm512_permutexvar_epi8(by_plane, v));
                    }
                    for (plane, v) in transpose(v).into_iter().enumerate() {
                        store(&mut tiles[plane * TILE + i], v);
                    }
                }
            }
        }
        // SAFETY: AVX-512 was asked for before this kernel was chosen.
        unsafe { inner(held, places, units, panel) }
    }

    fn split(held: &mut [Line]) {
        #[target_feature(enable = "avx512f,avx512vbmi")]
        fn inner(held: &mut [Line]) {
            let by_plane = load(&std::array::from_fn(|i| (i % 8 * 8 + i / 8) as u8));
            for step in held.as_chunks_mut::<8>().0 {
                let mut v = [_mm512_setzero_si512(); 8];
                for (v, line) in v.iter_mut().zip(&*step) {
                    *v = _mm512_permutexvar_epi8(by_plane, load(&line.0));
                }
                for (line, v) in step.iter_mut().zip(transpose(v)) {
                    store(line, v);
                }
            }
        }
        // SAFETY: AVX-512 was asked for before this kernel was chosen.
        unsafe { inner(held) }
    }

    fn right(rows: &[u64], stride: usize, tiles: &mut [Line]) {
        // SAFETY: AVX-512 was asked for before this kernel was chosen.
        unsafe {
            pack_left_u64(rows, stride, SIDE, STEP, STEP, tiles);
            turn_words(tiles);
        }
    }

    fn turn(tile: &mut [u64]) {
        #[target_feature(enable = "avx512f")]
        fn inner(tile: &mut [[u64; 8]]) {
            // Row i has its two halves at 2i and 2i + 1.
            let load = |tile: &[[u64; 8]], row: usize, half: usize| {
                // SAFETY: eight words are 64 bytes.
                transpose(std::array::from_fn(|i| unsafe {
                    _mm512_loadu_si512(tile[2 * (row + i) + half].as_ptr().cast())
                }))
            };
            let quarters = [(0, 0), (0, 1), (8, 0), (8, 1)].map(|(row, half)| load(tile, row, half));
            for ((row, half), quarter) in [(0, 0), (8, 0), (0, 1), (8, 1)].into_iter().zip(quarters) {
                for (i, v) in quarter.into_iter().enumerate() {
                    // SAFETY: eight words are 64 bytes.
                    unsafe { _mm512_storeu_si512(tile[2 * (row + i) + half].as_mut_ptr().cast(), v) };
                }
            }
        }
        // SAFETY: AVX-512 was asked for before this kernel was chosen.
        unsafe { inner(tile.as_chunks_mut().0) }
    }
}

#[inline(always)]
fn copy<const PLANES: usize>(held: &[Line], places: &[usize], units: &[usize], panel: &mut [Line]) {
    for (units, tiles) in units.as_chunks::<UNITS>().0.iter().zip(panel.chunks_exact_mut(PLANES * TILE)) {
        for (i, place) in places.iter().enumerate() {
            let from = held[(place + units[0]) / STEP * PLANES..].first_chunk::<PLANES>().expect("a step");
            for (plane, line) in from.iter().enumerate() {
                tiles[plane * TILE + i] = *line;
            }
        }
    }
}

/// Lanes as a 4 x 4 matrix, transposed.
#[inline]
#[target_feature(enable = "avx512f")]
fn planes_u32([v0, v1, v2, v3]: [__m512i; 4]) -> [__m512i; 4] {
    let (a, b) = (_mm512_shuffle_i32x4::<0x44>(v0, v1), _mm512_shuffle_i32x4::<0x44>(v2, v3));
    let (c, d) = (_mm512_shuffle_i32x4::<0xee>(v0, v1), _mm512_shuffle_i32x4::<0xee>(v2, v3));
    [
        _mm512_shuffle_i32x4::<0x88>(a, b),
        _mm512_shuffle_i32x4::<0xdd>(a, b),
        _mm512_shuffle_i32x4::<0x88>(c, d),
        _mm512_shuffle_i32x4::<0xdd>(c, d),
    ]
}

/// Left tiles become right ones: their words of four k, turned.
#[target_feature(enable = "avx512f")]
fn turn_words(tiles: &mut [Line]) {
    for tile in tiles.as_chunks_mut::<TILE>().0 {
        let turned = transpose_u32(std::array::from_fn(|i| load(&tile[i].0)));
        for (line, v) in tile.iter_mut().zip(turned) {
            store(line, v);
        }
    }
}

/// See `layout::channels_last`.
pub fn channels_last_u32(x: &[u32], area: usize, depth: usize, out: &mut [u32]) {
    #[target_feature(enable = "avx512f")]
    fn inner(x: &[u32], area: usize, depth: usize, out: &mut [u32]) {
        let count = out.len() / depth;
        for at in (0..count).step_by(16) {
            let cols = 16.min(count - at);
            for c in (0..depth).step_by(16) {
                let channels = 16.min(depth - c);
                let row = |i: usize| match i < channels {
                    true => sixteen(&x[(c + i) * area + at..][..cols], 0),
                    false => _mm512_setzero_si512(),
                };
                let turned = transpose_u32(std::array::from_fn(row));
                for (i, v) in turned.into_iter().enumerate().take(cols) {
                    let place = &mut out[(at + i) * depth + c..][..channels];
                    // SAFETY: as many elements are written as the place has.
                    unsafe { _mm512_mask_storeu_epi32(place.as_mut_ptr().cast(), 0xffff >> (16 - channels), v) };
                }
            }
        }
    }
    // SAFETY: AVX-512 was asked for before this kernel was chosen.
    unsafe { inner(x, area, depth, out) }
}

/// See `layout::channels_last`.
pub fn channels_last_u64(x: &[u64], area: usize, depth: usize, out: &mut [u64]) {
    #[target_feature(enable = "avx512f")]
    fn inner(x: &[u64], area: usize, depth: usize, out: &mut [u64]) {
        let count = out.len() / depth;
        for at in (0..count).step_by(8) {
            let cols = 8.min(count - at);
            for c in (0..depth).step_by(8) {
                let channels = 8.min(depth - c);
                let row = |i: usize| match i < channels {
                    true => eight(&x[(c + i) * area + at..][..cols], 0),
                    false => _mm512_setzero_si512(),
                };
                let turned = transpose(std::array::from_fn(row));
                for (i, v) in turned.into_iter().enumerate().take(cols) {
                    let place = &mut out[(at + i) * depth + c..][..channels];
                    // SAFETY: as many elements are written as the place has.
                    unsafe { _mm512_mask_storeu_epi64(place.as_mut_ptr().cast(), 0xff >> (8 - channels), v) };
                }
            }
        }
    }
    // SAFETY: AVX-512 was asked for before this kernel was chosen.
    unsafe { inner(x, area, depth, out) }
}

//! Places by channels on tiles: left panels are gathered from inputs that lie channels last, right panels are weights packed once.
//!
//! Panels of the weights lie block of k after block, in each the panels of sixteen channels one after the other, as they are read.

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::RefCell;

use bytemuck::Zeroable;

use super::pack::{eight, pack_left_u32, pack_left_u64, sixteen, store, transpose, transpose_u32};
use super::{Amx, KC_U32, SIDE, STEP, TILE, join_u64, load, sums_u64};
use crate::Ring;
use crate::product::blocked::lines;
use crate::product::layout::{Layout, Task, UNIT, UNITS};
use crate::product::micro::{Line, Micro};
use crate::product::out::Out;

/// Most steps in a block of k.
const BLOCK: usize = KC_U32 / STEP;

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
    /// Whether left tiles may be read from the input as `split` left it.
    const DIRECT: bool;
    /// The sums of each weight over the steps of both panels, one tile each. Memory at `next` may be asked for, 1024 bytes a step.
    ///
    /// # Safety
    /// Tiles are configured, and as many rows as they have may be read at every step of `left`.
    unsafe fn sums(left: Left, right: &[Line], next: *const Line, sums: &mut [Line]);
    /// Puts sums together and stores or adds the tile where `place` says.
    ///
    /// # Safety
    /// The elements of the place may be written, and nobody else uses them meanwhile.
    unsafe fn finish(sums: &[Line], place: &Place<Self>);
}

/// Left tiles: where each step begins, and bytes from row to row and from plane to plane.
pub struct Left<'a> {
    steps: &'a [*const Line],
    stride: usize,
    plane: usize,
}

/// Where a tile goes.
pub struct Place<R> {
    out: *mut R,
    stride: usize,
    /// Places of the tile, its rows before it is turned.
    rows: usize,
    /// Channels of the tile.
    cols: usize,
    turned: bool,
    add: bool,
}

/// A tile whose sums are not put together yet: its first place and channel, and how many.
struct Pending {
    place: (usize, usize),
    channel: (usize, usize),
    turned: bool,
    add: bool,
}

impl Pending {
    fn finish<R: Planes>(self, sums: &[Line], out: &Out<R>)
    where
        Amx: Micro<R>,
    {
        let (down, across) = if self.turned { (self.place, self.channel) } else { (self.channel, self.place) };
        let (rows, cols) = (self.place.1, self.channel.1);
        if let Some((to, stride)) = out.place(down, across) {
            // SAFETY: the place lies inside the result, and is of this task alone.
            return unsafe {
                R::finish(sums, &Place { out: to, stride, rows, cols, turned: self.turned, add: self.add })
            };
        }
        let mut tile = [R::ZERO; SIDE * SIDE];
        let place = Place { out: tile.as_mut_ptr(), stride: SIDE, rows, cols, turned: self.turned, add: false };
        // SAFETY: the tile has room for 16 x 16.
        unsafe { R::finish(sums, &place) };
        out.put::<Amx>(down, across, &tile, self.add);
    }
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
    let tiles = size_of::<R>() * TILE;
    let (row, apart) = layout.row();
    // Tiles that lie in one row of places each need no panels, if they are high enough.
    let high = row.div_ceil(row.div_ceil(SIDE));
    let direct = R::DIRECT && whole && high >= 12;
    let mr = if direct { high } else { <Amx as Micro<R>>::rows(places.len()) };
    let run = if direct { row } else { places.len() };
    let mut pieces = Vec::with_capacity(places.len().div_ceil(run) * run.div_ceil(mr));
    for from in (0..places.len()).step_by(run) {
        let end = (from + run).min(places.len());
        pieces.extend((from..end).step_by(mr).map(|from| from..(from + mr).min(end)));
    }
    // A tile is put together while the next one is multiplied.
    let mut sums = [[Line::zeroed(); 8 * TILE]; 2];
    let mut pending: Option<Pending> = None;
    let mut current = 0;
    let mut product = |left: &mut Vec<Line>| {
        for k0 in (0..steps).step_by(block::<R>(steps)) {
            let ks = block::<R>(steps).min(steps - k0);
            let units = &layout.units()[k0 * UNITS..][..ks * UNITS];
            let panels_len = if direct { 0 } else { places.len().div_ceil(mr) * ks * tiles };
            let left = lines(left, panels_len);
            for (piece, panel) in pieces.iter().zip(left.chunks_exact_mut(ks * tiles)) {
                match whole {
                    true => R::copy(bytemuck::cast_slice(held), &places[piece.clone()], units, panel),
                    false => R::gather(held, &places[piece.clone()], units, panel),
                }
            }
            let held: &[Line] = bytemuck::cast_slice(held);
            let mut from = [std::ptr::null(); BLOCK];
            let (stride, plane) = if direct { (apart * size_of::<R>(), 64) } else { (64, 64 * TILE) };
            for n in channels.clone().step_by(SIDE) {
                let cols = SIDE.min(channels.end - n);
                let right = &panels[(k0 * count + n / SIDE * ks) * tiles..][..ks * tiles];
                // Where one panel of places is, there is no time to read ahead.
                let ahead = if places.len() > mr { right.len() } else { 0 };
                let next = right.as_ptr().wrapping_add(ahead);
                for (m, piece) in pieces.iter().enumerate() {
                    for (step, from) in from.iter_mut().enumerate().take(ks) {
                        *from = if direct {
                            let first = places[piece.start] + units[step * UNITS];
                            let len = (mr - 1) * apart + STEP;
                            held[first / STEP * size_of::<R>()..][..len / STEP * size_of::<R>()].as_ptr()
                        } else {
                            left[(m * ks + step) * tiles..][..tiles].as_ptr()
                        };
                    }
                    let left = Left { steps: &from[..ks], stride, plane };
                    // SAFETY: `with` configures tiles of `mr` rows; a panel has 16, and the input as many (sliced above).
                    unsafe { R::sums(left, right, next.wrapping_add(m.min(4) * 16 * ks), &mut sums[current]) };
                    let place = (at.0 + piece.start, piece.len());
                    let next = Pending { place, channel: (n, cols), turned, add: k0 > 0 };
                    if let Some(before) = pending.replace(next) {
                        before.finish(&sums[1 - current], out);
                    }
                    current = 1 - current;
                }
            }
        }
        if let Some(last) = pending.take() {
            last.finish(&sums[1 - current], out);
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

    const DIRECT: bool = true;

    unsafe fn sums(left: Left, right: &[Line], next: *const Line, sums: &mut [Line]) {
        assert!(!left.steps.is_empty() && right.len() >= left.steps.len() * 4 * TILE && sums.len() >= 4 * TILE);
        // SAFETY: lengths asserted, the rest as the caller promises; a hint reads nothing.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "2:",
                // Tiles 4, 5, 6 hold planes 0, 1, 2 of the right operand, tile 7 those of the left one in turn.
                "mov {at}, [{left}]",
                "lea {at}, [{at} + {plane} * 2]",
                "add {at}, {plane}",
                "tileloadd tmm4, [{right} + {line}]",
                "tileloadd tmm5, [{right} + {line} + 1024]",
                "tileloadd tmm6, [{right} + {line} + 2048]",
                "tileloadd tmm7, [{at} + {stride}]",
                "sub {at}, {plane}",
                "tdpbuud tmm3, tmm7, tmm4",
                "prefetcht0 [{next}]",
                "prefetcht0 [{next} + 64]",
                "tileloadd tmm7, [{at} + {stride}]",
                "sub {at}, {plane}",
                "tdpbuud tmm2, tmm7, tmm4",
                "prefetcht0 [{next} + 128]",
                "prefetcht0 [{next} + 192]",
                "tdpbuud tmm3, tmm7, tmm5",
                "prefetcht0 [{next} + 256]",
                "prefetcht0 [{next} + 320]",
                "tileloadd tmm7, [{at} + {stride}]",
                "sub {at}, {plane}",
                "tdpbuud tmm1, tmm7, tmm4",
                "prefetcht0 [{next} + 384]",
                "prefetcht0 [{next} + 448]",
                "tdpbuud tmm2, tmm7, tmm5",
                "prefetcht0 [{next} + 512]",
                "prefetcht0 [{next} + 576]",
                "tdpbuud tmm3, tmm7, tmm6",
                "prefetcht0 [{next} + 640]",
                "prefetcht0 [{next} + 704]",
                "tileloadd tmm7, [{at} + {stride}]",
                "tdpbuud tmm0, tmm7, tmm4",
                "prefetcht0 [{next} + 768]",
                "tileloadd tmm4, [{right} + {line} + 3072]",
                "tdpbuud tmm1, tmm7, tmm5",
                "prefetcht0 [{next} + 832]",
                "tdpbuud tmm2, tmm7, tmm6",
                "prefetcht0 [{next} + 896]",
                "tdpbuud tmm3, tmm7, tmm4",
                "prefetcht0 [{next} + 960]",
                "add {left}, 8",
                "add {right}, 4096",
                "add {next}, 1024",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 1024], tmm1",
                "tilestored [{sums} + {line} + 2048], tmm2",
                "tilestored [{sums} + {line} + 3072], tmm3",
                at = out(reg) _,
                left = inout(reg) left.steps.as_ptr() => _,
                stride = in(reg) left.stride,
                plane = in(reg) left.plane,
                right = inout(reg) right.as_ptr() => _,
                next = inout(reg) next => _,
                steps = inout(reg) left.steps.len() => _,
                sums = in(reg) sums.as_mut_ptr(),
                line = in(reg) 64usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    unsafe fn finish(sums: &[Line], place: &Place<u32>) {
        #[target_feature(enable = "avx512f")]
        unsafe fn inner(sums: &[Line; 4 * TILE], place: &Place<u32>) {
            let mut rows = [_mm512_setzero_si512(); SIDE];
            for (i, v) in rows.iter_mut().enumerate() {
                let sum = |weight: usize| load(&sums[weight * TILE + i].0);
                let low = _mm512_add_epi32(sum(0), _mm512_slli_epi32::<8>(sum(1)));
                let high = _mm512_add_epi32(_mm512_slli_epi32::<16>(sum(2)), _mm512_slli_epi32::<24>(sum(3)));
                *v = _mm512_add_epi32(low, high);
            }
            let (rows, count, width) = match place.turned {
                true => (rows, place.rows, place.cols),
                false => (transpose_u32(rows), place.cols, place.rows),
            };
            let mask = 0xffff >> (SIDE - width);
            for (i, v) in rows.into_iter().enumerate().take(count) {
                // SAFETY: as the caller promises.
                unsafe {
                    let out = place.out.add(i * place.stride).cast();
                    let before = if place.add { _mm512_maskz_loadu_epi32(mask, out) } else { _mm512_setzero_si512() };
                    _mm512_mask_storeu_epi32(out, mask, _mm512_add_epi32(before, v));
                }
            }
        }
        assert!(place.rows <= SIDE && place.cols <= SIDE);
        let sums = sums.first_chunk().expect("four tiles");
        // SAFETY: as the caller promises; AVX-512 was asked for before this kernel was chosen.
        unsafe { inner(sums, place) }
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

    const DIRECT: bool = false;

    unsafe fn sums(left: Left, right: &[Line], _: *const Line, sums: &mut [Line]) {
        let steps = left.steps.len();
        assert!(steps > 0 && right.len() >= steps * 8 * TILE && sums.len() >= 8 * TILE);
        // SAFETY: lengths asserted; the steps of a panel follow each other, the rest as the caller promises.
        unsafe { sums_u64(steps, left.steps[0], right.as_ptr(), sums.as_mut_ptr()) }
    }

    unsafe fn finish(sums: &[Line], place: &Place<u64>) {
        #[target_feature(enable = "avx512f")]
        unsafe fn inner(tile: &[[u64; 8]; 2 * SIDE], place: &Place<u64>) {
            let (count, width) = if place.turned { (place.rows, place.cols) } else { (place.cols, place.rows) };
            // Blocks of 8 x 8 of the tile as it goes out.
            for (i, j) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
                if i >= count || j >= width {
                    continue;
                }
                let (row, half) = if place.turned { (i, j / 8) } else { (j, i / 8) };
                let mut block = [_mm512_setzero_si512(); 8];
                for (l, v) in block.iter_mut().enumerate() {
                    // SAFETY: eight words are 64 bytes.
                    *v = unsafe { _mm512_loadu_si512(tile[2 * (row + l) + half].as_ptr().cast()) };
                }
                let block = if place.turned { block } else { transpose(block) };
                let mask = 0xff >> (8 - (width - j).min(8));
                for (l, v) in block.into_iter().enumerate().take(count - i) {
                    // SAFETY: as the caller promises.
                    unsafe {
                        let out = place.out.add((i + l) * place.stride + j).cast();
                        let before =
                            if place.add { _mm512_maskz_loadu_epi64(mask, out) } else { _mm512_setzero_si512() };
                        _mm512_mask_storeu_epi64(out, mask, _mm512_add_epi64(before, v));
                    }
                }
            }
        }
        assert!(sums.len() >= 8 * TILE && place.rows <= SIDE && place.cols <= SIDE);
        let mut tile = [[0; 8]; 2 * SIDE];
        // SAFETY: as the caller promises; AVX-512 was asked for before this kernel was chosen.
        unsafe {
            join_u64(sums.as_ptr(), place.rows, tile.as_flattened_mut());
            inner(&tile, place);
        }
    }
}

/// Copies steps that `split` made into a panel.
fn copy<const PLANES: usize>(held: &[Line], places: &[usize], units: &[usize], panel: &mut [Line]) {
    #[target_feature(enable = "avx512f")]
    fn inner<const PLANES: usize>(held: &[Line], places: &[usize], units: &[usize], panel: &mut [Line]) {
        for (units, tiles) in units.as_chunks::<UNITS>().0.iter().zip(panel.chunks_exact_mut(PLANES * TILE)) {
            for (i, place) in places.iter().enumerate() {
                let from = &held[(place + units[0]) / STEP * PLANES..][..PLANES];
                for (plane, from) in from.iter().enumerate() {
                    store(&mut tiles[plane * TILE + i], load(&from.0));
                }
            }
        }
    }
    // SAFETY: AVX-512 was asked for before this kernel was chosen.
    unsafe { inner::<PLANES>(held, places, units, panel) }
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
        let mut rows = [_mm512_setzero_si512(); TILE];
        for (v, line) in rows.iter_mut().zip(&*tile) {
            *v = load(&line.0);
        }
        for (line, v) in tile.iter_mut().zip(transpose_u32(rows)) {
            store(line, v);
        }
    }
}

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

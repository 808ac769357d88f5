//! The steps of `super` for elements of four and of eight byte planes.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{Left, Next, Place, Planes};
use crate::product::amx::pack::{
    eight, pack_left_u32, pack_left_u64, planes_u32, sixteen, store, transpose, transpose_u32,
};
use crate::product::amx::{SIDE, STEP, TILE, join_u64, load, sums_u64};
use crate::product::layout::{UNIT, UNITS};
use crate::product::micro::Line;

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

    unsafe fn sums(left: Left, right: &[Line], next: Next, sums: &mut [Line]) {
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
                "add {next}, {apart}",
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
                next = inout(reg) next.0 => _,
                apart = in(reg) next.1,
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

    unsafe fn sums(left: Left, right: &[Line], _: Next, sums: &mut [Line]) {
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

//! The micro-kernel in plain Rust: the meaning of all others.

use super::micro::{Line, Micro, STRIP, Strip};
use crate::Ring;

/// Tiles of 4 x 8, panels of plain elements.
pub struct Portable;

const MR: usize = 4;
const NR: usize = 8;

impl<R: Ring> Micro<R> for Portable {
    const MR: usize = MR;
    const NR: usize = NR;
    const KU: usize = 1;
    const KC: usize = 256;
    const LEFT: usize = MR * size_of::<R>();
    const RIGHT: usize = NR * size_of::<R>();

    fn pack_left(src: &[R], stride: usize, rows: usize, k: usize, padded: usize, panel: &mut [Line]) {
        pack_left_rows(src, stride, rows, k, padded, MR, panel);
    }

    fn pack_right(strip: &Strip<R>, panels: &mut [Line], panel: usize) {
        pack_right_plain::<R, NR>(strip, panels, panel);
    }

    fn tile(padded: usize, _size: (usize, usize), left: &[Line], right: &[Line], tile: &mut [R]) {
        let left: &[R] = bytemuck::cast_slice(left);
        let right: &[R] = bytemuck::cast_slice(right);
        let rows: [&[R]; MR] = std::array::from_fn(|i| &left[i * padded..][..padded]);
        let mut sum = [[R::ZERO; NR]; MR];
        for (k, b) in right.as_chunks::<NR>().0.iter().take(padded).enumerate() {
            for (row, a) in sum.iter_mut().zip(&rows) {
                for (s, b) in row.iter_mut().zip(b) {
                    *s = s.add(a[k].mul(*b));
                }
            }
        }
        tile.copy_from_slice(sum.as_flattened());
    }
}

/// Left panel of `mr` rows of `padded` elements, one after the other.
#[inline(always)]
pub fn pack_left_rows<R: Ring>(
    src: &[R],
    stride: usize,
    rows: usize,
    k: usize,
    padded: usize,
    mr: usize,
    panel: &mut [Line],
) {
    let panel: &mut [R] = bytemuck::cast_slice_mut(panel);
    for (i, line) in panel.chunks_exact_mut(padded).take(mr).enumerate() {
        if i < rows {
            line[..k].copy_from_slice(&src[i * stride..][..k]);
            line[k..].fill(R::ZERO);
        } else {
            line.fill(R::ZERO);
        }
    }
}

/// Right panels of plain elements: `NR` for each k.
#[inline(always)]
pub fn pack_right_plain<R: Ring, const NR: usize>(strip: &Strip<R>, panels: &mut [Line], panel: usize) {
    let (at, end) = (strip.at, strip.padded.min(strip.at + STRIP));
    for (from, panel) in (0..strip.cols).step_by(NR).zip(panels.chunks_exact_mut(panel)) {
        let places = &mut bytemuck::cast_slice_mut::<_, R>(panel).as_chunks_mut::<NR>().0[at..end];
        for (i, place) in places.iter_mut().enumerate() {
            let row = strip.row(i, from);
            match row.first_chunk::<NR>() {
                Some(whole) => *place = *whole,
                None => {
                    place[..row.len()].copy_from_slice(row);
                    place[row.len()..].fill(R::ZERO);
                }
            }
        }
    }
}

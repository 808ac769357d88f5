//! The micro-kernel in plain Rust: the meaning of all others.

use super::blocked::{Line, Micro};
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

    fn pack_left(
        src: &[R],
        stride: usize,
        rows: usize,
        k: usize,
        _padded: usize,
        panel: &mut [Line],
    ) {
        pack_left_plain(src, stride, rows, k, MR, panel);
    }

    fn pack_right(
        src: &[R],
        stride: usize,
        at: usize,
        cols: usize,
        padded: usize,
        panels: &mut [Line],
        panel: usize,
    ) {
        pack_right_plain::<R, NR>(src, stride, at, cols, padded, panels, panel);
    }

    fn tile(padded: usize, left: &[Line], right: &[Line], tile: &mut [R]) {
        let left: &[R] = bytemuck::cast_slice(left);
        let right: &[R] = bytemuck::cast_slice(right);
        let mut sum = [[R::ZERO; NR]; MR];
        for (a, b) in left
            .as_chunks::<MR>()
            .0
            .iter()
            .zip(right.as_chunks::<NR>().0)
            .take(padded)
        {
            for (row, a) in sum.iter_mut().zip(a) {
                for (s, b) in row.iter_mut().zip(b) {
                    *s = s.add(a.mul(*b));
                }
            }
        }
        tile.copy_from_slice(sum.as_flattened());
    }
}

/// Left panel of plain elements: `mr` for each k.
#[inline(always)]
pub fn pack_left_plain<R: Ring>(
    src: &[R],
    stride: usize,
    rows: usize,
    k: usize,
    mr: usize,
    panel: &mut [Line],
) {
    let panel: &mut [R] = bytemuck::cast_slice_mut(panel);
    for i in 0..mr {
        if i < rows {
            let row = &src[i * stride..][..k];
            for (out, v) in panel[i..].iter_mut().step_by(mr).zip(row) {
                *out = *v;
            }
        } else {
            panel[i..]
                .iter_mut()
                .step_by(mr)
                .take(k)
                .for_each(|out| *out = R::ZERO);
        }
    }
}

/// Right panels of plain elements: `NR` for each k.
#[inline(always)]
pub fn pack_right_plain<R: Ring, const NR: usize>(
    src: &[R],
    stride: usize,
    at: usize,
    cols: usize,
    padded: usize,
    panels: &mut [Line],
    panel: usize,
) {
    let rows = super::blocked::STRIP.min(padded - at);
    let panels: &mut [R] = bytemuck::cast_slice_mut(panels);
    let panel = panel * 64 / size_of::<R>();
    for i in 0..rows {
        let row = &src[i * stride..][..cols];
        let (whole, rest) = row.as_chunks::<NR>();
        let mut place = (at + i) * NR;
        for chunk in whole {
            panels[place..place + NR].copy_from_slice(chunk);
            place += panel;
        }
        if !rest.is_empty() {
            panels[place..place + rest.len()].copy_from_slice(rest);
            panels[place + rest.len()..place + NR].fill(R::ZERO);
        }
    }
}

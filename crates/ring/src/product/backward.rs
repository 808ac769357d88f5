//! Convolutions backwards: the gradient of the input and that of the weights, on the products of `conv` and `blocked`.

use super::conv::{Im2col, conv2d};
use super::{Matrix, matmul_add};
use crate::{ConvShape, Ring};

/// Bytes of intermediate columns that are held at once, if one item has no more: what stays near a core.
const COLUMNS: usize = 1 << 20;
/// Outputs below which the transpose of a gradient of weights is computed (`examples/products training`).
const TURNED: usize = 128;

/// The gradient of the input: `gradient` is items x O x Ho x Wo, `out` items x C x H x W and is overwritten.
pub fn inputs<R: Ring>(shape: &ConvShape, items: usize, gradient: &[R], weights: &[R], out: &mut [R]) {
    match flipped(shape) {
        Some(back) => conv2d(&back, items, &flip(shape, weights), gradient, out),
        None => by_columns(shape, items, gradient, weights, out),
    }
}

/// At stride 1 the gradient of the input is a convolution of that of the output, by weights turned around.
fn flipped(shape: &ConvShape) -> Option<ConvShape> {
    let reach = [0, 1].map(|axis| (shape.kernel[axis] - 1) * shape.dilation[axis]);
    let [top, left, bottom, right] = shape.pads;
    let before = [reach[0].checked_sub(top)?, reach[1].checked_sub(left)?];
    let after = [reach[0].checked_sub(bottom)?, reach[1].checked_sub(right)?];
    let back = ConvShape {
        in_channels: shape.out_channels,
        in_height: shape.out_height(),
        in_width: shape.out_width(),
        out_channels: shape.in_channels,
        pads: [before[0], before[1], after[0], after[1]],
        ..shape.clone()
    };
    // Places outside the gradient are multiplied too: with few inside, columns cost less.
    let worth = 2 * shape.multiply_adds() >= back.multiply_adds();
    (shape.stride == [1, 1] && worth).then_some(back)
}

/// Weights O x C/g x kh x kw as those of the convolution backwards, C x O/g x kh x kw, each kernel turned around.
fn flip<R: Ring>(shape: &ConvShape, weights: &[R]) -> Vec<R> {
    let area = shape.kernel[0] * shape.kernel[1];
    let (outputs, inputs) = (shape.out_channels / shape.groups, shape.in_channels / shape.groups);
    let mut out = Vec::with_capacity(weights.len());
    for group in weights.chunks_exact(outputs * inputs * area) {
        for input in 0..inputs {
            for output in 0..outputs {
                let kernel = &group[(output * inputs + input) * area..][..area];
                out.extend(kernel.iter().rev());
            }
        }
    }
    out
}

/// Columns of a few items at a time, as a convolution with kernels of one element, added up where windows overlap.
fn by_columns<R: Ring>(shape: &ConvShape, items: usize, gradient: &[R], weights: &[R], out: &mut [R]) {
    let (depth, outputs) = (shape.depth(), shape.out_channels / shape.groups);
    let places = shape.out_height() * shape.out_width();
    let columns = ConvShape {
        in_channels: shape.out_channels,
        in_height: shape.out_height(),
        in_width: shape.out_width(),
        out_channels: shape.groups * depth,
        kernel: [1; 2],
        stride: [1; 2],
        pads: [0; 4],
        dilation: [1; 2],
        groups: shape.groups,
    };
    let mut turned = Vec::with_capacity(weights.len());
    for group in weights.chunks_exact(outputs * depth) {
        (0..depth).for_each(|row| turned.extend(group.iter().skip(row).step_by(depth)));
    }
    let item = columns.out_len();
    let together = (COLUMNS / (item * size_of::<R>()).max(1)).clamp(1, items.max(1));
    let mut held = vec![R::ZERO; together * item];
    out.fill(R::ZERO);
    let parts = gradient.chunks(together * shape.out_len()).zip(out.chunks_mut(together * shape.in_len()));
    for (gradient, out) in parts {
        let items = gradient.len() / shape.out_len();
        let held = &mut held[..items * item];
        conv2d(&columns, items, &turned, gradient, held);
        for (held, out) in held.chunks_exact(item).zip(out.chunks_exact_mut(shape.in_len())) {
            for (row, held) in held.chunks_exact(places).enumerate() {
                add_row(shape, row, held, out);
            }
        }
    }
}

/// Adds row `row` = (channel, ky, kx) of one item's columns to the elements that they were taken from.
fn add_row<R: Ring>(s: &ConvShape, row: usize, held: &[R], out: &mut [R]) {
    let area = s.kernel[0] * s.kernel[1];
    let (channel, ky, kx) = (row / area, row % area / s.kernel[1], row % s.kernel[1]);
    let (down, right) = (ky * s.dilation[0], kx * s.dilation[1]);
    let width = s.out_width();
    // Output columns whose input column exists.
    let first = s.pads[1].saturating_sub(right).div_ceil(s.stride[1]).min(width);
    let reach = (s.in_width + s.pads[1]).saturating_sub(right).div_ceil(s.stride[1]).clamp(first, width);
    if first == reach {
        return;
    }
    let plane = &mut out[channel * s.in_height * s.in_width..][..s.in_height * s.in_width];
    for (oy, held) in held.chunks_exact(width).enumerate() {
        let y = (oy * s.stride[0] + down).wrapping_sub(s.pads[0]);
        if y >= s.in_height {
            continue;
        }
        let line = &mut plane[y * s.in_width..][..s.in_width][first * s.stride[1] + right - s.pads[1]..];
        let held = &held[first..reach];
        if s.stride[1] == 1 {
            line.iter_mut().zip(held).for_each(|(out, x)| *out = out.add(*x));
        } else {
            line.iter_mut().step_by(s.stride[1]).zip(held).for_each(|(out, x)| *out = out.add(*x));
        }
    }
}

/// The gradient of the weights, summed over the items: `gradient` is items x O x Ho x Wo, `x` items x C x H x W, `out` O x C/g x kh x kw
/// and is overwritten. One product over all places of all items, a bounded number of them at a time.
pub fn weights<R: Ring>(shape: &ConvShape, items: usize, gradient: &[R], x: &[R], out: &mut [R]) {
    shape.validate().unwrap_or_else(|error| panic!("{error}"));
    let (depth, outputs) = (shape.depth(), shape.out_channels / shape.groups);
    let places = shape.out_height() * shape.out_width();
    let all = items * places;
    let together = (COLUMNS / size_of::<R>() / depth).clamp(64, all.max(64));
    let mut columns = vec![R::ZERO; depth * together.min(all)];
    let mut rows = vec![R::ZERO; outputs * together.min(all)];
    // With few outputs the transpose is computed: the many columns are then read as they lie.
    let turned = outputs < TURNED;
    let mut sum = vec![R::ZERO; if turned { depth * outputs } else { 0 }];
    for (group, out) in out.chunks_exact_mut(outputs * depth).enumerate() {
        let source = Im2col::new(shape, x, group);
        if turned { &mut sum[..] } else { &mut *out }.fill(R::ZERO);
        for from in (0..all).step_by(together) {
            let count = together.min(all - from);
            let (columns, rows) = (&mut columns[..depth * count], &mut rows[..outputs * count]);
            for (row, columns) in columns.chunks_exact_mut(count).enumerate() {
                source.row(row, from, columns);
            }
            for (output, rows) in rows.chunks_exact_mut(count).enumerate() {
                places_of(gradient, (group * outputs + output) * places, places, shape.out_len(), from, rows);
            }
            let (columns, rows) = (Matrix::new(columns, depth, count), Matrix::new(rows, outputs, count));
            if turned {
                matmul_add(columns, rows.transposed(), &mut sum);
            } else {
                matmul_add(rows, columns.transposed(), out);
            }
        }
        for (output, out) in out.chunks_exact_mut(depth).enumerate().filter(|_| turned) {
            out.iter_mut().zip(sum.iter().skip(output).step_by(outputs)).for_each(|(out, sum)| *out = *sum);
        }
    }
}

/// Places from `from` on, over all items, of the plane that begins at `plane` of each item.
fn places_of<R: Ring>(x: &[R], plane: usize, places: usize, item: usize, from: usize, mut out: &mut [R]) {
    let (mut number, mut inside) = (from / places, from % places);
    while !out.is_empty() {
        let run = out.len().min(places - inside);
        let (now, later) = out.split_at_mut(run);
        now.copy_from_slice(&x[number * item + plane + inside..][..run]);
        (out, number, inside) = (later, number + 1, 0);
    }
}

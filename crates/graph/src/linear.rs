//! Dense layers and convolutions over floats, as matrix products.

use ariann_ring::ConvShape;
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, LinalgScalar};

use crate::graph::Op;

/// Output of a linear layer for `items` items: `out` = W·x + b. `weights` lie as in the layer.
pub(crate) fn apply<T: LinalgScalar>(op: &Op, items: usize, weights: &[T], bias: Option<&[T]>, x: &[T], out: &mut [T]) {
    match op {
        Op::Dense(dense) => {
            let &[outputs, inputs] = dense.weights.shape() else { unreachable!("dense weights have two axes") };
            fill_bias(out, outputs, 1, bias);
            let weights = matrix(weights, outputs, inputs);
            product(matrix(x, items, inputs), weights.t(), matrix_mut(out, items, outputs));
        }
        Op::Conv(conv) => {
            let shape = &conv.shape;
            fill_bias(out, shape.out_channels, shape.out_height() * shape.out_width(), bias);
            convolve(shape, weights, x, out);
        }
        _ => unreachable!("the layer has no weights"),
    }
}

fn convolve<T: LinalgScalar>(shape: &ConvShape, weights: &[T], x: &[T], out: &mut [T]) {
    let places = shape.out_height() * shape.out_width();
    let group_in = shape.in_channels / shape.groups;
    let group_out = shape.out_channels / shape.groups;
    if group_in == 1 && group_out == 1 {
        return depthwise(shape, weights, x, out);
    }
    let taps = group_in * shape.kernel[0] * shape.kernel[1];
    let pointwise = shape.kernel == [1, 1] && shape.stride == [1, 1] && shape.pads == [0; 4];
    let mut columns = vec![T::zero(); if pointwise { 0 } else { taps * places }];
    let inputs = x.chunks_exact(group_in * shape.in_height * shape.in_width);
    for (index, (x, out)) in inputs.zip(out.chunks_exact_mut(group_out * places)).enumerate() {
        let group = index % shape.groups;
        let columns = if pointwise {
            x
        } else {
            im2col(shape, x, &mut columns);
            &columns
        };
        let weights = &weights[group * group_out * taps..][..group_out * taps];
        let columns = matrix(columns, taps, places);
        product(matrix(weights, group_out, taps), columns, matrix_mut(out, group_out, places));
    }
}

/// One kernel a channel: sums of shifted rows.
fn depthwise<T: LinalgScalar>(shape: &ConvShape, weights: &[T], x: &[T], out: &mut [T]) {
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let taps = shape.kernel[0] * shape.kernel[1];
    let planes = x.chunks_exact(shape.in_height * shape.in_width);
    for (index, (plane, out)) in planes.zip(out.chunks_exact_mut(out_height * out_width)).enumerate() {
        let kernel = &weights[index % shape.groups * taps..][..taps];
        for (out_y, row) in out.chunks_exact_mut(out_width).enumerate() {
            for (tap, &weight) in kernel.iter().enumerate() {
                let (tap_y, tap_x) = (tap / shape.kernel[1], tap % shape.kernel[1]);
                let y = (out_y * shape.stride[0] + tap_y * shape.dilation[0]).checked_sub(shape.pads[0]);
                let Some(y) = y.filter(|&y| y < shape.in_height) else { continue };
                let line = &plane[y * shape.in_width..][..shape.in_width];
                add_row(line, row, weight, shape.stride[1], tap_x * shape.dilation[1], shape.pads[1]);
            }
        }
    }
}

/// Places of a row of windows that one tap finds inside the image.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// The first window.
    pub first: usize,
    /// The one after the last window.
    pub end: usize,
    /// What the first one reads.
    pub input: usize,
    pub stride: usize,
}

impl Span {
    /// Of `windows` windows on `size` places, for the tap at `offset`.
    pub fn new(windows: usize, size: usize, stride: usize, offset: usize, pad: usize) -> Self {
        let first = pad.saturating_sub(offset).div_ceil(stride).min(windows);
        let end = (size + pad).saturating_sub(offset).div_ceil(stride).clamp(first, windows);
        let input = (first * stride + offset).saturating_sub(pad);
        Span { first, end, input, stride }
    }

    /// Each window and what it reads.
    pub fn pairs(self) -> impl Iterator<Item = (usize, usize)> {
        (self.first..self.end).map(move |window| (window, self.input + (window - self.first) * self.stride))
    }
}

/// `row[i]` += `weight` · `line[i * stride + offset - pad]` where that is inside.
fn add_row<T: LinalgScalar>(line: &[T], row: &mut [T], weight: T, stride: usize, offset: usize, pad: usize) {
    let Span { first, end, input, .. } = Span::new(row.len(), line.len(), stride, offset, pad);
    if first == end {
        return;
    }
    let line = &line[input..];
    if stride == 1 {
        row[first..end].iter_mut().zip(line).for_each(|(out, &x)| *out = *out + weight * x);
    } else {
        row[first..end].iter_mut().zip(line.iter().step_by(stride)).for_each(|(out, &x)| *out = *out + weight * x);
    }
}

/// Lays out what each output place reads: one row for a channel and tap, one column for a place.
pub(crate) fn im2col<T: LinalgScalar>(shape: &ConvShape, x: &[T], columns: &mut [T]) {
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let [kernel_height, kernel_width] = shape.kernel;
    let mut rows = columns.chunks_exact_mut(out_width);
    for plane in x.chunks_exact(shape.in_height * shape.in_width) {
        for tap_y in 0..kernel_height {
            for tap_x in 0..kernel_width {
                for (out_y, row) in (0..out_height).zip(&mut rows) {
                    let y = out_y * shape.stride[0] + tap_y * shape.dilation[0];
                    let y = y.checked_sub(shape.pads[0]).filter(|&y| y < shape.in_height);
                    let line = y.map_or(&[][..], |y| &plane[y * shape.in_width..][..shape.in_width]);
                    copy_row(line, row, shape.stride[1], tap_x * shape.dilation[1], shape.pads[1]);
                }
            }
        }
    }
}

/// `row[i]` = `line[i * stride + offset - pad]`, zero outside.
fn copy_row<T: LinalgScalar>(line: &[T], row: &mut [T], stride: usize, offset: usize, pad: usize) {
    if stride == 1 && offset >= pad && line.len() >= offset - pad + row.len() {
        row.copy_from_slice(&line[offset - pad..][..row.len()]);
        return;
    }
    for (index, place) in row.iter_mut().enumerate() {
        let x = (index * stride + offset).checked_sub(pad);
        *place = x.and_then(|x| line.get(x)).copied().unwrap_or_else(T::zero);
    }
}

/// One value a channel or one a place, for each item.
fn fill_bias<T: LinalgScalar>(out: &mut [T], channels: usize, places: usize, bias: Option<&[T]>) {
    let Some(bias) = bias else {
        return out.fill(T::zero());
    };
    if bias.len() == channels * places {
        return out.chunks_exact_mut(bias.len()).for_each(|item| item.copy_from_slice(bias));
    }
    for (index, plane) in out.chunks_exact_mut(places).enumerate() {
        plane.fill(bias[index % channels]);
    }
}

/// `out` += `a` · `b`.
pub(crate) fn product<T: LinalgScalar>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, mut out: ArrayViewMut2<'_, T>) {
    general_mat_mul(T::one(), &a, &b, T::one(), &mut out);
}

pub(crate) fn matrix<T>(data: &[T], rows: usize, columns: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), data).expect("lengths follow from the layer's shape")
}

pub(crate) fn matrix_mut<T>(data: &mut [T], rows: usize, columns: usize) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, columns), data).expect("lengths follow from the layer's shape")
}

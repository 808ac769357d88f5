//! Sums and products of a step over floats.

use ariann_ring::{Axes, Bilinear, ConvShape, LinearShape};
use ndarray::LinalgScalar;
use rayon::prelude::*;

use crate::linear::{Span, im2col, matrix, matrix_mut, product};

/// `f32`, and `f64` for tests of derivatives.
pub(super) trait Real: LinalgScalar + PartialOrd + Send + Sync + std::ops::AddAssign {
    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn wide(self) -> f64 {
        self.into()
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn wide(self) -> f64 {
        self
    }
}

/// Columns of a product at least, so that packing the weights is not what it costs.
const COLUMNS: usize = 256;

/// Values of laid out inputs at most, but for a single item's.
const LAID_OUT: usize = 1 << 18;

/// Sums of gradients of weights that are made side by side. A fixed number: sums do not depend on the number of threads.
const PARTS: usize = 4;

/// Sum of `f(i)` for `i` below `len`: blocks of eight lanes, summed in `f64`.
fn sum<T: Real>(len: usize, f: impl Fn(usize) -> T) -> f64 {
    let mut total = 0.0;
    for block in (0..len).step_by(4096) {
        let end = len.min(block + 4096);
        let mut lanes = [T::zero(); 8];
        let whole = (end - block) / 8;
        for row in 0..whole {
            (0..8).for_each(|lane| lanes[lane] += f(block + 8 * row + lane));
        }
        total += (block + 8 * whole..end).map(|i| f(i).wide()).sum::<f64>();
        total += lanes.iter().map(|lane| lane.wide()).sum::<f64>();
    }
    total
}

/// `out[c]` = sum over the outer and the inner axis.
pub(super) fn reduce<T: Real>(axes: Axes, x: &[T], out: &mut [T]) {
    sums(axes, out, |from| {
        let x = &x[from..from + axes.inner];
        sum(x.len(), |i| x[i])
    });
}

/// The same of products.
fn inner<T: Real>(axes: Axes, a: &[T], b: &[T], out: &mut [T]) {
    sums(axes, out, |from| {
        let (a, b) = (&a[from..from + axes.inner], &b[from..from + axes.inner]);
        sum(a.len().min(b.len()), |i| a[i] * b[i])
    });
}

/// Sums of rows, where `row` sums the one that begins at an element.
fn sums<T: Real>(axes: Axes, out: &mut [T], row: impl Fn(usize) -> f64) {
    let mut totals = vec![0.0; axes.kept];
    for outer in 0..axes.outer {
        let rows = totals.iter_mut().enumerate();
        rows.for_each(|(kept, total)| *total += row((outer * axes.kept + kept) * axes.inner));
    }
    out.iter_mut().zip(totals).for_each(|(out, total)| *out = T::of(total));
}

/// `set(element, values[c])` for each element.
pub(super) fn by_channel<T: Real>(axes: Axes, values: &[T], out: &mut [T], set: impl Fn(usize, T) -> T) {
    if axes.inner == 1 {
        for (outer, row) in out.chunks_exact_mut(axes.kept.max(1)).enumerate() {
            let first = outer * axes.kept;
            row.iter_mut().zip(values).enumerate().for_each(|(i, (out, &value))| *out = set(first + i, value));
        }
        return;
    }
    for (index, row) in out.chunks_exact_mut(axes.inner.max(1)).enumerate() {
        let (first, value) = (index * axes.inner, values[index % axes.kept]);
        row.iter_mut().enumerate().for_each(|(i, out)| *out = set(first + i, value));
    }
}

/// A product of two tensors; `out` holds anything.
pub(super) fn bilinear<T: Real>(shape: &Bilinear, a: &[T], b: &[T], out: &mut [T]) {
    match shape {
        Bilinear::Channels(axes) => by_channel(*axes, b, out, |element, value| a[element] * value),
        Bilinear::Inner(axes) => inner(*axes, a, b, out),
        Bilinear::Forward { shape, .. } => match shape {
            LinearShape::Dense { inputs, outputs } => rows(out, *outputs, a, *inputs, |x, items, out| {
                product(matrix(x, items, *inputs), matrix(b, *outputs, *inputs).t(), matrix_mut(out, items, *outputs));
            }),
            LinearShape::Conv(shape) => conv(shape, a, b, out),
        },
        Bilinear::BackwardInput { shape, .. } => match shape {
            LinearShape::Dense { inputs, outputs } => rows(out, *inputs, a, *outputs, |d, items, out| {
                product(matrix(d, items, *outputs), matrix(b, *outputs, *inputs), matrix_mut(out, items, *inputs));
            }),
            LinearShape::Conv(shape) => conv_input(shape, a, b, out),
        },
        Bilinear::BackwardWeights { shape, items } => match shape {
            LinearShape::Dense { inputs, outputs } => {
                let (d, x) = (matrix(a, *items, *outputs), matrix(b, *items, *inputs));
                let each = outputs.div_ceil(rayon::current_num_threads()).max(32);
                out.par_chunks_mut(each * inputs).enumerate().for_each(|(chunk, out)| {
                    out.fill(T::zero());
                    let count = out.len() / inputs;
                    let columns = d.slice(ndarray::s![.., chunk * each..chunk * each + count]);
                    product(columns.t(), x, matrix_mut(out, count, *inputs));
                });
            }
            LinearShape::Conv(shape) => conv_weights(shape, a, b, out),
        },
    }
}

/// Items side by side in the threads of the pool.
fn rows<T: Real>(out: &mut [T], to: usize, x: &[T], from: usize, each: impl Fn(&[T], usize, &mut [T]) + Sync) {
    let items = out.len() / to.max(1);
    let chunk = items.div_ceil(rayon::current_num_threads()).max(16);
    out.par_chunks_mut(chunk * to).zip(x.par_chunks(chunk * from)).for_each(|(out, x)| {
        out.fill(T::zero());
        each(x, out.len() / to, out);
    });
}

/// Sizes of one group of a convolution.
struct Group {
    inputs: usize,
    outputs: usize,
    taps: usize,
    places: usize,
    /// Values of a group's input.
    image: usize,
    /// Items whose columns make one product.
    items: usize,
    depthwise: bool,
}

impl Group {
    fn new(shape: &ConvShape) -> Self {
        let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let taps = inputs * shape.kernel[0] * shape.kernel[1];
        let places = shape.out_height() * shape.out_width();
        let items = COLUMNS.div_ceil(places).min(LAID_OUT / (taps * places).max(1)).max(1);
        let image = inputs * shape.in_height * shape.in_width;
        Group { inputs, outputs, taps, places, image, items, depthwise: inputs == 1 && outputs == 1 }
    }
}

/// Working memory of a product of some items.
struct Work<T> {
    one: Vec<T>,
    columns: Vec<T>,
    values: Vec<T>,
}

impl<T: Real> Work<T> {
    fn new(group: &Group) -> Self {
        let several = group.items > 1;
        Work {
            one: vec![T::zero(); if several { group.taps * group.places } else { 0 }],
            columns: vec![T::zero(); group.taps * group.places * group.items],
            values: vec![T::zero(); if several { group.outputs * group.places * group.items } else { 0 }],
        }
    }

    /// What each output place of `items` items reads: a row for a tap, the items' places side by side.
    fn lay_out(&mut self, shape: &ConvShape, group: &Group, number: usize, x: &[T], items: usize) -> &[T] {
        if items == 1 {
            im2col(shape, &x[number * group.image..][..group.image], &mut self.columns[..group.taps * group.places]);
            return &self.columns[..group.taps * group.places];
        }
        for item in 0..items {
            im2col(shape, &x[item * shape.in_len() + number * group.image..][..group.image], &mut self.one);
            join(&self.one, group.places, items, item, &mut self.columns);
        }
        &self.columns[..group.taps * group.places * items]
    }
}

/// Rows of one item among rows of several.
fn join<T: Copy>(one: &[T], places: usize, items: usize, item: usize, all: &mut [T]) {
    for (row, all) in one.chunks_exact(places).zip(all.chunks_exact_mut(places * items)) {
        all[item * places..][..places].copy_from_slice(row);
    }
}

/// One item's rows of several items' rows.
fn part<T: Copy>(all: &[T], places: usize, items: usize, item: usize, one: &mut [T]) {
    for (row, all) in one.chunks_exact_mut(places).zip(all.chunks_exact(places * items)) {
        row.copy_from_slice(&all[item * places..][..places]);
    }
}

fn conv<T: Real>(shape: &ConvShape, x: &[T], weights: &[T], out: &mut [T]) {
    let group = Group::new(shape);
    let chunks = out.par_chunks_mut(group.items * shape.out_len()).zip(x.par_chunks(group.items * shape.in_len()));
    chunks.for_each_init(
        || Work::new(&group),
        |work, (out, x)| {
            let items = out.len() / shape.out_len();
            out.fill(T::zero());
            for number in 0..shape.groups {
                let weights = &weights[number * group.outputs * group.taps..][..group.outputs * group.taps];
                let values = number * group.outputs * group.places..(number + 1) * group.outputs * group.places;
                if group.depthwise {
                    for (x, out) in x.chunks_exact(shape.in_len()).zip(out.chunks_exact_mut(shape.out_len())) {
                        let out = &mut out[values.clone()];
                        tap_by_tap(shape, |tap, line, row, span| {
                            let line = &x[number * group.image + line..];
                            span.pairs().for_each(|(o, i)| out[row + o] += weights[tap] * line[i]);
                        });
                    }
                    continue;
                }
                let left = matrix(weights, group.outputs, group.taps);
                work.lay_out(shape, &group, number, x, items);
                let columns =
                    matrix(&work.columns[..group.taps * group.places * items], group.taps, group.places * items);
                if items == 1 {
                    product(left, columns, matrix_mut(&mut out[values], group.outputs, group.places));
                    continue;
                }
                let all = &mut work.values[..group.outputs * group.places * items];
                all.fill(T::zero());
                product(left, columns, matrix_mut(all, group.outputs, group.places * items));
                for (item, out) in out.chunks_exact_mut(shape.out_len()).enumerate() {
                    part(all, group.places, items, item, &mut out[values.clone()]);
                }
            }
        },
    );
}

fn conv_input<T: Real>(shape: &ConvShape, d: &[T], weights: &[T], out: &mut [T]) {
    let group = Group::new(shape);
    let chunks = out.par_chunks_mut(group.items * shape.in_len()).zip(d.par_chunks(group.items * shape.out_len()));
    chunks.for_each_init(
        || Work::new(&group),
        |work, (out, d)| {
            let items = d.len() / shape.out_len();
            out.fill(T::zero());
            for number in 0..shape.groups {
                let weights = &weights[number * group.outputs * group.taps..][..group.outputs * group.taps];
                let values = number * group.outputs * group.places..(number + 1) * group.outputs * group.places;
                if group.depthwise {
                    for (d, out) in d.chunks_exact(shape.out_len()).zip(out.chunks_exact_mut(shape.in_len())) {
                        let d = &d[values.clone()];
                        tap_by_tap(shape, |tap, line, row, span| {
                            let line = &mut out[number * group.image + line..];
                            span.pairs().for_each(|(o, i)| line[i] += weights[tap] * d[row + o]);
                        });
                    }
                    continue;
                }
                if items > 1 {
                    for (item, d) in d.chunks_exact(shape.out_len()).enumerate() {
                        join(&d[values.clone()], group.places, items, item, &mut work.values);
                    }
                }
                let right = if items == 1 { &d[values] } else { &work.values[..group.outputs * group.places * items] };
                let columns = &mut work.columns[..group.taps * group.places * items];
                columns.fill(T::zero());
                let left = matrix(weights, group.outputs, group.taps);
                let right = matrix(right, group.outputs, group.places * items);
                product(left.t(), right, matrix_mut(columns, group.taps, group.places * items));
                for (item, out) in out.chunks_exact_mut(shape.in_len()).enumerate() {
                    let out = &mut out[number * group.image..][..group.image];
                    col2im(shape, &group, &columns[item * group.places..], group.places * items, out);
                }
            }
        },
    );
}

/// Adds each tap's row of `columns`, rows `step` apart, to the places it was read from.
fn col2im<T: Real>(shape: &ConvShape, group: &Group, columns: &[T], step: usize, out: &mut [T]) {
    let taps = shape.kernel[0] * shape.kernel[1];
    for channel in 0..group.inputs {
        let plane = &mut out[channel * shape.in_height * shape.in_width..][..shape.in_height * shape.in_width];
        tap_by_tap(shape, |tap, line, row, span| {
            let from = &columns[(channel * taps + tap) * step + row..];
            let line = &mut plane[line..];
            if span.stride == 1 {
                let to = &mut line[span.input..][..span.end - span.first];
                to.iter_mut().zip(&from[span.first..span.end]).for_each(|(to, &from)| *to += from);
            } else {
                span.pairs().for_each(|(o, i)| line[i] += from[o]);
            }
        });
    }
}

fn conv_weights<T: Real>(shape: &ConvShape, d: &[T], x: &[T], out: &mut [T]) {
    let group = Group::new(shape);
    let items = d.len() / shape.out_len();
    // Whole products a part.
    let each = items.div_ceil(PARTS).next_multiple_of(group.items);
    let parts = d.par_chunks(each * shape.out_len()).zip(x.par_chunks(each * shape.in_len()));
    let parts: Vec<Vec<T>> = parts.map(|(d, x)| weights_of_part(shape, &group, d, x)).collect();
    out.fill(T::zero());
    for part in parts {
        out.iter_mut().zip(part).for_each(|(out, value)| *out += value);
    }
}

fn weights_of_part<T: Real>(shape: &ConvShape, group: &Group, d: &[T], x: &[T]) -> Vec<T> {
    let mut work = Work::new(group);
    let mut sum = vec![T::zero(); shape.weight_len()];
    let chunks = d.chunks(group.items * shape.out_len()).zip(x.chunks(group.items * shape.in_len()));
    for (d, x) in chunks {
        let items = d.len() / shape.out_len();
        for number in 0..shape.groups {
            let sum = &mut sum[number * group.outputs * group.taps..][..group.outputs * group.taps];
            let values = number * group.outputs * group.places..(number + 1) * group.outputs * group.places;
            if group.depthwise {
                for (d, x) in d.chunks_exact(shape.out_len()).zip(x.chunks_exact(shape.in_len())) {
                    let d = &d[values.clone()];
                    tap_by_tap(shape, |tap, line, row, span| {
                        let line = &x[number * group.image + line..];
                        let dot = span.pairs().fold(T::zero(), |dot, (o, i)| dot + d[row + o] * line[i]);
                        sum[tap] += dot;
                    });
                }
                continue;
            }
            work.lay_out(shape, group, number, x, items);
            let columns = matrix(&work.columns[..group.taps * group.places * items], group.taps, group.places * items);
            if items > 1 {
                for (item, d) in d.chunks_exact(shape.out_len()).enumerate() {
                    join(&d[values.clone()], group.places, items, item, &mut work.values);
                }
            }
            let left = if items == 1 { &d[values] } else { &work.values[..group.outputs * group.places * items] };
            let left = matrix(left, group.outputs, group.places * items);
            product(left, columns.t(), matrix_mut(sum, group.outputs, group.taps));
        }
    }
    sum
}

/// For each tap of the kernel and row of the output: the tap, where the row of the image that it reads begins, where the row of the
/// output begins, and which places of both meet.
fn tap_by_tap(shape: &ConvShape, mut each: impl FnMut(usize, usize, usize, Span)) {
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    for tap_y in 0..shape.kernel[0] {
        let rows = Span::new(out_height, shape.in_height, shape.stride[0], tap_y * shape.dilation[0], shape.pads[0]);
        for tap_x in 0..shape.kernel[1] {
            let offset = tap_x * shape.dilation[1];
            let columns = Span::new(out_width, shape.in_width, shape.stride[1], offset, shape.pads[1]);
            for (out_y, y) in rows.pairs() {
                each(tap_y * shape.kernel[1] + tap_x, y * shape.in_width, out_y * out_width, columns);
            }
        }
    }
}

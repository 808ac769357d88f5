//! Convolution with few output channels a group (depthwise), without panels.
//!
//! A plane of the input is laid out with its zeros around it, one plane for each phase of the strides. An output place is then a fixed distance from each element under
//! the kernel, whatever row it is in: the sums run over all places as one line, some of them between the rows and of no meaning.

use std::cell::RefCell;

use rayon::prelude::*;

use super::conv::{ConvShape, clear, take};
use super::kernel::Kernel;
use super::micro::Line;
use crate::Ring;

/// Groups with fewer output channels than this come here.
const CHANNELS: usize = 4;

/// Multiply-adds below which one thread does all.
const PARALLEL: u64 = 1 << 18;

/// Whether a convolution comes here.
pub fn takes(shape: &ConvShape) -> bool {
    shape.groups > 1 && shape.out_channels / shape.groups < CHANNELS
}

/// As `conv2d`, lengths checked there.
pub fn conv2d<R: Ring>(kernel: Kernel, shape: &ConvShape, weights: &[R], x: &[R], out: &mut [R]) {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    let planes = shape.out_len() / shape.groups;
    let lines = Lines::new(shape);
    let group = |(at, out): (usize, &mut [R])| {
        let weights = &weights[at % shape.groups * (shape.weight_len() / shape.groups)..];
        let x = &x[at * (shape.in_len() / shape.groups)..];
        SCRATCH.with_borrow_mut(|scratch| R::direct(kernel, &lines, weights, x, out, scratch));
    };
    let items = (out.len() / shape.out_len()) as u64;
    // Small products ask for no pool: the question would start one.
    if shape.multiply_adds() * items >= PARALLEL && rayon::current_num_threads() > 1 {
        out.par_chunks_mut(planes).enumerate().for_each(group);
    } else {
        out.chunks_mut(planes).enumerate().for_each(group);
    }
}

/// What a thread keeps: a channel laid out, and sums.
pub type Scratch = (Vec<Line>, Vec<Line>);

/// Where everything lies.
pub struct Lines<'a> {
    shape: &'a ConvShape,
    /// Distance of the rows of a phase.
    pitch: usize,
    /// Elements of a phase.
    phase: usize,
    /// From an output place to the element under each element of the kernel.
    taps: Vec<usize>,
    /// Output places, those between the rows included.
    places: usize,
}

impl<'a> Lines<'a> {
    fn new(s: &'a ConvShape) -> Self {
        let (rows, width) = (s.out_height(), s.out_width());
        let reach = [0, 1].map(|axis| (s.kernel[axis] - 1) * s.dilation[axis] / s.stride[axis]);
        // What lies right of a row may be the zeros left of the next one.
        let shared = if s.stride[1] == 1 { s.pads[1] } else { 0 };
        let pitch = match width + reach[1] {
            all if shared > 0 => all.min((shared + s.in_width).max(width).max(all.saturating_sub(shared))),
            all => all,
        };
        let phase = (rows + reach[0] + 1) * pitch;
        let mut taps = Vec::with_capacity(s.kernel[0] * s.kernel[1]);
        for ky in 0..s.kernel[0] {
            for kx in 0..s.kernel[1] {
                let (y, x) = (ky * s.dilation[0], kx * s.dilation[1]);
                let plane = y % s.stride[0] * s.stride[1] + x % s.stride[1];
                taps.push(plane * phase + y / s.stride[0] * pitch + x / s.stride[1]);
            }
        }
        Self { shape: s, pitch, phase, taps, places: (rows - 1) * pitch + width }
    }

    /// Lays out one channel of the input.
    #[inline(always)]
    fn lay<R: Ring>(&self, x: &[R], laid: &mut [R]) {
        let s = self.shape;
        for (plane, laid) in laid.chunks_exact_mut(self.phase).take(s.stride[0] * s.stride[1]).enumerate() {
            let (down, right) = (plane / s.stride[1], plane % s.stride[1]);
            // Columns of the phase that lie in the input.
            let first = s.pads[1].saturating_sub(right).div_ceil(s.stride[1]).min(self.pitch);
            let reach = (s.in_width + s.pads[1]).saturating_sub(right).div_ceil(s.stride[1]).clamp(first, self.pitch);
            for (y, row) in laid.chunks_exact_mut(self.pitch).enumerate() {
                let y = (y * s.stride[0] + down).wrapping_sub(s.pads[0]);
                if y >= s.in_height || first == reach {
                    row.fill(R::ZERO);
                    continue;
                }
                let line = &x[y * s.in_width..][..s.in_width];
                clear(&mut row[..first]);
                clear(&mut row[reach..]);
                take(&mut row[first..reach], &line[first * s.stride[1] + right - s.pads[1]..], s.stride[1]);
            }
        }
    }
}

/// Elements computed together in registers: 256 bytes.
const fn wide<R>() -> usize {
    256 / size_of::<R>()
}

/// The output planes of one group, `x` and `weights` those of the group.
#[inline(always)]
pub fn group<R: Ring>(lines: &Lines, weights: &[R], x: &[R], out: &mut [R], (laid, sums): &mut Scratch) {
    let s = lines.shape;
    let (width, area) = (s.out_width(), s.in_height * s.in_width);
    let (depth, kernel) = (s.in_channels / s.groups, s.kernel[0] * s.kernel[1]);
    let per_line = 64 / size_of::<R>();
    let places = lines.places.next_multiple_of(wide::<R>());
    // The last places read beyond the last phase.
    let len = s.stride[0] * s.stride[1] * lines.phase + places;
    let laid: &mut [R] = bytemuck::cast_slice_mut(super::blocked::lines(laid, len.div_ceil(per_line)));
    let outs = s.out_channels / s.groups;
    let sums: &mut [R] = bytemuck::cast_slice_mut(super::blocked::lines(sums, (outs * places).div_ceil(per_line)));
    for c in 0..depth {
        lines.lay(&x[c * area..][..area], laid);
        for (o, sums) in sums.chunks_exact_mut(places).take(outs).enumerate() {
            let weights = &weights[(o * depth + c) * kernel..][..kernel];
            add_taps(laid, weights, &lines.taps, lines.places, sums, c > 0);
        }
    }
    for (sums, out) in sums.chunks_exact(places).zip(out.chunks_mut(s.out_height() * width)) {
        for (sums, out) in sums.chunks(lines.pitch).zip(out.chunks_exact_mut(width)) {
            out.copy_from_slice(&sums[..width]);
        }
    }
}

#[inline(always)]
fn add_taps<R: Ring>(laid: &[R], weights: &[R], taps: &[usize], places: usize, sums: &mut [R], add: bool) {
    let mut from = 0;
    while from < places {
        // A short rest in short pieces.
        from += match size_of::<R>() {
            4 if places - from > 32 => piece::<R, 64>(laid, weights, taps, from, sums, add),
            4 => piece::<R, 16>(laid, weights, taps, from, sums, add),
            _ if places - from > 16 => piece::<R, 32>(laid, weights, taps, from, sums, add),
            _ => piece::<R, 8>(laid, weights, taps, from, sums, add),
        };
    }
}

/// `N` places from `from`; returns how many.
#[inline(always)]
fn piece<R: Ring, const N: usize>(
    laid: &[R],
    weights: &[R],
    taps: &[usize],
    from: usize,
    sums: &mut [R],
    add: bool,
) -> usize {
    let sums: &mut [R; N] = sums[from..].first_chunk_mut().expect("whole pieces");
    let mut sum = if add { *sums } else { [R::ZERO; N] };
    for (weight, tap) in weights.iter().zip(taps) {
        let line: &[R; N] = laid[from + tap..].first_chunk().expect("whole pieces");
        for (sum, v) in sum.iter_mut().zip(line) {
            *sum = sum.add(v.mul(*weight));
        }
    }
    *sums = sum;
    N
}

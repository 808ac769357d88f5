//! Convolution: the blocked product over an implicit im2col. Columns are the output places of all items, so that small maps share panels.

use serde::{Deserialize, Serialize};

use super::blocked::{self, Job, Right};
use super::kernel::{Kernel, KernelError};
use super::out::Out;
use super::{Matrix, direct, kept};
use crate::Ring;

/// The shape of a two-dimensional convolution of one item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConvShape {
    /// C, channels of the input.
    pub in_channels: usize,
    /// H, rows of the input.
    pub in_height: usize,
    /// W, columns of the input.
    pub in_width: usize,
    /// O, channels of the output.
    pub out_channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Steps along rows and columns.
    pub stride: [usize; 2],
    /// Zeros around the input: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance of the kernel's elements along rows and columns.
    pub dilation: [usize; 2],
    /// Groups that the channels fall into.
    pub groups: usize,
}

/// Why a shape describes no convolution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A size, a step or the number of groups is zero.
    #[error("{0} is zero")]
    Zero(&'static str),
    /// The groups do not divide the channels.
    #[error("{groups} groups do not divide {channels} channels")]
    Groups {
        /// Groups.
        groups: usize,
        /// Channels of the input or of the output.
        channels: usize,
    },
    /// The kernel does not fit into the padded input.
    #[error("a kernel that spans {kernel:?} does not fit into a padded input of {input:?}")]
    Kernel {
        /// Rows and columns that the dilated kernel spans.
        kernel: [usize; 2],
        /// Rows and columns of the padded input.
        input: [usize; 2],
    },
    /// A number of elements does not fit in `usize`.
    #[error("the convolution has too many elements")]
    Overflow,
}

impl ConvShape {
    /// Refuses zero sizes, groups that do not divide the channels, kernels larger than the padded input, and sizes that overflow.
    /// The other methods ask for a shape that passed.
    pub fn validate(&self) -> Result<(), ShapeError> {
        let positive = [
            ("in_channels", self.in_channels),
            ("in_height", self.in_height),
            ("in_width", self.in_width),
            ("out_channels", self.out_channels),
            ("kernel", self.kernel[0].min(self.kernel[1])),
            ("stride", self.stride[0].min(self.stride[1])),
            ("dilation", self.dilation[0].min(self.dilation[1])),
            ("groups", self.groups),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ShapeError::Zero(name));
        }
        for channels in [self.in_channels, self.out_channels] {
            if channels % self.groups != 0 {
                return Err(ShapeError::Groups { groups: self.groups, channels });
            }
        }
        self.checked().ok_or(ShapeError::Overflow)?
    }

    fn checked(&self) -> Option<Result<(), ShapeError>> {
        let padded = |size: usize, before: usize, after: usize| size.checked_add(before)?.checked_add(after);
        let spans = |kernel: usize, dilation: usize| (kernel - 1).checked_mul(dilation)?.checked_add(1);
        let input =
            [padded(self.in_height, self.pads[0], self.pads[2])?, padded(self.in_width, self.pads[1], self.pads[3])?];
        let kernel = [spans(self.kernel[0], self.dilation[0])?, spans(self.kernel[1], self.dilation[1])?];
        if kernel[0] > input[0] || kernel[1] > input[1] {
            return Some(Err(ShapeError::Kernel { kernel, input }));
        }
        let product = |sizes: &[usize]| sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        let depth = product(&[self.in_channels / self.groups, self.kernel[0], self.kernel[1]])?;
        let out = product(&[self.out_channels, self.out_height(), self.out_width()])?;
        product(&[self.in_channels, input[0], input[1]])?;
        product(&[self.out_channels, depth])?;
        (out as u64).checked_mul(depth as u64)?;
        Some(Ok(()))
    }

    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        (self.in_height + self.pads[0] + self.pads[2] - (self.kernel[0] - 1) * self.dilation[0] - 1) / self.stride[0]
            + 1
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        (self.in_width + self.pads[1] + self.pads[3] - (self.kernel[1] - 1) * self.dilation[1] - 1) / self.stride[1] + 1
    }

    /// Elements of the input, C x H x W.
    pub fn in_len(&self) -> usize {
        self.in_channels * self.in_height * self.in_width
    }

    /// Elements of the output, O x Ho x Wo.
    pub fn out_len(&self) -> usize {
        self.out_channels * self.out_height() * self.out_width()
    }

    /// Elements of the weights, O x C/g x kh x kw.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.depth()
    }

    /// Multiply-adds of one item, those on padding included.
    pub fn multiply_adds(&self) -> u64 {
        self.out_len() as u64 * self.depth() as u64
    }

    /// Terms of one output element.
    pub(super) fn depth(&self) -> usize {
        self.in_channels / self.groups * self.kernel[0] * self.kernel[1]
    }
}

/// Convolution of `items` inputs: `x` is items x C x H x W, `weights` O x C/g x kh x kw, `out` items x O x Ho x Wo and is overwritten.
///
/// # Panics
/// If the shape is not [valid](ConvShape::validate), a length does not fit it, or a kernel forced by `ARIANN_PRODUCTS` does not exist here.
pub fn conv2d<R: Ring>(shape: &ConvShape, items: usize, weights: &[R], x: &[R], out: &mut [R]) {
    conv2d_with(Kernel::must(), shape, items, weights, x, out);
}

/// [`conv2d`] by the kernel named.
///
/// # Panics
/// As [`conv2d`], and if the kernel is not [available](Kernel::is_available).
pub fn conv2d_with<R: Ring>(kernel: Kernel, shape: &ConvShape, items: usize, weights: &[R], x: &[R], out: &mut [R]) {
    shape.validate().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(weights.len(), shape.weight_len(), "elements of the weights");
    assert_eq!(Some(x.len()), shape.in_len().checked_mul(items), "elements of the input");
    assert_eq!(Some(out.len()), shape.out_len().checked_mul(items), "elements of the result");
    assert!(kernel.is_available(), "{}", KernelError::Missing(kernel));
    if items > 0 && !kept::at_once(kernel, shape, items, weights, x, out) {
        conv2d_rows(kernel, shape, items, weights, x, out);
    }
}

/// [`conv2d_with`] by weights as they are; shapes and lengths are checked there.
pub(super) fn conv2d_rows<R: Ring>(
    kernel: Kernel,
    shape: &ConvShape,
    items: usize,
    weights: &[R],
    x: &[R],
    out: &mut [R],
) {
    if items == 0 {
        return;
    }
    let per_group = shape.out_channels / shape.groups;
    if direct::takes(shape) {
        return direct::conv2d(kernel, shape, weights, x, out);
    }
    let depth = shape.depth();
    let places = shape.out_height() * shape.out_width();
    for group in 0..shape.groups {
        let a = Matrix::new(&weights[group * per_group * depth..][..per_group * depth], per_group, depth);
        let b = Im2col::new(shape, x, group);
        let job = Job { a, b: &b, cols: items * places, add: false };
        let from = group * per_group * places;
        blocked::run(kernel, &job, Out::new(&mut out[from..], places, places, shape.out_len()));
    }
}

/// Row k = (channel, ky, kx) of the group, column n = (item, oy, ox): the input element under the kernel's element.
pub(super) struct Im2col<'a, R> {
    shape: &'a ConvShape,
    x: &'a [R],
    group: usize,
    out_width: usize,
    places: usize,
}

impl<'a, R: Ring> Im2col<'a, R> {
    pub(super) fn new(shape: &'a ConvShape, x: &'a [R], group: usize) -> Self {
        let out_width = shape.out_width();
        Self { shape, x, group, out_width, places: shape.out_height() * out_width }
    }

    /// Columns from `from` on of row `k`.
    pub(super) fn row(&self, k: usize, from: usize, mut out: &mut [R]) {
        let s = self.shape;
        let (kernel, area) = (s.kernel[1], s.kernel[0] * s.kernel[1]);
        let (channel, ky, kx) = (k / area, k % area / kernel, k % kernel);
        let channel = self.group * (s.in_channels / s.groups) + channel;
        let (down, right) = (ky * s.dilation[0], kx * s.dilation[1]);
        // Output columns whose input column exists.
        let first = s.pads[1].saturating_sub(right).div_ceil(s.stride[1]).min(self.out_width);
        let reach = (s.in_width + s.pads[1]).saturating_sub(right).div_ceil(s.stride[1]).clamp(first, self.out_width);
        let (mut item, place) = (from / self.places, from % self.places);
        let (mut oy, mut ox) = (place / self.out_width, place % self.out_width);
        let rows = self.places / self.out_width;
        while !out.is_empty() {
            let input = &self.x[(item * s.in_channels + channel) * s.in_height * s.in_width..];
            let line = |oy: usize| {
                let y = (oy * s.stride[0] + down).wrapping_sub(s.pads[0]);
                (y < s.in_height).then(|| &input[y * s.in_width..][..s.in_width])
            };
            // Whole output rows of one item where they are, a part of one where the columns asked for begin or end in it.
            let whole = if ox == 0 { (out.len() / self.out_width).min(rows - oy) } else { 0 };
            let (now, later) =
                out.split_at_mut(if whole > 0 { whole * self.out_width } else { out.len().min(self.out_width - ox) });
            let end = if whole > 0 { self.out_width } else { ox + now.len() };
            let (lo, hi) = (first.clamp(ox, end), reach.clamp(ox, end));
            if whole > 0 && s.stride[1] == 1 && s.pads == [0; 4] {
                // Nothing is outside.
                let lines = input[(oy * s.stride[0] + down) * s.in_width..].chunks(s.in_width).step_by(s.stride[0]);
                for (now, line) in now.chunks_exact_mut(self.out_width).zip(lines) {
                    copy(now, &line[right..][..self.out_width]);
                }
                (out, oy) = (later, oy + whole);
                if oy == rows {
                    (oy, item) = (0, item + 1);
                }
                continue;
            }
            for (i, now) in now.chunks_exact_mut(end - ox).enumerate() {
                match line(oy + i) {
                    Some(line) if lo < hi => {
                        clear(&mut now[..lo - ox]);
                        clear(&mut now[hi - ox..]);
                        take(&mut now[lo - ox..hi - ox], &line[lo * s.stride[1] + right - s.pads[1]..], s.stride[1]);
                    }
                    _ => now.fill(R::ZERO),
                }
            }
            out = later;
            ox = 0;
            oy += whole.max(1);
            if oy == rows {
                (oy, item) = (0, item + 1);
            }
        }
    }
}

impl<R: Ring> Right<R> for Im2col<'_, R> {
    fn rows(&self, k: usize, rows: usize, from: usize, cols: usize, out: &mut [R], stride: usize) {
        for i in 0..rows {
            self.row(k + i, from, &mut out[i * stride..][..cols]);
        }
    }

    /// A kernel of one element leaves the map of one item as it is.
    fn direct(&self, k: usize, from: usize) -> Option<(&[R], usize)> {
        let s = self.shape;
        let plain = s.kernel == [1, 1] && s.stride == [1, 1] && s.pads == [0; 4] && self.x.len() == s.in_len();
        let channel = self.group * (s.in_channels / s.groups) + k;
        plain.then(|| (&self.x[channel * self.places + from..], self.places))
    }
}

/// Zeros; there is mostly none or one.
#[inline(always)]
pub fn clear<R: Ring>(out: &mut [R]) {
    match out {
        [] => {}
        [one] => *one = R::ZERO,
        more => more.fill(R::ZERO),
    }
}

/// `out[i] = from[i * stride]`.
#[inline(always)]
pub fn take<R: Ring>(out: &mut [R], from: &[R], stride: usize) {
    match stride {
        1 => copy(out, &from[..out.len()]),
        2 => {
            let (last, out) = out.split_last_mut().expect("not empty");
            *last = from[2 * out.len()];
            for (o, pair) in out.iter_mut().zip(from.as_chunks::<2>().0) {
                *o = pair[0];
            }
        }
        _ => out.iter_mut().zip(from.iter().step_by(stride)).for_each(|(o, v)| *o = *v),
    }
}

/// A copy of mostly few elements: two pieces that overlap, or a row of pieces, without a call.
#[inline(always)]
fn copy<R: Ring>(out: &mut [R], from: &[R]) {
    #[inline(always)]
    fn ends<R: Ring, const N: usize>(out: &mut [R], from: &[R]) {
        if let (Some(o), Some(f)) = (out.first_chunk_mut::<N>(), from.first_chunk()) {
            *o = *f;
        }
        if let (Some(o), Some(f)) = (out.last_chunk_mut::<N>(), from.last_chunk()) {
            *o = *f;
        }
    }
    match out.len() {
        0..=3 => out.iter_mut().zip(from).for_each(|(o, f)| *o = *f),
        4..=7 => ends::<R, 4>(out, from),
        8..=16 => ends::<R, 8>(out, from),
        17..=32 => ends::<R, 16>(out, from),
        _ => out.copy_from_slice(from),
    }
}

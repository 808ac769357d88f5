//! Convolution with few output channels a group (depthwise): each output row is a sum of scaled input rows, no panel is packed.

use rayon::prelude::*;

use super::conv::ConvShape;
use super::kernel::Kernel;
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
    let places = shape.out_height() * shape.out_width();
    let plane = |(at, out): (usize, &mut [R])| R::plane(kernel, shape, at, weights, x, out);
    let items = (out.len() / shape.out_len()) as u64;
    if rayon::current_num_threads() > 1 && shape.multiply_adds() * items >= PARALLEL {
        out.par_chunks_mut(places).enumerate().for_each(plane);
    } else {
        out.chunks_mut(places).enumerate().for_each(plane);
    }
}

/// Output plane `at` = item * O + channel.
#[inline(always)]
pub fn plane<R: Ring>(s: &ConvShape, at: usize, weights: &[R], x: &[R], out: &mut [R]) {
    let (item, channel) = (at / s.out_channels, at % s.out_channels);
    let depth = s.in_channels / s.groups;
    let group = channel / (s.out_channels / s.groups);
    let width = s.out_width();
    out.fill(R::ZERO);
    for c in 0..depth {
        let input = (item * s.in_channels + group * depth + c) * s.in_height * s.in_width;
        let input = &x[input..][..s.in_height * s.in_width];
        for ky in 0..s.kernel[0] {
            for kx in 0..s.kernel[1] {
                let weight = weights[((channel * depth + c) * s.kernel[0] + ky) * s.kernel[1] + kx];
                let shift = kx * s.dilation[1];
                let first = s.pads[1].saturating_sub(shift).div_ceil(s.stride[1]);
                let reach = (s.in_width + s.pads[1]).saturating_sub(shift).div_ceil(s.stride[1]).min(width);
                if first >= reach {
                    continue;
                }
                for (oy, row) in out.chunks_mut(width).enumerate() {
                    let y = oy * s.stride[0] + ky * s.dilation[0];
                    if y < s.pads[0] || y - s.pads[0] >= s.in_height {
                        continue;
                    }
                    let line = &input[(y - s.pads[0]) * s.in_width..][..s.in_width];
                    let line = &line[first * s.stride[1] + shift - s.pads[1]..];
                    add_scaled(&mut row[first..reach], line, s.stride[1], weight);
                }
            }
        }
    }
}

#[inline(always)]
fn add_scaled<R: Ring>(out: &mut [R], line: &[R], stride: usize, weight: R) {
    if stride == 1 {
        for (o, v) in out.iter_mut().zip(line) {
            *o = o.add(v.mul(weight));
        }
    } else {
        for (o, v) in out.iter_mut().zip(line.iter().step_by(stride)) {
            *o = o.add(v.mul(weight));
        }
    }
}

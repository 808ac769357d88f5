//! The linear layers of the networks, one by one.

use std::time::Duration;

use serde::Serialize;

use super::{best, elements, float_rate};
use crate::product::conv::conv2d_with;
use crate::product::matmul_with;
use crate::{ConvShape, Kernel, Matrix, PackedWeights, Ring};

/// What a layer multiplies.
#[derive(Debug, Clone)]
pub enum Linear {
    /// A convolution.
    Conv(ConvShape),
    /// Inputs and outputs of a dense layer.
    Dense(usize, usize),
}

/// A layer of a network.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The network's name.
    pub network: &'static str,
    /// The layer's shape.
    pub linear: Linear,
    /// Items computed together.
    pub items: usize,
    /// Layers of this shape in the network.
    pub count: usize,
}

/// The speed of one kernel on one layer.
#[derive(Debug, Clone, Serialize)]
pub struct LayerRow {
    /// The network's name.
    pub network: &'static str,
    /// The layer's shape, in words.
    pub layer: String,
    /// Items computed together.
    pub items: usize,
    /// Layers of this shape in the network.
    pub count: usize,
    /// Multiply-adds of one such layer for all items.
    pub multiply_adds: u64,
    /// Milliseconds of one such layer, its weights as they come.
    pub once: f64,
    /// Milliseconds of one such layer with weights packed before.
    pub kept: f64,
    /// 10^9 multiply-adds a second with weights packed before.
    pub rate: f64,
    /// `rate` over the float rate.
    pub ratio: Option<f64>,
}

impl Linear {
    fn multiply_adds(&self) -> u64 {
        match self {
            Linear::Conv(shape) => shape.multiply_adds(),
            Linear::Dense(inputs, outputs) => (inputs * outputs) as u64,
        }
    }
}

impl std::fmt::Display for Linear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Linear::Dense(inputs, outputs) => write!(f, "dense {inputs}->{outputs}"),
            Linear::Conv(s) => {
                let depthwise = if s.groups > 1 { "depthwise" } else { "conv" };
                let [rows, cols] = s.kernel;
                write!(f, "{depthwise} {}->{} {rows}x{cols} at {}", s.in_channels, s.out_channels, s.in_height)?;
                if s.stride[0] > 1 { write!(f, " step {}", s.stride[0]) } else { Ok(()) }
            }
        }
    }
}

/// What one thread of this machine could do.
#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// 10^9 multiply-adds a second that AMX could do for u32: ten products of bytes each. None where there is no AMX.
    pub tiles_u32: Option<f64>,
    /// As `tiles_u32`, for u64: 36 products of bytes each.
    pub tiles_u64: Option<f64>,
    /// 10^9 bytes a second read of 32 MB, which a large cache may hold.
    pub near: f64,
    /// 10^9 bytes a second read of 512 MB.
    pub far: f64,
}

/// Measures the limits, about `each` for each.
pub fn limits(each: Duration) -> Limits {
    let tiles = tile_rate(each);
    let words = vec![1u64; 64 << 20];
    let read = |len: usize| {
        let bytes = 8 * len;
        let seconds = best(each, &mut || {
            let sums = words[..len].as_chunks::<64>().0.iter().fold([0u64; 64], |mut sums, words| {
                sums.iter_mut().zip(words).for_each(|(sum, word)| *sum ^= word);
                sums
            });
            std::hint::black_box(sums);
        });
        bytes as f64 / seconds / 1e9
    };
    let (near, far) = (read(4 << 20), read(64 << 20));
    Limits { tiles_u32: tiles.map(|rate| rate / 10.0), tiles_u64: tiles.map(|rate| rate / 36.0), near, far }
}

#[cfg(target_arch = "x86_64")]
fn tile_rate(each: Duration) -> Option<f64> {
    const ROUNDS: usize = 2_000;
    let products = crate::product::tile_products(1)?;
    let seconds = best(each, &mut || {
        crate::product::tile_products(ROUNDS);
    });
    Some((ROUNDS * products) as f64 / seconds / 1e9)
}

#[cfg(not(target_arch = "x86_64"))]
fn tile_rate(_: Duration) -> Option<f64> {
    None
}

/// Measures `layers` with `kernel` in the current pool, about `each` for each.
pub fn layers<R: Ring>(kernel: Kernel, layers: &[Layer], each: Duration) -> Vec<LayerRow> {
    layers.iter().map(|layer| measure::<R>(kernel, layer, each)).collect()
}

fn measure<R: Ring>(kernel: Kernel, layer: &Layer, each: Duration) -> LayerRow {
    let items = layer.items;
    let (once, kept) = match &layer.linear {
        Linear::Conv(shape) => {
            let (weights, x) = (elements::<R>(shape.weight_len()), elements::<R>(items * shape.in_len()));
            let mut out = vec![R::ZERO; items * shape.out_len()];
            let once = best(each, &mut || conv2d_with(kernel, shape, items, &weights, &x, &mut out));
            let kept = PackedWeights::conv_with(kernel, shape, &weights);
            (once, best(each, &mut || kept.product(items, &x, &mut out)))
        }
        Linear::Dense(inputs, outputs) => {
            let (weights, x) = (elements::<R>(inputs * outputs), elements::<R>(items * inputs));
            let mut out = vec![R::ZERO; items * outputs];
            let once = best(each, &mut || {
                let weights = Matrix::new(&weights, *outputs, *inputs).transposed();
                matmul_with(kernel, Matrix::new(&x, items, *inputs), weights, &mut out, false);
            });
            let kept = PackedWeights::dense_with(kernel, *inputs, *outputs, &weights);
            (once, best(each, &mut || kept.product(items, &x, &mut out)))
        }
    };
    let multiply_adds = layer.linear.multiply_adds() * items as u64;
    let rate = multiply_adds as f64 / kept / 1e9;
    LayerRow {
        network: layer.network,
        layer: layer.linear.to_string(),
        items,
        count: layer.count,
        multiply_adds,
        once: once * 1e3,
        kept: kept * 1e3,
        rate,
        ratio: float_rate(each / 4).map(|peak| rate / peak),
    }
}

/// The linear layers of eight networks, those of equal shape once.
pub fn networks() -> Vec<Layer> {
    let mut all = Vec::new();
    let resnet18 = [
        (conv(3, 224, 64, 7, 2), 1),
        (conv(64, 56, 64, 3, 1), 4),
        (conv(64, 56, 128, 3, 2), 1),
        (conv(64, 56, 128, 1, 2), 1),
        (conv(128, 28, 128, 3, 1), 3),
        (conv(128, 28, 256, 3, 2), 1),
        (conv(128, 28, 256, 1, 2), 1),
        (conv(256, 14, 256, 3, 1), 3),
        (conv(256, 14, 512, 3, 2), 1),
        (conv(256, 14, 512, 1, 2), 1),
        (conv(512, 7, 512, 3, 1), 3),
        (Linear::Dense(512, 1000), 1),
    ];
    push(&mut all, "resnet18", 1, resnet18);
    let vgg16 = [
        (conv(3, 32, 64, 3, 1), 1),
        (conv(64, 32, 64, 3, 1), 1),
        (conv(64, 16, 128, 3, 1), 1),
        (conv(128, 16, 128, 3, 1), 1),
        (conv(128, 8, 256, 3, 1), 1),
        (conv(256, 8, 256, 3, 1), 2),
        (conv(256, 4, 512, 3, 1), 1),
        (conv(512, 4, 512, 3, 1), 2),
        (conv(512, 2, 512, 3, 1), 3),
        (Linear::Dense(512, 4096), 1),
        (Linear::Dense(4096, 4096), 1),
        (Linear::Dense(4096, 10), 1),
    ];
    push(&mut all, "vgg16-32", 1, vgg16);
    let alexnet = || {
        [
            (padded(conv(3, 32, 96, 11, 4), 10), 1),
            (padded(conv(96, 5, 256, 5, 1), 1), 1),
            (conv(256, 1, 384, 3, 1), 1),
            (conv(384, 1, 384, 3, 1), 1),
            (conv(384, 1, 256, 3, 1), 1),
            (Linear::Dense(256, 256), 2),
            (Linear::Dense(256, 10), 1),
        ]
    };
    let lenet = || {
        [
            (padded(conv(1, 28, 20, 5, 1), 0), 1),
            (padded(conv(20, 12, 50, 5, 1), 0), 1),
            (Linear::Dense(800, 500), 1),
            (Linear::Dense(500, 10), 1),
        ]
    };
    for items in [1, 128] {
        push(&mut all, "alexnet-cifar", items, alexnet());
        push(&mut all, "lenet", items, lenet());
    }
    push(&mut all, "efficientnet-lite0", 1, efficientnet());
    let resnet20 = [
        (conv(3, 32, 16, 3, 1), 1),
        (conv(16, 32, 16, 3, 1), 6),
        (conv(16, 32, 32, 3, 2), 1),
        (conv(32, 16, 32, 3, 1), 5),
        (conv(32, 16, 64, 3, 2), 1),
        (conv(64, 8, 64, 3, 1), 5),
        (Linear::Dense(64, 10), 1),
    ];
    push(&mut all, "resnet20", 1, resnet20);
    push(&mut all, "squeezenet1.1", 1, squeezenet());
    all
}

fn efficientnet() -> Vec<(Linear, usize)> {
    let mut all = vec![(conv(3, 224, 32, 3, 2), 1), (depthwise(32, 112, 3, 1), 1), (conv(32, 112, 16, 1, 1), 1)];
    // Blocks of (channels in, expanded, out), size, kernel and stride, and how often.
    for ([from, wide, to], size, kernel, stride, count) in [
        ([16, 96, 24], 112, 3, 2, 1),
        ([24, 144, 24], 56, 3, 1, 1),
        ([24, 144, 40], 56, 5, 2, 1),
        ([40, 240, 40], 28, 5, 1, 1),
        ([40, 240, 80], 28, 3, 2, 1),
        ([80, 480, 80], 14, 3, 1, 2),
        ([80, 480, 112], 14, 5, 1, 1),
        ([112, 672, 112], 14, 5, 1, 2),
        ([112, 672, 192], 14, 5, 2, 1),
        ([192, 1152, 192], 7, 5, 1, 3),
        ([192, 1152, 320], 7, 3, 1, 1),
    ] {
        all.push((conv(from, size, wide, 1, 1), count));
        all.push((depthwise(wide, size, kernel, stride), count));
        all.push((conv(wide, size / stride, to, 1, 1), count));
    }
    all.extend([(conv(320, 7, 1280, 1, 1), 1), (Linear::Dense(1280, 1000), 1)]);
    all
}

fn squeezenet() -> Vec<(Linear, usize)> {
    let mut all = vec![(padded(conv(3, 224, 64, 3, 2), 0), 1)];
    for (from, narrow, wide, size) in [
        (64, 16, 64, 55),
        (128, 16, 64, 55),
        (128, 32, 128, 27),
        (256, 32, 128, 27),
        (256, 48, 192, 13),
        (384, 48, 192, 13),
        (384, 64, 256, 13),
        (512, 64, 256, 13),
    ] {
        all.push((conv(from, size, narrow, 1, 1), 1));
        all.push((conv(narrow, size, wide, 1, 1), 1));
        all.push((conv(narrow, size, wide, 3, 1), 1));
    }
    all.push((conv(512, 13, 1000, 1, 1), 1));
    all
}

fn push(all: &mut Vec<Layer>, network: &'static str, items: usize, list: impl IntoIterator<Item = (Linear, usize)>) {
    all.extend(list.into_iter().map(|(linear, count)| Layer { network, linear, items, count }));
}

/// A square convolution, padded so that only its stride makes it smaller.
fn conv(c: usize, size: usize, o: usize, kernel: usize, stride: usize) -> Linear {
    Linear::Conv(square(c, size, o, kernel, stride, kernel / 2))
}

fn depthwise(c: usize, size: usize, kernel: usize, stride: usize) -> Linear {
    Linear::Conv(ConvShape { groups: c, ..square(c, size, c, kernel, stride, kernel / 2) })
}

fn padded(linear: Linear, pad: usize) -> Linear {
    match linear {
        Linear::Conv(shape) => Linear::Conv(ConvShape { pads: [pad; 4], ..shape }),
        dense => dense,
    }
}

pub(super) fn square(c: usize, size: usize, o: usize, kernel: usize, stride: usize, pad: usize) -> ConvShape {
    ConvShape {
        in_channels: c,
        in_height: size,
        in_width: size,
        out_channels: o,
        kernel: [kernel; 2],
        stride: [stride; 2],
        pads: [pad; 4],
        dilation: [1; 2],
        groups: 1,
    }
}

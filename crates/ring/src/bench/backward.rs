//! The products of training: each layer forwards and backwards.

use std::time::Duration;

use serde::Serialize;

use super::layers::{Linear, square};
use super::{best, elements};
use crate::{Bilinear, LinearShape, Ring};

/// The speed of one product on one thread.
#[derive(Debug, Clone, Serialize)]
pub struct BackwardRow {
    /// The network's name.
    pub network: &'static str,
    /// The layer's shape, in words.
    pub layer: String,
    /// Items computed together.
    pub items: usize,
    /// `forward`, `input` or `weights`: what the product gives.
    pub product: &'static str,
    /// Milliseconds.
    pub ms: f64,
    /// 10^9 multiply-adds of the layer a second.
    pub rate: f64,
}

/// Layers of the networks that are trained, with the items of a batch.
fn trained() -> Vec<(&'static str, Linear, usize)> {
    let conv =
        |inputs, outputs, size, kernel, stride, pad| Linear::Conv(square(inputs, size, outputs, kernel, stride, pad));
    vec![
        ("LeNet", conv(1, 20, 28, 5, 1, 0), 128),
        ("LeNet", conv(20, 50, 12, 5, 1, 0), 128),
        ("LeNet", Linear::Dense(800, 500), 128),
        ("LeNet", Linear::Dense(500, 10), 128),
        ("AlexNet CIFAR", conv(3, 96, 32, 11, 4, 10), 32),
        ("AlexNet CIFAR", conv(96, 256, 5, 5, 1, 1), 32),
        ("AlexNet CIFAR", conv(256, 384, 1, 3, 1, 1), 32),
        ("VGG16 32", conv(64, 64, 32, 3, 1, 1), 32),
        ("VGG16 32", conv(256, 256, 8, 3, 1, 1), 32),
        ("VGG16 32", conv(512, 512, 2, 3, 1, 1), 32),
        ("ResNet18 64", conv(64, 64, 16, 3, 1, 1), 8),
        ("ResNet18 64", conv(128, 256, 8, 3, 2, 1), 8),
        ("ResNet18 64", conv(256, 512, 4, 1, 2, 0), 8),
    ]
}

/// Measures each product about `each`, on the calling thread's pool.
pub fn backward<R: Ring>(each: Duration) -> Vec<BackwardRow> {
    let mut rows = Vec::new();
    for (network, layer, items) in trained() {
        let shape = match &layer {
            Linear::Conv(shape) => LinearShape::Conv(shape.clone()),
            Linear::Dense(inputs, outputs) => LinearShape::Dense { inputs: *inputs, outputs: *outputs },
        };
        for (product, of) in [
            ("forward", Bilinear::Forward { shape: shape.clone(), items }),
            ("input", Bilinear::BackwardInput { shape: shape.clone(), items }),
            ("weights", Bilinear::BackwardWeights { shape: shape.clone(), items }),
        ] {
            let [a, b] = of.lens();
            let (a, b) = (elements::<R>(a), elements::<R>(b));
            let mut out = vec![R::ZERO; of.out_len()];
            let seconds = best(each, &mut || of.apply(&a, &b, &mut out));
            let rate = of.multiply_adds() as f64 / seconds / 1e9;
            rows.push(BackwardRow { network, layer: layer.to_string(), items, product, ms: 1e3 * seconds, rate });
        }
    }
    rows
}

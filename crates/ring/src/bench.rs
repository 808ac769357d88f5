//! Rates of the products on one thread, against the rate of 32-bit float multiply-adds on the same core.

pub mod backward;
pub mod layers;

use std::time::{Duration, Instant};

use serde::Serialize;

use self::layers::square;
use crate::product::conv::conv2d_with;
use crate::product::matmul_with;
use crate::{ConvShape, Kernel, Matrix, Ring};

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The kernel that products use.
    pub active: String,
    /// 10^9 float multiply-adds a second in AVX2 registers: the best seen among the products. None where there is no AVX2 with FMA.
    pub float_rate: Option<f64>,
    /// One row for each product, ring and kernel.
    pub products: Vec<Row>,
}

/// The rate of one kernel on one product.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What is multiplied: `matrix`, `convolution` or `dense`.
    pub kind: &'static str,
    /// Rows, depth and columns of the product; of a convolution, those of its im2col matrix.
    pub shape: [usize; 3],
    /// Bits of an element.
    pub ring: u32,
    /// The kernel.
    pub kernel: String,
    /// 10^9 multiply-adds a second.
    pub rate: f64,
    /// `rate` over the float rate.
    pub ratio: Option<f64>,
}

/// Rows, depth and columns of ResNet18's layers: the first convolution and those of its four stages.
pub const RESNET18: [[usize; 3]; 5] =
    [[64, 147, 12544], [64, 576, 3136], [128, 1152, 784], [256, 2304, 196], [512, 4608, 49]];

/// The layers of LeNet for a batch of 32, as convolutions, and the dense products of a batch and of one item.
const DENSE: [[usize; 3]; 2] = [[500, 800, 128], [4096, 4096, 1]];

/// Measures every kernel of this machine, about `each` for each figure. `progress` hears how many are done, and of how many.
///
/// # Panics
/// If a pool of one thread cannot be made.
pub fn products(each: Duration, progress: &mut (dyn FnMut(usize, usize) + Send)) -> Figures {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    pool.install(|| {
        let mut rows = Vec::new();
        let mut float = None;
        measure::<u32>(each, &mut rows, &mut float, progress);
        measure::<u64>(each, &mut rows, &mut float, progress);
        for row in &mut rows {
            row.ratio = float.map(|peak| row.rate / peak);
        }
        let active = Kernel::active().map_or_else(|error| error.to_string(), |kernel| kernel.to_string());
        Figures { active, float_rate: float, products: rows }
    })
}

fn measure<R: Ring>(
    each: Duration,
    rows: &mut Vec<Row>,
    float: &mut Option<f64>,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) {
    let figures = 2 * Kernel::available().len() * (RESNET18.len() + convolutions().len() + DENSE.len());
    let mut push = |kind, shape: [usize; 3], kernel: Kernel, work: &mut dyn FnMut()| {
        progress(rows.len(), figures);
        if let Some(peak) = float_rate(each / 4) {
            *float = Some(float.unwrap_or(0.0).max(peak));
        }
        let rate = shape.iter().product::<usize>() as f64 / best(each, work) / 1e9;
        rows.push(Row { kind, shape, ring: R::BITS, kernel: kernel.to_string(), rate, ratio: None });
    };
    for kernel in Kernel::available() {
        for [m, k, n] in RESNET18 {
            let (a, b, mut out) = (elements::<R>(m * k), elements::<R>(k * n), vec![R::ZERO; m * n]);
            push("matrix", [m, k, n], kernel, &mut || {
                matmul_with(kernel, Matrix::new(&a, m, k), Matrix::new(&b, k, n), &mut out, false);
            });
        }
        for (shape, items) in convolutions() {
            let (weights, x) = (elements::<R>(shape.weight_len()), elements::<R>(items * shape.in_len()));
            let mut out = vec![R::ZERO; items * shape.out_len()];
            let places = items * shape.out_height() * shape.out_width();
            let depth = shape.weight_len() / shape.out_channels;
            push("convolution", [shape.out_channels, depth, places], kernel, &mut || {
                conv2d_with(kernel, &shape, items, &weights, &x, &mut out);
            });
        }
        for [m, k, n] in DENSE {
            // Weights are m x k, inputs n x k: the result is inputs times the transposed weights.
            let (w, x, mut out) = (elements::<R>(m * k), elements::<R>(n * k), vec![R::ZERO; m * n]);
            push("dense", [m, k, n], kernel, &mut || {
                matmul_with(kernel, Matrix::new(&x, n, k), Matrix::new(&w, m, k).transposed(), &mut out, false);
            });
        }
    }
}

/// The layers of `RESNET18` for one item, then LeNet's for 32.
fn convolutions() -> Vec<(ConvShape, usize)> {
    vec![
        (square(3, 224, 64, 7, 2, 3), 1),
        (square(64, 56, 64, 3, 1, 1), 1),
        (square(128, 28, 128, 3, 1, 1), 1),
        (square(256, 14, 256, 3, 1, 1), 1),
        (square(512, 7, 512, 3, 1, 1), 1),
        (square(1, 28, 20, 5, 1, 0), 32),
        (square(20, 12, 50, 5, 1, 0), 32),
    ]
}

/// Seconds of the fastest of many calls.
fn best(each: Duration, work: &mut dyn FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    let mut calls = 0;
    while calls < 5 || start.elapsed() < each {
        let call = Instant::now();
        work();
        best = best.min(call.elapsed().as_secs_f64());
        calls += 1;
    }
    best
}

fn elements<R: Ring>(len: usize) -> Vec<R> {
    (0..len as u64).map(|i| R::from_u64(i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))).collect()
}

#[cfg(target_arch = "x86_64")]
fn float_rate(each: Duration) -> Option<f64> {
    const ROUNDS: usize = 10_000;
    let sums = crate::product::float_sums(1)?;
    let seconds = best(each, &mut || {
        std::hint::black_box(crate::product::float_sums(std::hint::black_box(ROUNDS)));
    });
    Some((ROUNDS * sums) as f64 / seconds / 1e9)
}

#[cfg(not(target_arch = "x86_64"))]
fn float_rate(_: Duration) -> Option<f64> {
    None
}

//! Every kernel against loops that say what a product is, at odd sizes.

use ariann_ring::product::{conv::conv2d_with, matmul_with};
use ariann_ring::{ConvShape, Kernel, Matrix, PackedWeights, Ring, conv2d, matmul, matmul_add};
use proptest::prelude::*;

/// Elements with all bits in use, from a counter.
fn elements<R: Ring>(len: usize, seed: u64) -> Vec<R> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    // Some at the edges, where carries are longest.
    (0..len)
        .map(|_| next())
        .map(|v| if v % 7 == 0 { R::ZERO.sub(R::ONE) } else { R::from_u64(v >> 3 ^ v << 32) })
        .collect()
}

fn naive<R: Ring>(m: usize, k: usize, n: usize, a: &[R], b: &[R], out: &mut [R]) {
    for i in 0..m {
        for j in 0..n {
            for l in 0..k {
                out[i * n + j] = out[i * n + j].add(a[i * k + l].mul(b[l * n + j]));
            }
        }
    }
}

fn transpose<R: Ring>(rows: usize, cols: usize, data: &[R]) -> Vec<R> {
    (0..cols).flat_map(|j| (0..rows).map(move |i| data[i * cols + j])).collect()
}

fn check<R: Ring>(m: usize, k: usize, n: usize, seed: u64) {
    let a = elements::<R>(m * k, seed);
    let b = elements::<R>(k * n, seed ^ 1);
    let before = elements::<R>(m * n, seed ^ 2);
    let (at, bt) = (transpose(m, k, &a), transpose(k, n, &b));
    let mut product = vec![R::ZERO; m * n];
    naive(m, k, n, &a, &b, &mut product);
    let mut sum = before.clone();
    naive(m, k, n, &a, &b, &mut sum);
    for kernel in Kernel::available() {
        for ways in 0..4 {
            let a = if ways & 1 == 0 { Matrix::new(&a, m, k) } else { Matrix::new(&at, k, m).transposed() };
            let b = if ways & 2 == 0 { Matrix::new(&b, k, n) } else { Matrix::new(&bt, n, k).transposed() };
            let mut out = before.clone();
            matmul_with(kernel, a, b, &mut out, false);
            assert!(out == product, "{kernel} {m}x{k}x{n} ways {ways}, {} bits", R::BITS);
            let mut out = before.clone();
            matmul_with(kernel, a, b, &mut out, true);
            assert!(out == sum, "{kernel} {m}x{k}x{n} ways {ways}, {} bits, added", R::BITS);
        }
    }
}

#[test]
fn all_small_sizes() {
    for m in [1, 2, 5, 7, 8, 9, 16, 17] {
        for k in [1, 2, 3, 4, 5, 15, 16, 17, 33] {
            for n in [1, 2, 3, 7, 8, 9, 15, 16, 17, 33] {
                check::<u32>(m, k, n, (m * 100 + k * 10 + n) as u64);
                check::<u64>(m, k, n, (m * 100 + k * 10 + n) as u64);
            }
        }
    }
}

#[test]
fn sizes_beyond_one_block() {
    for (m, k, n) in [
        (3, 1500, 5),
        (70, 1100, 35),
        (130, 65, 2100),
        (33, 2049, 70),
        (1300, 700, 9),
        (1, 3000, 77),
        (300, 4097, 1),
        (5000, 3, 2),
    ] {
        check::<u32>(m, k, n, 9);
        check::<u64>(m, k, n, 9);
    }
}

/// All bytes 255 over a long k: the largest sums that a kernel of byte products can meet.
#[test]
fn longest_sums() {
    fn ones<R: Ring>() {
        let (m, k, n) = (17, 20_000, 18);
        let last = R::ZERO.sub(R::ONE);
        let (a, b) = (vec![last; m * k], vec![last; k * n]);
        for kernel in Kernel::available() {
            let mut out = vec![R::ZERO; m * n];
            matmul_with(kernel, Matrix::new(&a, m, k), Matrix::new(&b, k, n), &mut out, false);
            // (-1)(-1) k times.
            assert!(out.iter().all(|v| *v == R::from_u64(k as u64)), "{kernel}, {} bits", R::BITS);
        }
    }
    ones::<u32>();
    ones::<u64>();
}

#[test]
fn empty_products() {
    let mut out = [7u32; 6];
    matmul::<u32>(Matrix::new(&[], 2, 0), Matrix::new(&[], 0, 3), &mut out);
    assert_eq!(out, [0; 6]);
    let mut out = [7u32; 6];
    matmul_add::<u32>(Matrix::new(&[], 2, 0), Matrix::new(&[], 0, 3), &mut out);
    assert_eq!(out, [7; 6]);
    matmul::<u64>(Matrix::new(&[], 0, 2), Matrix::new(&[1; 6], 2, 3), &mut []);
}

#[test]
fn pools_of_any_size_agree() {
    let (m, k, n) = (150, 300, 333);
    let (a, b) = (elements::<u64>(m * k, 1), elements::<u64>(k * n, 2));
    let mut expected = vec![0; m * n];
    naive(m, k, n, &a, &b, &mut expected);
    let (v, mut times) = (elements::<u64>(n, 3), vec![0; k]);
    naive(k, n, 1, &b, &v, &mut times);
    for threads in [1, 2, 3, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (mut out, mut tall, mut vector) = (vec![0; m * n], vec![0; m * n], vec![0; k]);
        pool.install(|| {
            matmul(Matrix::new(&a, m, k), Matrix::new(&b, k, n), &mut out);
            matmul(Matrix::new(&b, k, n).transposed(), Matrix::new(&a, m, k).transposed(), &mut tall);
            for _ in 0..3 {
                matmul(Matrix::new(&b, k, n), Matrix::new(&v, n, 1), &mut vector);
            }
        });
        assert!(out == expected && tall == transpose(m, n, &expected) && vector == times, "{threads} threads");
    }
}

#[test]
fn convolutions_in_pools_of_any_size_agree() {
    let shapes = [
        (lenet(20, 12, 50), 5),
        (ConvShape { kernel: [3, 3], pads: [1; 4], ..lenet(16, 33, 70) }, 1),
        (ConvShape { kernel: [3, 3], pads: [1; 4], groups: 24, ..lenet(24, 40, 24) }, 3),
        (ConvShape { kernel: [1, 1], ..lenet(64, 20, 96) }, 1),
        (ConvShape { kernel: [1, 1], ..lenet(500, 1, 300) }, 12),
        (ConvShape { kernel: [3, 3], pads: [1; 4], ..lenet(128, 4, 130) }, 1),
    ];
    for (shape, items) in shapes {
        let (w, x) = (elements::<u32>(shape.weight_len(), 1), elements::<u32>(items * shape.in_len(), 2));
        let expected = naive_conv(&shape, items, &w, &x);
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![7; items * shape.out_len()];
            pool.install(|| conv2d(&shape, items, &w, &x, &mut out));
            assert!(out == expected, "{threads} threads, {shape:?}");
            out.fill(7);
            let kept = PackedWeights::conv(&shape, &w);
            pool.install(|| kept.product(items, &x, &mut out));
            assert!(out == expected, "{threads} threads, {shape:?}, kept");
        }
    }
}

#[test]
fn few_vectors_in_pools_of_any_size_agree() {
    for (m, k, n) in [(3, 700, 301), (8, 900, 123), (301, 700, 2), (5, 40_000, 7)] {
        let (a, b) = (elements::<u64>(m * k, 1), elements::<u64>(n * k, 2));
        let mut expected = elements::<u64>(m * n, 3);
        let before = expected.clone();
        naive(m, k, n, &a, &transpose(n, k, &b), &mut expected);
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = before.clone();
            pool.install(|| matmul_add(Matrix::new(&a, m, k), Matrix::new(&b, n, k).transposed(), &mut out));
            assert!(out == expected, "{threads} threads, {m}x{k}x{n}");
        }
    }
}

fn naive_conv<R: Ring>(s: &ConvShape, items: usize, weights: &[R], x: &[R]) -> Vec<R> {
    let (depth, outs) = (s.in_channels / s.groups, s.out_channels / s.groups);
    let mut out = Vec::new();
    for item in 0..items {
        for o in 0..s.out_channels {
            for oy in 0..s.out_height() {
                for ox in 0..s.out_width() {
                    let mut sum = R::ZERO;
                    for c in 0..depth {
                        for ky in 0..s.kernel[0] {
                            for kx in 0..s.kernel[1] {
                                let y = (oy * s.stride[0] + ky * s.dilation[0]) as isize - s.pads[0] as isize;
                                let col = (ox * s.stride[1] + kx * s.dilation[1]) as isize - s.pads[1] as isize;
                                if y >= 0 && col >= 0 && y < s.in_height as isize && col < s.in_width as isize {
                                    let channel = item * s.in_channels + o / outs * depth + c;
                                    let v = x[(channel * s.in_height + y as usize) * s.in_width + col as usize];
                                    let w = weights[((o * depth + c) * s.kernel[0] + ky) * s.kernel[1] + kx];
                                    sum = sum.add(v.mul(w));
                                }
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
    }
    out
}

fn check_conv<R: Ring>(shape: &ConvShape, items: usize, seed: u64) {
    let weights = elements::<R>(shape.weight_len(), seed);
    let x = elements::<R>(items * shape.in_len(), seed + 1);
    let expected = naive_conv(shape, items, &weights, &x);
    for kernel in Kernel::available() {
        let mut out = vec![R::ONE; items * shape.out_len()];
        conv2d_with(kernel, shape, items, &weights, &x, &mut out);
        assert!(out == expected, "{kernel}, {} bits, {items} items of {shape:?}", R::BITS);
        let kept = PackedWeights::conv_with(kernel, shape, &weights);
        out.fill(R::ONE);
        kept.product(items, &x, &mut out);
        assert!(out == expected, "{kernel}, {} bits, {items} items of {shape:?}, kept", R::BITS);
    }
}

fn check_dense<R: Ring>(inputs: usize, outputs: usize, items: usize, seed: u64) {
    let (w, x) = (elements::<R>(outputs * inputs, seed), elements::<R>(items * inputs, seed ^ 1));
    let mut expected = vec![R::ZERO; items * outputs];
    naive(items, inputs, outputs, &x, &transpose(outputs, inputs, &w), &mut expected);
    for kernel in Kernel::available() {
        let mut out = vec![R::ONE; items * outputs];
        PackedWeights::dense_with(kernel, inputs, outputs, &w).product(items, &x, &mut out);
        assert!(out == expected, "{kernel}, {} bits, {items} of {inputs} -> {outputs}, kept", R::BITS);
    }
}

fn lenet(in_channels: usize, size: usize, out_channels: usize) -> ConvShape {
    ConvShape {
        in_channels,
        in_height: size,
        in_width: size,
        out_channels,
        kernel: [5, 5],
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
        groups: 1,
    }
}

#[test]
fn convolutions_of_known_networks() {
    for items in [1, 3, 9] {
        check_conv::<u32>(&lenet(1, 28, 20), items, 1);
        check_conv::<u64>(&lenet(20, 12, 50), items, 2);
    }
    let first = ConvShape { kernel: [7, 7], stride: [2, 2], pads: [3; 4], ..lenet(3, 45, 19) };
    check_conv::<u32>(&first, 2, 3);
    let depthwise = ConvShape { kernel: [3, 3], pads: [1; 4], groups: 12, ..lenet(12, 14, 12) };
    check_conv::<u32>(&depthwise, 2, 4);
    check_conv::<u64>(&ConvShape { stride: [2, 2], pads: [0, 0, 1, 1], ..depthwise }, 2, 5);
    for (size, kernel, stride) in [(7, 5, 1), (15, 5, 2), (20, 3, 2), (33, 3, 1), (2, 3, 1), (17, 4, 3)] {
        let shape = ConvShape {
            in_height: size,
            in_width: size + 2,
            kernel: [kernel; 2],
            stride: [stride; 2],
            pads: [1, 2, 2, 1],
            ..depthwise.clone()
        };
        check_conv::<u32>(&shape, 2, size as u64);
        check_conv::<u64>(&ConvShape { out_channels: 36, dilation: [1, 2], ..shape }, 1, size as u64);
    }
    // As many elements of the kernel as pairs of an input and an output element, and yet not dense; then a kernel as large as the map.
    let flat = ConvShape { in_height: 1, in_width: 2, kernel: [1, 4], pads: [0, 1, 0, 2], ..lenet(3, 1, 5) };
    check_conv::<u32>(&flat, 2, 12);
    check_conv::<u32>(&lenet(6, 5, 7), 3, 13);
    // Channels that fill whole steps, over more than one block of k; a map of one place, where most of the kernel meets nothing.
    let wide = ConvShape { kernel: [3, 3], pads: [1; 4], ..lenet(64, 9, 37) };
    check_conv::<u32>(&wide, 2, 6);
    check_conv::<u64>(&ConvShape { stride: [2, 2], ..wide.clone() }, 2, 7);
    check_conv::<u32>(&ConvShape { in_height: 1, in_width: 1, ..wide.clone() }, 5, 8);
    check_conv::<u64>(&ConvShape { in_height: 2, in_width: 1, ..wide.clone() }, 3, 9);
    check_conv::<u32>(&ConvShape { in_height: 40, in_width: 41, dilation: [2, 3], ..wide.clone() }, 1, 10);
    check_conv::<u32>(&ConvShape { groups: 2, in_channels: 40, out_channels: 36, ..wide }, 4, 11);
}

#[test]
fn kept_dense_weights() {
    for (inputs, outputs, items) in [(1, 1, 1), (64, 16, 16), (300, 33, 5), (1030, 50, 40), (17, 200, 600)] {
        check_dense::<u32>(inputs, outputs, items, 1);
        check_dense::<u64>(inputs, outputs, items, 2);
    }
}

/// All bytes 255 over a long k, as in `longest_sums`.
#[test]
fn longest_kept_sums() {
    fn ones<R: Ring>() {
        let (inputs, outputs, items) = (20_000, 17, 18);
        let last = R::ZERO.sub(R::ONE);
        for kernel in Kernel::available() {
            let mut out = vec![R::ZERO; items * outputs];
            let kept = PackedWeights::dense_with(kernel, inputs, outputs, &vec![last; inputs * outputs]);
            assert!(kept.bytes() >= inputs * outputs * size_of::<R>());
            kept.product(items, &vec![last; items * inputs], &mut out);
            assert!(out.iter().all(|v| *v == R::from_u64(inputs as u64)), "{kernel}, {} bits", R::BITS);
        }
    }
    ones::<u32>();
    ones::<u64>();
}

#[test]
fn default_convolution_is_the_active_kernel() {
    let shape = lenet(2, 9, 3);
    let (w, x) = (elements::<u32>(shape.weight_len(), 1), elements::<u32>(shape.in_len(), 2));
    let mut out = vec![0; shape.out_len()];
    conv2d(&shape, 1, &w, &x, &mut out);
    assert_eq!(out, naive_conv(&shape, 1, &w, &x));
    assert_eq!(shape.multiply_adds(), (out.len() * 50) as u64);
}

#[test]
fn shapes_that_are_no_convolution() {
    let good = lenet(4, 8, 6);
    assert!(good.validate().is_ok());
    for bad in [
        ConvShape { in_height: 4, ..good.clone() },
        ConvShape { dilation: [1, 2], ..good.clone() },
        ConvShape { groups: 3, ..good.clone() },
        ConvShape { groups: 4, ..good.clone() },
        ConvShape { groups: 0, ..good.clone() },
        ConvShape { stride: [0, 1], ..good.clone() },
        ConvShape { kernel: [5, 0], ..good.clone() },
        ConvShape { in_channels: usize::MAX, ..good.clone() },
        ConvShape { pads: [usize::MAX, 0, 1, 0], ..good.clone() },
        ConvShape { dilation: [usize::MAX, 1], ..good.clone() },
        ConvShape { pads: [usize::MAX / 4; 4], ..good.clone() },
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
    }
}

#[test]
fn forced_kernels() {
    for kernel in Kernel::available() {
        assert_eq!(Kernel::choose(Some(kernel.name().into())), Ok(kernel));
    }
    assert_eq!(Kernel::choose(None).ok(), Kernel::available().last().copied());
    assert!(Kernel::choose(Some("fastest".into())).is_err());
    for kernel in [Kernel::Avx2, Kernel::Avx512, Kernel::Amx] {
        assert_eq!(Kernel::choose(Some(kernel.name().into())).is_ok(), kernel.is_available());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn products(m in 1usize..=40, k in 1usize..=40, n in 1usize..=40, seed: u64) {
        check::<u32>(m, k, n, seed);
        check::<u64>(m, k, n, seed);
    }

    #[test]
    fn long_products(m in 1usize..=40, k in 1usize..=700, n in 1usize..=90, seed: u64) {
        check::<u32>(m, k, n, seed);
        check::<u64>(m, k, n, seed);
    }

    #[test]
    fn kept_dense(inputs in 1usize..=600, outputs in 1usize..=70, items in 1usize..=40, seed: u64) {
        check_dense::<u32>(inputs, outputs, items, seed);
        check_dense::<u64>(inputs, outputs, items, seed);
    }

    #[test]
    fn convolutions(
        (groups, depth, outs) in (1usize..=4, 1usize..=5, 1usize..=7),
        size in (1usize..=14, 1usize..=14),
        kernel in (1usize..=5, 1usize..=5),
        stride in (1usize..=3, 1usize..=3),
        pads in proptest::array::uniform4(0usize..=4),
        dilation in (1usize..=3, 1usize..=3),
        items in 1usize..=4,
        seed in 0u64..u64::MAX / 2,
    ) {
        let shape = ConvShape {
            in_channels: groups * depth,
            in_height: size.0,
            in_width: size.1,
            out_channels: groups * outs,
            kernel: [kernel.0, kernel.1],
            stride: [stride.0, stride.1],
            pads,
            dilation: [dilation.0, dilation.1],
            groups,
        };
        if shape.validate().is_ok() {
            check_conv::<u32>(&shape, items, seed);
            check_conv::<u64>(&shape, items, seed);
        }
    }
}

//! Products of training, forwards and backwards, against their definitions.

use ariann_ring::{Axes, Bilinear, ConvShape, LinearShape, Ring};
use proptest::prelude::*;

/// A fixed sequence of elements.
fn words<R: Ring>(len: usize, seed: u64) -> Vec<R> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        R::from_u64(state ^ (state >> 29))
    };
    (0..len).map(|_| next()).collect()
}

/// Every (weight, input, output) that a layer multiplies and sums, for one item.
fn terms(shape: &LinearShape, mut each: impl FnMut(usize, usize, usize)) {
    match shape {
        LinearShape::Dense { inputs, outputs } => {
            (0..outputs * inputs).for_each(|weight| each(weight, weight % inputs, weight / inputs));
        }
        LinearShape::Conv(s) => {
            let (inputs, outputs) = (s.in_channels / s.groups, s.out_channels / s.groups);
            let (rows, columns) = (s.out_height(), s.out_width());
            for o in 0..s.out_channels {
                for c in 0..inputs {
                    for (ky, kx) in (0..s.kernel[0]).flat_map(|ky| (0..s.kernel[1]).map(move |kx| (ky, kx))) {
                        let weight = ((o * inputs + c) * s.kernel[0] + ky) * s.kernel[1] + kx;
                        for (oy, ox) in (0..rows).flat_map(|oy| (0..columns).map(move |ox| (oy, ox))) {
                            let y = (oy * s.stride[0] + ky * s.dilation[0]) as isize - s.pads[0] as isize;
                            let x = (ox * s.stride[1] + kx * s.dilation[1]) as isize - s.pads[1] as isize;
                            if y < 0 || x < 0 || y >= s.in_height as isize || x >= s.in_width as isize {
                                continue;
                            }
                            let channel = o / outputs * inputs + c;
                            let input = (channel * s.in_height + y as usize) * s.in_width + x as usize;
                            each(weight, input, (o * rows + oy) * columns + ox);
                        }
                    }
                }
            }
        }
    }
}

fn defined<R: Ring>(of: &Bilinear, a: &[R], b: &[R]) -> Vec<R> {
    let mut out = vec![R::ZERO; of.out_len()];
    let mut add = |to: usize, i: usize, j: usize| out[to] = out[to].add(a[i].mul(b[j]));
    let place = |axes: &Axes, index: usize| index / axes.inner % axes.kept;
    match of {
        Bilinear::Forward { shape, items } => {
            (0..*items).for_each(|n| terms(shape, |w, x, y| add(n * shape.out_len() + y, n * shape.in_len() + x, w)))
        }
        Bilinear::BackwardInput { shape, items } => {
            (0..*items).for_each(|n| terms(shape, |w, x, y| add(n * shape.in_len() + x, n * shape.out_len() + y, w)))
        }
        Bilinear::BackwardWeights { shape, items } => {
            (0..*items).for_each(|n| terms(shape, |w, x, y| add(w, n * shape.out_len() + y, n * shape.in_len() + x)))
        }
        Bilinear::Channels(axes) => (0..axes.len()).for_each(|i| add(i, i, place(axes, i))),
        Bilinear::Inner(axes) => (0..axes.len()).for_each(|i| add(place(axes, i), i, i)),
    }
    out
}

fn agrees<R: Ring>(of: &Bilinear) {
    let [a, b] = of.lens();
    let (a, b) = (words::<R>(a, 1), words::<R>(b, 2));
    let mut out = vec![R::ONE; of.out_len()];
    of.apply(&a, &b, &mut out);
    assert!(out == defined(of, &a, &b), "{of:?} in Z_2^{}", R::BITS);
}

fn layer(shape: LinearShape, items: usize) {
    for of in [
        Bilinear::Forward { shape: shape.clone(), items },
        Bilinear::BackwardInput { shape: shape.clone(), items },
        Bilinear::BackwardWeights { shape, items },
    ] {
        agrees::<u32>(&of);
        agrees::<u64>(&of);
    }
}

/// Channels of a group in and out, groups.
#[allow(clippy::too_many_arguments)]
fn conv(
    channels: [usize; 3],
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    dilation: [usize; 2],
) -> ConvShape {
    let [inputs, outputs, groups] = channels;
    ConvShape {
        in_channels: inputs * groups,
        in_height: size[0],
        in_width: size[1],
        out_channels: outputs * groups,
        kernel,
        stride,
        pads,
        dilation,
        groups,
    }
}

#[test]
fn layers_of_networks() {
    let square = |channels: [usize; 3], size, kernel, stride, pad| {
        LinearShape::Conv(conv(channels, [size; 2], [kernel; 2], [stride; 2], [pad; 4], [1; 2]))
    };
    for (shape, items) in [
        (LinearShape::Dense { inputs: 1, outputs: 1 }, 1),
        (LinearShape::Dense { inputs: 200, outputs: 50 }, 128),
        (square([1, 20, 1], 28, 5, 1, 0), 5),
        (square([20, 50, 1], 12, 5, 1, 0), 33),
        (square([64, 32, 1], 8, 3, 1, 1), 4),
        (square([3, 16, 1], 31, 11, 4, 2), 3),
        (square([16, 32, 1], 16, 3, 2, 1), 7),
        (square([16, 32, 1], 16, 1, 2, 0), 7),
        (square([1, 1, 24], 14, 3, 1, 1), 3),
        (square([1, 2, 24], 15, 5, 2, 2), 3),
        (square([4, 6, 3], 9, 3, 1, 1), 2),
        (square([5, 130, 2], 6, 3, 1, 1), 3),
    ] {
        layer(shape, items);
    }
}

/// More places than are held at once.
#[test]
fn places_in_parts() {
    layer(LinearShape::Conv(conv([32, 3, 1], [40, 41], [5, 3], [1, 1], [2, 1, 2, 1], [1, 1])), 3);
    layer(LinearShape::Conv(conv([16, 3, 1], [60, 61], [5, 3], [2, 3], [2, 1, 2, 1], [1, 1])), 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn odd_convolutions(
        channels in [1usize..5, 1..5, 1..4],
        size in [1usize..12, 1..12],
        kernel in [1usize..5, 1..5],
        stride in [1usize..4, 1..4],
        pads in [0usize..4, 0..4, 0..4, 0..4],
        dilation in [1usize..4, 1..4],
        items in 1usize..5,
    ) {
        let shape = conv(channels, size, kernel, stride, pads, dilation);
        prop_assume!(shape.validate().is_ok());
        layer(LinearShape::Conv(shape), items);
    }

    #[test]
    fn odd_axes(outer in 1usize..9, kept in 1usize..40, inner in 1usize..40) {
        for axes in [Axes { outer, kept, inner }, Axes { outer, kept, inner: 1 }] {
            for of in [Bilinear::Channels(axes), Bilinear::Inner(axes)] {
                agrees::<u32>(&of);
                agrees::<u64>(&of);
            }
            // A sum is the inner product with ones, a spread value a multiple of them.
            let (x, ones) = (words::<u32>(axes.len(), 3), vec![1u32; axes.len()]);
            let mut sums = vec![7; axes.kept];
            axes.reduce(&x, &mut sums);
            assert_eq!(sums, defined(&Bilinear::Inner(axes), &x, &ones));
            let mut spread = vec![7; axes.len()];
            axes.spread(&sums, &mut spread);
            assert_eq!(spread, defined(&Bilinear::Channels(axes), &ones, &sums));
        }
    }
}

//! The fixed-point reference against exact integers, against floats, and at its bounds.

mod common;
#[path = "common/networks.rs"]
mod networks;

use std::path::Path;

use ariann_graph::clear::{self, ClearError, Excess, Reference, bound, encode_weights};
use ariann_graph::{Executor, FixedPoint, Graph, LayerScale, Nearest, Op, Rounding, ValueId, calibrate, import};
use ariann_ring::Ring;
use common::{images, labels, max_difference};
use networks::{Builder, Numbers, conv_shape, networks};
use proptest::prelude::*;

fn rounded<R: Ring>(z: i64, shift: u32) -> i64 {
    let mut out = [R::ZERO];
    Nearest.round(0, 0, &[R::from_i64(z)], shift, R::BITS, &mut out);
    out[0].to_i64()
}

#[test]
fn nearest_is_the_floor_of_z_and_a_half() {
    for shift in 0..6u32 {
        for z in -200i64..200 {
            let exact = (z as f64 / f64::from(1 << shift) + 0.5).floor();
            let exact = if shift == 0 { z as f64 } else { exact };
            assert_eq!(rounded::<u32>(z, shift) as f64, exact, "{z} / 2^{shift}");
            assert_eq!(rounded::<u64>(z, shift) as f64, exact, "{z} / 2^{shift}");
        }
    }
    // The half is added without wrapping.
    assert_eq!(rounded::<u32>(i32::MAX.into(), 4), 1 << 27);
    assert_eq!(rounded::<u32>(i32::MIN.into(), 31), -1);
    assert_eq!(rounded::<u64>(i64::MAX, 1), 1 << 62);
    assert_eq!(rounded::<u64>(i64::MIN, 63), -1);
}

/// Scales with room: every layer keeps `frac` bits.
fn even_scales(graph: &Graph, ring_bits: u32, frac: u32) -> FixedPoint {
    let count = graph.linear_nodes().count();
    let scale =
        |index| LayerScale { weight_frac: frac as i32, shift: frac, top: ring_bits, truncated: index + 1 < count };
    FixedPoint { ring_bits, input_frac: frac as i32, layers: (0..count).map(scale).collect() }
}

/// The same integers by definition: one sum after the other in 128 bits, reduced at the end.
fn by_definition<R: Ring>(graph: &Graph, fixed: &FixedPoint, x: &[f32]) -> Vec<i128> {
    let mut values: Vec<Vec<i128>> =
        vec![x.iter().map(|&v| (f64::from(v) * 2f64.powi(fixed.input_frac)).round() as i128).collect()];
    let mut fracs = vec![fixed.input_frac];
    let mut scales = fixed.layers.iter();
    for node in &graph.nodes {
        let x = &values[node.inputs[0].0];
        let mut frac = fracs[node.inputs[0].0];
        let mut out: Vec<i128> = vec![0; node.len()];
        match &node.op {
            Op::Dense(_) | Op::Conv(_) => {
                let scale = scales.next().expect("a scale a layer");
                frac += scale.weight_frac;
                let (weights, bias) = encode_weights::<R>(node, scale.weight_frac, frac).expect("they fit");
                let weight = |index: usize| i128::from(weights[index].to_i64());
                for (place, z) in out.iter_mut().enumerate() {
                    *z = match &node.op {
                        Op::Dense(_) => {
                            let products = x.iter().enumerate().map(|(i, value)| value * weight(place * x.len() + i));
                            products.sum::<i128>() + i128::from(bias[place].to_i64())
                        }
                        Op::Conv(conv) => {
                            let s = &conv.shape;
                            let (width, plane) = (s.out_width(), s.out_height() * s.out_width());
                            let (o, y, column) = (place / plane, place % plane / width, place % width);
                            let mut sum = i128::from(bias[o].to_i64());
                            for c in 0..s.in_channels {
                                for ky in 0..s.kernel[0] {
                                    for kx in 0..s.kernel[1] {
                                        let iy = (y * s.stride[0] + ky).wrapping_sub(s.pads[0]);
                                        let ix = (column * s.stride[1] + kx).wrapping_sub(s.pads[1]);
                                        if iy < s.in_height && ix < s.in_width {
                                            let w = ((o * s.in_channels + c) * s.kernel[0] + ky) * s.kernel[1] + kx;
                                            sum += x[(c * s.in_height + iy) * s.in_width + ix] * weight(w);
                                        }
                                    }
                                }
                            }
                            sum
                        }
                        _ => unreachable!(),
                    };
                    if scale.truncated {
                        *z = (*z + (1 << (scale.shift - 1))) >> scale.shift;
                    }
                }
                if scale.truncated {
                    frac -= scale.shift as i32;
                }
            }
            Op::Relu => out = x.iter().map(|&x| x.max(0)).collect(),
            Op::MaxPool(pool) => pool.apply(1, x, &mut out, i128::max),
            Op::Add => out = x.iter().zip(&values[node.inputs[1].0]).map(|(a, b)| a + b).collect(),
            Op::Reshape => out = x.clone(),
        }
        values.push(out);
        fracs.push(frac);
    }
    values.swap_remove(graph.output.0)
}

fn check_exact<R: Ring>(graph: &Graph, frac: u32, x: &[f32], items: usize) -> Result<(), TestCaseError> {
    let fixed = even_scales(graph, R::BITS, frac);
    let run = clear::run::<R>(graph, &fixed, items, x, &mut Nearest).expect("the scales fit");
    prop_assert_eq!(&run.excess, &None);
    let exact: Vec<i128> =
        x.chunks_exact(graph.input.len()).flat_map(|x| by_definition::<R>(graph, &fixed, x)).collect();
    let logits: Vec<i128> = run.logits.iter().map(|logit| logit.to_i64().into()).collect();
    prop_assert_eq!(logits, exact);
    let floats = Executor::new(graph).run(items, x).expect("the items fit");
    let difference = max_difference(&run.decoded(), &floats);
    prop_assert!(difference < 400.0 / (1u64 << frac) as f32, "differs from floats by {}", difference);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn integers_are_those_of_the_definition(graph in networks(), seed in any::<u64>()) {
        let items = 18; // more than pass through together
        let x = Numbers(seed).many(items * graph.input.len());
        check_exact::<u32>(&graph, 8, &x, items)?;
        check_exact::<u64>(&graph, 20, &x, items)?;
    }
}

/// One dense layer with one weight of 1, a ReLU, and a second layer; z is the input.
fn wire(pooled: bool, seed: u64) -> Graph {
    let mut builder = Builder::new(&[1, 1, 1], seed);
    builder.conv(conv_shape(1, 1, 1, 1, 1, 0), false);
    if pooled {
        builder.pool(1, 1, 0);
    }
    builder.relu();
    builder.dense(1, false);
    let mut graph = builder.graph;
    for node in &mut graph.nodes {
        match &mut node.op {
            Op::Conv(conv) => conv.weights.data_mut().fill(1.0),
            Op::Dense(dense) => dense.weights.data_mut().fill(1.0),
            _ => {}
        }
    }
    graph
}

#[test]
fn the_bound_is_the_protocols_and_its_edges_are_found() {
    for (pooled, allowed) in [(true, (1 << 14) - (1 << 5)), (false, (1 << 15) - (1 << 5))] {
        let graph = wire(pooled, 3);
        let scale = LayerScale { weight_frac: 0, shift: 4, top: 16, truncated: true };
        let last = LayerScale { weight_frac: 0, shift: 0, top: 32, truncated: false };
        let fixed = FixedPoint { ring_bits: 32, input_frac: 0, layers: vec![scale, last] };
        assert_eq!(bound(&graph, 0, &scale, 32), f64::from(allowed));
        let run = |values: &[i32]| {
            let x: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            clear::run::<u32>(&graph, &fixed, x.len(), &x, &mut Nearest).expect("the scales fit")
        };
        assert_eq!(run(&[allowed, -allowed, 0]).excess, None);
        for beyond in [allowed + 1, -allowed - 1, 1 << 24] {
            let (name, value, bound) = ("layer1".to_string(), f64::from(beyond), f64::from(allowed));
            let excess = run(&[0, allowed, beyond, beyond]).excess;
            assert_eq!(excess, Some(Excess { layer: 0, name, item: 2, value, bound }));
        }
    }
}

#[test]
fn a_value_that_stays_signed_has_the_tight_bound() {
    let scale = LayerScale { weight_frac: 0, shift: 4, top: 16, truncated: true };
    let tight = f64::from((1 << 14) - (1 << 5));
    let mut builder = Builder::new(&[4], 3);
    let first = builder.dense(4, false);
    builder.dense(4, false);
    builder.add(first);
    builder.relu();
    builder.dense(2, false);
    let graph = builder.graph;
    let nodes: Vec<usize> = graph.linear_nodes().collect();
    let bounds: Vec<f64> = nodes.iter().map(|&node| bound(&graph, node, &scale, 32)).collect();
    assert_eq!(bounds, [tight; 3], "into a layer and a sum, into a sum, revealed");
    let revealed = LayerScale { truncated: false, ..scale };
    assert_eq!(bound(&graph, nodes[2], &revealed, 32), f64::from(i32::MAX));
}

#[test]
fn bounds_of_a_graph_with_very_many_paths_are_found_at_once() {
    let mut builder = Builder::new(&[2], 3);
    let mut value = builder.dense(2, false);
    for _ in 0..100 {
        builder.graph.output = value;
        builder.relu();
        value = builder.add(value);
    }
    builder.dense(2, false);
    let graph = builder.graph;
    assert!(!graph.pooled_before_next_linear(0), "2^100 paths without a pooling");
    assert!(graph.stays_signed(0));
}

#[test]
fn a_value_that_wrapped_into_its_bound_is_found() {
    let graph = wire(false, 3);
    let scale = LayerScale { weight_frac: 12, shift: 4, top: 32, truncated: true };
    let last = LayerScale { weight_frac: 0, shift: 0, top: 32, truncated: false };
    let fixed = FixedPoint { ring_bits: 32, input_frac: 0, layers: vec![scale, last] };
    // 2^20 · 2^12 = 2^32 is 0 in the ring.
    let run = clear::run::<u32>(&graph, &fixed, 1, &[(1 << 20) as f32], &mut Nearest).expect("the scales fit");
    assert_eq!(run.logits, [0]);
    let excess = run.excess.expect("the sum left the ring");
    assert_eq!((excess.name.as_str(), excess.value), ("layer1", 2f64.powi(32)));
    // The layer that is not truncated must fit the ring as well.
    let scale = LayerScale { weight_frac: 4, shift: 4, top: 32, truncated: true };
    let last = LayerScale { weight_frac: 12, ..last };
    let fixed = FixedPoint { ring_bits: 32, input_frac: 0, layers: vec![scale, last] };
    let run = clear::run::<u32>(&graph, &fixed, 1, &[(1 << 20) as f32], &mut Nearest).expect("the scales fit");
    assert_eq!(run.excess.expect("the sum left the ring").layer, 1);
}

#[test]
fn the_first_layer_counts_before_the_first_item() {
    let graph = wire(false, 3);
    let scale = LayerScale { weight_frac: 0, shift: 0, top: 20, truncated: true };
    let last = LayerScale { weight_frac: 14, shift: 0, top: 32, truncated: false };
    let fixed = FixedPoint { ring_bits: 32, input_frac: 0, layers: vec![scale, last] };
    let mut x = vec![0.0; 40];
    x[1] = (1 << 18) as f32; // leaves the ring in the second layer
    x[39] = (1 << 20) as f32; // leaves its window in the first
    let run = clear::run::<u32>(&graph, &fixed, 40, &x, &mut Nearest).expect("the scales fit");
    let excess = run.excess.expect("two values are beyond");
    assert_eq!((excess.layer, excess.item), (0, 39));
}

/// Notes what it is given, and rounds down.
#[derive(Default)]
struct Recorder(Vec<(usize, usize, usize, u32, u32)>);

impl Rounding<u64> for Recorder {
    fn round(&mut self, layer: usize, first_item: usize, z: &[u64], shift: u32, top: u32, out: &mut [u64]) {
        self.0.push((layer, first_item, z.len(), shift, top));
        out.iter_mut().zip(z).for_each(|(out, z)| *out = ((*z as i64) >> shift) as u64);
    }
}

#[test]
fn rounding_can_be_replaced_and_learns_layer_item_and_window() {
    let mut builder = Builder::new(&[3], 9);
    builder.dense(2, true);
    builder.relu();
    builder.dense(4, true);
    builder.relu();
    builder.dense(1, true);
    let graph = builder.graph;
    let mut fixed = even_scales(&graph, 64, 10);
    fixed.layers[1].top = 40;
    let x = Numbers(1).many(20 * 3);
    let mut recorder = Recorder::default();
    let run = clear::run(&graph, &fixed, 20, &x, &mut recorder).expect("the scales fit");
    let mut calls = recorder.0;
    calls.sort_unstable();
    assert_eq!(calls, [(0, 0, 32, 10, 64), (0, 16, 8, 10, 64), (1, 0, 64, 10, 40), (1, 16, 16, 10, 40)]);
    let nearest = clear::run::<u64>(&graph, &fixed, 20, &x, &mut Nearest).expect("the scales fit");
    assert_ne!(run.logits, nearest.logits, "the other rounding has an effect");
    assert_eq!((run.logits.len(), run.frac_bits), (20, 20));
}

#[test]
fn scales_that_do_not_fit_are_refused() {
    let graph = wire(false, 3);
    let fixed = even_scales(&graph, 32, 8);
    let new = |fixed: &FixedPoint| Reference::<u32>::new(&graph, fixed).map(|_| ()).expect_err("it must be refused");
    assert!(matches!(new(&FixedPoint { ring_bits: 64, ..fixed.clone() }), ClearError::Ring { planned: 64, ring: 32 }));
    assert!(matches!(
        new(&FixedPoint { layers: vec![], ..fixed.clone() }),
        ClearError::Layers { planned: 0, layers: 2 }
    ));
    for (shift, top) in [(8, 33), (14, 16), (20, 4), (u32::MAX - 3, 4)] {
        let mut wrong = fixed.clone();
        (wrong.layers[0].shift, wrong.layers[0].top) = (shift, top);
        assert!(matches!(new(&wrong), ClearError::Window { .. }), "[{shift}, {top})");
    }
    let mut large = fixed.clone();
    large.layers[1].weight_frac = 31;
    let error = new(&large).to_string();
    assert!(error.contains("layer \"layer4\" does not fit the ring"), "{error}");
    let input =
        clear::run::<u32>(&graph, &FixedPoint { input_frac: 31, ..fixed.clone() }, 2, &[0.5, 1.0], &mut Nearest);
    let error = input.expect_err("2^31 is no signed element").to_string();
    assert!(error.contains("item 1 does not fit the ring"), "{error}");
    let error = clear::run::<u32>(&graph, &fixed, 1, &[f32::NAN], &mut Nearest).expect_err("a NaN").to_string();
    assert!(error.contains("NaN"), "{error}");
}

#[test]
fn sums_of_different_scales_are_refused() {
    let mut builder = Builder::new(&[2], 3);
    builder.dense(2, false);
    builder.add(ValueId::INPUT);
    let graph = builder.graph;
    let scale = LayerScale { weight_frac: 8, shift: 8, top: 32, truncated: true };
    let fixed = FixedPoint { ring_bits: 32, input_frac: 8, layers: vec![scale] };
    assert!(Reference::<u32>::new(&graph, &fixed).is_ok());
    let other = FixedPoint { layers: vec![LayerScale { shift: 7, ..scale }], ..fixed };
    let error = Reference::<u32>::new(&graph, &other).map(|_| ()).expect_err("scales differ");
    assert_eq!(error, ClearError::Scales { layer: "layer2".into(), a: 9, b: 8 });
}

#[test]
fn the_bundled_network_keeps_its_predictions() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/assets");
    let graph = import(&assets.join("fashion-cnn.onnx")).expect("the bundled network");
    let training = images(&assets.join("fashion-train-images-idx3-ubyte.gz"), 100);
    let ranges = calibrate(&graph, 100, &training).expect("the images fit");
    assert!(ranges.layers.iter().all(|layer| layer.max_abs < 64.0), "{ranges:?}");
    let x = images(&assets.join("fashion-test-images-idx3-ubyte.gz"), 500);
    let floats = Executor::new(&graph).run(500, &x).expect("the images fit");
    let fixed = even_scales(&graph, 32, 12);
    let run = clear::run::<u32>(&graph, &fixed, 500, &x, &mut Nearest).expect("the scales fit");
    assert_eq!(run.excess, None);
    let difference = max_difference(&run.decoded(), &floats);
    println!("greatest difference {difference}");
    assert!(difference < 0.02, "{difference}");
    let equal = labels(&run.decoded(), 10).iter().zip(labels(&floats, 10)).filter(|(a, b)| **a == *b).count();
    assert!(equal >= 499, "{equal} of 500 predictions agree");
}

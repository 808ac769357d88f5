//! Derivatives of every layer and loss against central differences.

use ariann_ring::Arrange;
use ariann_ring::arrange::{Axis, Block};

use super::*;
use crate::{AvgPool, Pool};

fn check(net: &Net) {
    for loss in [Loss::Mse, Loss::CrossEntropy] {
        check_gradients(&net.graph, &recipe(loss, 5));
    }
}

#[test]
fn dense_layers_and_losses() {
    let mut net = Net::new(&[6]);
    net.dense("a", 7, true);
    net.relu("r");
    net.dense("b", 4, false);
    check(&net);
}

#[test]
fn convolutions() {
    type Change = fn(&mut ConvShape);
    let cases: [(usize, Change); 7] = [
        (6, |_| ()),
        (6, |shape| shape.stride = [2, 3]),
        (4, |shape| shape.pads = [1, 2, 0, 1]),
        (6, |shape| shape.groups = 2),
        (4, |shape| (shape.groups, shape.stride, shape.pads) = (4, [2, 1], [1, 1, 1, 1])),
        (6, |shape| (shape.dilation, shape.pads) = ([2, 1], [1, 0, 2, 1])),
        (8, |shape| (shape.groups, shape.dilation, shape.stride, shape.pads) = (4, [1, 2], [2, 2], [0, 3, 1, 2])),
    ];
    for (channels, change) in cases {
        let mut net = Net::new(&[2, 7, 6]);
        net.conv("first", 4, [1, 2], |_| ());
        net.conv("second", channels, [3, 2], change);
        net.dense("head", 3, true);
        check(&net);
    }
}

#[test]
fn a_convolution_of_many_places_makes_a_product_of_each_item() {
    let mut net = Net::new(&[1, 18, 19]);
    net.conv("first", 2, [2, 2], |_| ());
    net.conv("second", 3, [3, 3], |shape| (shape.pads, shape.stride) = ([1; 4], [1, 1]));
    net.relu("r");
    net.dense("head", 3, true);
    check(&net);
}

#[test]
fn a_bias_for_every_place() {
    let mut net = Net::new(&[1, 4, 4]);
    net.conv("first", 2, [2, 2], |_| ());
    let biases = net.numbers.many(18);
    let Op::Conv(conv) = &mut net.graph.nodes[0].op else { panic!("a convolution") };
    conv.bias = Some(biases);
    net.dense("head", 3, true);
    check(&net);
}

fn pool(net: &Net, kernel: [usize; 2], stride: [usize; 2], pads: [usize; 4], dilation: [usize; 2]) -> Pool {
    let &[channels, in_height, in_width] = net.shape().as_slice() else { panic!("an image") };
    Pool { channels, in_height, in_width, kernel, stride, pads, dilation }
}

#[test]
fn max_pooling_of_any_window() {
    let cases = [
        ([2, 2], [2, 2], [0; 4], [1, 1]),
        ([3, 3], [2, 2], [1; 4], [1, 1]),
        ([3, 2], [1, 2], [0, 1, 1, 0], [1, 1]),
        ([2, 2], [1, 1], [0; 4], [2, 3]),
    ];
    for (kernel, stride, pads, dilation) in cases {
        let mut net = Net::new(&[2, 8, 7]);
        net.conv("first", 3, [2, 2], |_| ());
        let pool = pool(&net, kernel, stride, pads, dilation);
        let out = vec![3, pool.out_height(), pool.out_width()];
        net.push("pool", Op::MaxPool(pool), out);
        net.relu("r");
        net.dense("head", 3, true);
        check(&net);
    }
}

#[test]
fn average_pooling_with_padding_counted_or_not_and_global() {
    for counted in [true, false] {
        let mut net = Net::new(&[2, 8, 7]);
        net.conv("first", 3, [2, 2], |_| ());
        let pool = pool(&net, [3, 2], [2, 1], [1, 0, 1, 1], [1, 1]);
        let sizes = [pool.out_height(), pool.out_width()];
        let counts = [0, 1].map(|axis| {
            let count = |window| if counted { pool.kernel[axis] } else { pool.places(axis, window).count() };
            (0..sizes[axis]).map(|window| count(window) as u32).collect()
        });
        net.push("pool", Op::AvgPool(AvgPool { pool, counts }), vec![3, sizes[0], sizes[1]]);
        net.conv("second", 4, [2, 2], |_| ());
        let &[channels, height, width] = net.shape().as_slice() else { panic!("an image") };
        net.push("global", Op::AvgPool(AvgPool::global(channels, height, width)), vec![channels, 1, 1]);
        net.dense("head", 3, true);
        check(&net);
    }
}

#[test]
fn a_value_that_several_layers_read() {
    let mut net = Net::new(&[2, 5, 5]);
    net.conv("first", 3, [2, 2], |_| ());
    let start = net.relu("r");
    net.conv("a", 3, [3, 3], |shape| shape.pads = [1; 4]);
    let left = net.relu("ra");
    net.join("add", Op::Add, vec![left, start], vec![3, 4, 4]);
    let sum = net.relu("rs");
    net.join("twice", Op::Add, vec![sum, start], vec![3, 4, 4]);
    net.dense("head", 3, true);
    check(&net);
}

fn block(source: usize, from: usize, to: usize, axes: &[(usize, isize, isize)]) -> Block {
    Block { source, from, to, axes: axes.iter().map(|&(len, from, to)| Axis { len, from, to }).collect() }
}

#[test]
fn concatenation_slices_and_padding() {
    let mut net = Net::new(&[2, 4, 4]);
    let start = net.conv("first", 2, [1, 1], |_| ());
    let second = net.conv("second", 3, [3, 3], |shape| shape.pads = [1; 4]);
    // Channels of both behind each other.
    let concat = Arrange { len: 80, blocks: vec![block(1, 0, 0, &[(48, 1, 1)]), block(0, 0, 48, &[(32, 1, 1)])] };
    net.join("concat", Op::Arrange(concat), vec![start, second], vec![5, 4, 4]);
    // Every second row from the last, and a column of zeros on both sides.
    let rows = Arrange { len: 60, blocks: vec![block(0, 12, 1, &[(5, 16, 12), (2, -8, 6), (4, 1, 1)])] };
    net.push("rows", Op::Arrange(rows), vec![5, 2, 6]);
    net.relu("r");
    net.dense("head", 3, true);
    check(&net);
}

#[test]
fn batch_normalisation_of_images_and_of_features() {
    let mut net = Net::new(&[2, 5, 4]);
    net.conv("first", 3, [2, 2], |_| ());
    net.norm("n1");
    net.relu("r1");
    net.conv("second", 4, [2, 2], |_| ());
    net.norm("n2");
    net.dense("middle", 6, true);
    net.norm("n3");
    net.relu("r3");
    net.dense("head", 3, true);
    check(&net);
}

#[test]
fn batch_normalisation_that_is_frozen_is_a_scaling() {
    let mut net = Net::new(&[2, 5, 4]);
    net.conv("first", 3, [2, 2], |_| ());
    net.norm("norm");
    net.relu("r1");
    net.dense("head", 3, true);
    let recipe = Recipe { freeze: vec!["norm".into()], ..recipe(Loss::Mse, 4) };
    check_gradients(&net.graph, &recipe);
}

#[test]
fn dropout_of_the_models_ratio_and_of_the_recipes() {
    let mut net = Net::new(&[6]);
    net.dense("a", 40, true);
    net.push("d1", Op::Dropout { ratio: Some(0.5) }, vec![40]);
    net.relu("r");
    net.push("d2", Op::Dropout { ratio: None }, vec![40]);
    net.dense("b", 4, false);
    check(&net);
    let step = training_step(&net.graph, &recipe(Loss::Mse, 5), 0.1, false).expect("a step");
    for (name, keep) in [("d1", 128.0), ("d2", 192.0)] {
        let dropped = value(&step, name, 1).iter().filter(|&&value| value == 0.0).count() as f64;
        let relued = if name == "d2" { 100.0 } else { 0.0 };
        let expected = 200.0 * (1.0 - keep / 256.0);
        assert!(dropped >= expected - 30.0 && dropped <= expected + 30.0 + relued, "{name}: {dropped}");
    }
}

//! Models and items: a small one made by hand with every kind of gate, the bundled one, and those of the sample data.

use std::path::PathBuf;

use ariann_data::{Items, Preprocess, bundled};
use ariann_graph::{Conv, Dense, Graph, Input, Node, Op, Pool, ValueId, import, import_bytes};
use ariann_ring::{ConvShape, Tensor};

#[allow(unused_imports)]
pub use super::builder::{attentive, branched, curved, input_first};

/// Conv, overlapping pooling, ReLU, dense, ReLU, dense on dense; 3 classes.
pub fn small() -> Graph {
    let conv = ConvShape {
        in_channels: 1,
        in_height: 7,
        in_width: 7,
        out_channels: 2,
        kernel: [3, 3],
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
        groups: 1,
    };
    let pool =
        Pool { channels: 2, in_height: 5, in_width: 5, kernel: [3, 3], stride: [2, 2], pads: [0; 4], dilation: [1, 1] };
    let mut state = 7u32;
    let mut numbers = |len: usize| -> Vec<f32> {
        let mut one = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(|_| one()).collect()
    };
    let tensor = |shape: &[usize], data| Tensor::new(shape.to_vec(), data).unwrap();
    let mut dense = |outputs: usize, inputs: usize| {
        let weights = tensor(&[outputs, inputs], numbers(outputs * inputs));
        Op::Dense(Dense { weights, bias: Some(numbers(outputs)), weight_name: "w".into(), bias_name: None })
    };
    let layers = [dense(6, 8), dense(5, 6), dense(3, 5)];
    let weights = tensor(&[2, 1, 3, 3], numbers(18));
    let conv =
        Op::Conv(Conv { shape: conv, weights, bias: Some(numbers(2)), weight_name: "w".into(), bias_name: None });
    let [first, second, third] = layers;
    let ops = [
        (conv, vec![2, 5, 5]),
        (Op::MaxPool(pool), vec![2, 2, 2]),
        (Op::Relu, vec![2, 2, 2]),
        (Op::Reshape, vec![8]),
        (first, vec![6]),
        (Op::Relu, vec![6]),
        (second, vec![5]),
        (third, vec![3]),
    ];
    let node = |(index, (op, shape)): (usize, (Op, Vec<usize>))| {
        let name = format!("{}{index}", op.name().to_lowercase());
        Node { name, op, inputs: vec![ValueId(index)], output: ValueId(index + 1), shape }
    };
    let nodes: Vec<Node> = ops.into_iter().enumerate().map(node).collect();
    let input = Input { name: "x".into(), shape: vec![1, 7, 7] };
    let output = ValueId(nodes.len());
    Graph { name: "small".into(), input, nodes, output, output_name: "y".into(), softmax: false }
}

/// The small network with a name for each weight, as training asks for.
pub fn named() -> Graph {
    let mut graph = small();
    for node in &mut graph.nodes {
        match &mut node.op {
            Op::Dense(layer) => layer.weight_name = format!("{}.weight", node.name),
            Op::Conv(layer) => layer.weight_name = format!("{}.weight", node.name),
            _ => {}
        }
    }
    graph
}

/// Items for the small network.
pub fn small_items(count: usize, seed: u32) -> Items {
    items_for(&[1, 7, 7], count, seed)
}

/// Values between 0 and 1.
pub fn items_for(shape: &[usize], count: usize, seed: u32) -> Items {
    let mut state = seed;
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let len: usize = shape.iter().product();
    Items { shape: shape.to_vec(), values: (0..count * len).map(|_| value()).collect(), count }
}

/// The bundled network and some of its test images.
pub fn bundled_model(count: usize) -> (Graph, Items) {
    let graph = import_bytes(bundled::model().bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.gz");
    std::fs::write(&path, bundled::test_images().bytes).unwrap();
    let items = ariann_data::load(&path, &Preprocess::default(), Some(count)).unwrap().fit(&graph.input.shape).unwrap();
    (graph, items)
}

/// The folder of sample data, or a note that the test is skipped.
pub fn sample_data() -> Option<PathBuf> {
    let folder = std::env::var_os("ARIANN_DATA").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: no data (ARIANN_DATA names no folder)");
    }
    folder
}

/// A model of the sample data with `count` images of MNIST.
pub fn sample_model(name: &str, file: &str, count: usize) -> Option<(Graph, Items)> {
    let folder = sample_data()?;
    let graph = import(&folder.join("models").join(format!("{name}.onnx"))).unwrap();
    let images = folder.join("mnist").join(format!("{file}-images-idx3-ubyte.gz"));
    let items =
        ariann_data::load(&images, &Preprocess::default(), Some(count)).unwrap().fit(&graph.input.shape).unwrap();
    Some((graph, items))
}

//! The sample networks on real images, against logits computed with ONNX Runtime.

mod common;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use ariann_graph::{Executor, Graph, Op, calibrate, import};
use common::{MODELS, floats, images, labels, max_difference, sample_data};

fn expected(data: &Path, model: &str) -> Vec<f32> {
    floats(&data.join(format!("expected/{model}__mnist-test-even.f32")))
}

fn load(data: &Path, model: &str) -> Graph {
    import(&data.join(format!("models/{model}.onnx"))).expect("the sample model is supported")
}

#[test]
fn float_executor_computes_what_onnx_runtime_computed() {
    let Some(data) = sample_data() else { return };
    let x = images(&data.join("mnist/test-even-images-idx3-ubyte.gz"), 1000);
    for model in MODELS {
        let graph = load(&data, model);
        let logits = Executor::new(&graph).run(1000, &x).expect("the images fit");
        let wanted = expected(&data, model);
        let scale = wanted.iter().fold(1f32, |scale, logit| scale.max(logit.abs()));
        let difference = max_difference(&logits, &wanted);
        println!("{model}: greatest difference {difference:e}, greatest logit {scale}");
        assert!(difference < 1e-5 * scale, "{model}: {difference} at logits up to {scale}");
        assert_eq!(labels(&logits, 10), labels(&wanted, 10), "{model}");
    }
}

#[test]
fn names_survive_and_batch_and_biases_are_gone() {
    let Some(data) = sample_data() else { return };
    let graph = load(&data, "mnist-cntk");
    let layers: Vec<_> =
        graph.nodes.iter().map(|node| (node.name.as_str(), node.op.name(), node.shape.clone())).collect();
    assert_eq!(
        layers,
        [
            ("Convolution28", "Conv", vec![8, 28, 28]),
            ("Pooling66", "MaxPool", vec![8, 14, 14]),
            ("ReLU32", "Relu", vec![8, 14, 14]),
            ("Convolution110", "Conv", vec![16, 14, 14]),
            ("Pooling160", "MaxPool", vec![16, 4, 4]),
            ("ReLU114", "Relu", vec![16, 4, 4]),
            ("Times212_reshape0", "Reshape", vec![256]),
            ("Times212", "Gemm", vec![10]),
        ]
    );
    let Op::Conv(conv) = &graph.nodes[0].op else { panic!("the first layer is a convolution") };
    assert_eq!((conv.weight_name.as_str(), conv.bias_name.as_deref()), ("Parameter5", Some("Parameter6")));
    assert_eq!(conv.shape.pads, [2, 2, 2, 2]);
}

/// Records of CIFAR-10, gzip'd: pixels as floats, channel by channel.
fn cifar(path: &Path, pixel: impl Fn(usize, u8) -> f32) -> Vec<f32> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).expect("the images are there");
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("the images are gzip'd");
    let records = bytes.chunks_exact(3073).flat_map(|record| record[1..].iter().enumerate());
    records.map(|(place, &byte)| pixel(place / 1024, byte)).collect()
}

fn check_cifar(model: &str, pixel: impl Fn(usize, u8) -> f32 + Copy) {
    let Some(data) = sample_data() else { return };
    let graph = load(&data, model);
    let scalings = graph.nodes.iter().filter(|node| matches!(&node.op, Op::Conv(conv) if conv.shape.groups > 1));
    assert_eq!(scalings.count(), 0, "{model}: every batch normalisation is folded");
    for (set, file) in [("cifar10-test-1000", "test-1000"), ("cifar10-lossless-100", "lossless-100")] {
        let x = cifar(&data.join(format!("cifar10/{file}.bin.gz")), pixel);
        let wanted = floats(&data.join(format!("expected/{model}__{set}.f32")));
        let logits = Executor::new(&graph).run(wanted.len() / 10, &x).expect("the images fit");
        let difference = max_difference(&logits, &wanted);
        println!("{model} on {set}: greatest difference {difference:e}");
        assert!(difference < 1e-3, "{model} on {set}: {difference}");
        assert_eq!(labels(&logits, 10), labels(&wanted, 10), "{model} on {set}");
    }
}

#[test]
fn resnet20_computes_what_onnx_runtime_computed() {
    let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    check_cifar("resnet20-cifar10", |channel, byte| (f32::from(byte) / 255.0 - mean[channel]) / deviation[channel]);
}

#[test]
fn resnet8_computes_what_onnx_runtime_computed() {
    check_cifar("resnet8-cifar10", |_, byte| byte.into());
}

/// Number of layers of each kind.
fn census(graph: &Graph) -> BTreeMap<&'static str, usize> {
    graph.nodes.iter().fold(BTreeMap::new(), |mut census, node| {
        *census.entry(node.op.name()).or_default() += 1;
        census
    })
}

#[test]
fn large_models_import_with_one_comparison_less_a_branch() {
    let Some(data) = sample_data() else { return };
    let squeezenet = load(&data, "squeezenet1_0-imagenet");
    assert_eq!((squeezenet.input.shape.as_slice(), squeezenet.output_len()), (&[3, 224, 224][..], 1000));
    let wanted = [("Arrange", 8), ("AveragePool", 1), ("Conv", 26), ("MaxPool", 3), ("Relu", 18), ("Reshape", 1)];
    assert_eq!(census(&squeezenet), BTreeMap::from(wanted));
    let efficientnet = load(&data, "efficientnet_lite0-antsbees");
    assert_eq!((efficientnet.input.shape.as_slice(), efficientnet.output_len()), (&[3, 224, 224][..], 2));
    let wanted = [("Add", 9), ("AveragePool", 1), ("Clip", 33), ("Conv", 49), ("Gemm", 1), ("Reshape", 1)];
    assert_eq!(census(&efficientnet), BTreeMap::from(wanted));
    for graph in [&squeezenet, &efficientnet] {
        let start = std::time::Instant::now();
        let items = 4;
        let ranges = calibrate(graph, items, &vec![0.5; items * graph.input.len()]).expect("the items fit");
        assert!(ranges.nodes.iter().all(|node| node.output.max_abs.is_finite()));
        println!("{}: calibrated on {items} items in {:?}", graph.name, start.elapsed());
    }
}

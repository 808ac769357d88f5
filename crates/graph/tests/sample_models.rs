//! The three sample networks on real images, against logits computed with ONNX Runtime.

mod common;

use std::path::Path;

use ariann_graph::clear::{self, FixedPoint, LayerScale, Nearest};
use ariann_graph::{Executor, Graph, Op, Ranges, calibrate, import};
use ariann_ring::Ring;
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

/// Scales as a plan would choose them, with a margin of two bits.
fn scales(ranges: &Ranges, ring_bits: u32) -> FixedPoint {
    let budget = |max: f64| f64::from(ring_bits) - 5.0 - max.log2().ceil();
    let split = |layer: &ariann_graph::LayerRange| {
        ((budget(layer.max_abs) + (layer.weight_rms / layer.input_rms).log2()) / 2.0).floor() as i32
    };
    let inputs: Vec<i32> = ranges.layers.iter().map(split).collect();
    let layers = ranges.layers.iter().enumerate().map(|(index, layer)| {
        let weight_frac = budget(layer.max_abs) as i32 - inputs[index];
        let next = inputs.get(index + 1);
        let shift = next.map_or(0, |next| (inputs[index] + weight_frac - next) as u32);
        LayerScale { weight_frac, shift, top: ring_bits, truncated: next.is_some() }
    });
    FixedPoint { ring_bits, input_frac: inputs[0], layers: layers.collect() }
}

fn check_fixed<R: Ring>(data: &Path, model: &str, tolerance: f32) {
    let graph = load(data, model);
    let training = images(&data.join("mnist/train-images-idx3-ubyte.gz"), 100);
    let ranges = calibrate(&graph, 100, &training).expect("the images fit");
    let fixed = scales(&ranges, R::BITS);
    let x = images(&data.join("mnist/test-even-images-idx3-ubyte.gz"), 200);
    let run = clear::run::<R>(&graph, &fixed, 200, &x, &mut Nearest).expect("the scales fit");
    assert_eq!(run.excess, None, "{model}: {fixed:?}");
    let difference = max_difference(&run.decoded(), &expected(data, model)[..2000]);
    println!("{model}, {} bits: greatest difference {difference}", R::BITS);
    assert!(difference < tolerance, "{model}, {} bits: {difference}", R::BITS);
}

#[test]
fn fixed_point_reference_is_near_the_float_model() {
    let Some(data) = sample_data() else { return };
    check_fixed::<u32>(&data, "lenet-mnist", 0.02);
    check_fixed::<u32>(&data, "mlp-128-128-mnist", 0.02);
    check_fixed::<u32>(&data, "mnist-cntk", 0.05);
    check_fixed::<u64>(&data, "lenet-mnist", 0.0002);
    check_fixed::<u64>(&data, "mlp-128-128-mnist", 0.0002);
    check_fixed::<u64>(&data, "mnist-cntk", 0.0002);
}

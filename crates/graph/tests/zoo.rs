//! The networks of the zoo: their sizes, and what they compute.

use ariann_graph::zoo::{NAMES, Network, Options, ZooError, network};
use ariann_graph::{Executor, Graph, Op, import_bytes};

fn made(name: &str, options: &Options) -> Network {
    network(name, options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn graph(network: &Network) -> Graph {
    import_bytes(&network.onnx).unwrap_or_else(|error| panic!("{}: {error}", network.name))
}

/// Pixels in [0, 1], the same for the same seed.
fn inputs(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn sizes_are_those_of_the_literature() {
    // Parameters, and millions of multiply-adds as published.
    let expected = [
        ("network1", 118_282, 0.12),
        ("network2", 33_542, 0.67),
        ("lenet", 431_080, 2.29),
        ("alexnet-cifar", 3_882_058, 13.0),
        ("alexnet-64", 3_987_464, 41.0),
        ("vgg16-32", 33_638_218, 332.0),
        ("vgg16-64", 40_708_104, 1279.0),
        ("resnet8", 77_946, 12.5),
        ("resnet18", 11_177_538, 1814.0),
    ];
    assert_eq!(expected.map(|(name, ..)| name), NAMES);
    for (name, parameters, millions) in expected {
        let network = made(name, &Options::default());
        assert_eq!(network.parameters, parameters, "{name}");
        let ratio = network.multiply_adds as f64 / 1e6 / millions;
        assert!((ratio - 1.0).abs() < 0.02, "{name}: {} multiply-adds", network.multiply_adds);
        let values = network.onnx.len() as u64 / 4;
        assert!((parameters..parameters + parameters / 50 + 20_000).contains(&values), "{name}: {values} values");
    }
}

#[test]
fn the_greatest_logit_differs_between_inputs() {
    for name in NAMES {
        // The depth is the same for fewer pixels, and the test is quick.
        let input = match name {
            "resnet18" => Some([3, 64, 64]),
            "resnet8" => Some([3, 8, 8]),
            _ => None,
        };
        let network = made(name, &Options { input, classes: Some(10), seed: 0 });
        let graph = graph(&network);
        assert_eq!((graph.input.shape.as_slice(), graph.output_len()), (&network.input[..], 10), "{name}");
        let items = 24;
        let logits = Executor::new(&graph).run(items, &inputs(items * graph.input.len(), 1)).expect(name);
        let rows: Vec<&[f32]> = logits.chunks(10).collect();
        let top = |row: &[f32]| (0..10).fold(0, |best, class| if row[class] > row[best] { class } else { best });
        let mut classes: Vec<usize> = rows.iter().map(|row| top(row)).collect();
        classes.sort_unstable();
        classes.dedup();
        assert!(classes.len() >= 2, "{name}: {items} inputs are of the classes {classes:?}");
        let greatest = logits.iter().fold(0f32, |most, logit| most.max(logit.abs()));
        assert!((0.1..20.0).contains(&greatest), "{name}: the greatest logit is {greatest}");
    }
}

#[test]
fn values_keep_their_size_through_the_depth() {
    for (name, input) in [("vgg16-32", None), ("resnet18", Some([3, 64, 64])), ("alexnet-cifar", None)] {
        let network = made(name, &Options { input, ..Options::default() });
        let graph = graph(&network);
        let x = inputs(2 * graph.input.len(), 2);
        let mut seen = 0;
        let observe = |step: ariann_graph::executor::Step<'_>| {
            if matches!(step.layer.op, Op::Conv(_) | Op::Dense(_)) {
                let square = step.output.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / step.output.len() as f64;
                assert!((0.02..4.0).contains(&square), "{name}, {}: mean square {square}", step.layer.name);
                seen += 1;
            }
        };
        Executor::new(&graph).run_observed(2, &x, observe).expect(name);
        assert!(seen >= 8, "{name}");
    }
}

#[test]
fn weights_follow_from_the_seed() {
    let with = |seed| made("network2", &Options { seed, ..Options::default() }).onnx;
    assert_eq!(with(0), made("network2", &Options::default()).onnx, "0 is the default");
    assert_eq!(with(7), with(7));
    assert_ne!(with(7), with(8));
    let graph = graph(&made("network2", &Options::default()));
    for node in &graph.nodes {
        let Some(weights) = node.op.weights() else { continue };
        let fan_in = weights.data().len() / weights.shape()[0];
        for row in weights.data().chunks(fan_in) {
            let sum: f32 = row.iter().sum();
            let size: f32 = row.iter().map(|weight| weight.abs()).sum();
            assert!(sum.abs() < 1e-4 * size, "{}: weights of an output sum to {sum}", node.name);
        }
    }
}

#[test]
fn inputs_and_classes_can_be_chosen() {
    for (name, input, classes) in [
        ("network1", [3, 5, 7], 4),
        ("lenet", [3, 32, 40], 3),
        ("alexnet-cifar", [1, 40, 33], 100),
        ("alexnet-64", [3, 224, 224], 5),
        ("vgg16-32", [3, 32, 63], 2),
        ("resnet18", [1, 33, 20], 7),
    ] {
        let network = made(name, &Options { input: Some(input), classes: Some(classes), seed: 1 });
        assert_eq!((network.input, network.classes), (input, classes));
        let graph = graph(&network);
        assert_eq!((graph.input.shape.as_slice(), graph.output_len()), (&input[..], classes), "{name}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let refuse = |name: &str, input: [usize; 3], classes: Option<usize>, parts: &[&str]| {
        let options = Options { input: Some(input), classes, seed: 0 };
        let error = network(name, &options).map(|network| network.name).expect_err("this cannot be");
        for part in parts {
            assert!(error.to_string().contains(part), "\"{error}\" does not say \"{part}\"");
        }
    };
    let error = network("vgg19", &Options::default()).map(|network| network.name).expect_err("unknown");
    assert_eq!(error, ZooError::Name("vgg19".into()));
    assert!(NAMES.iter().all(|name| error.to_string().contains(name)), "{error}");
    refuse("lenet", [1, 28, 11], None, &["lenet", "conv2", "5x5", "1x28x28"]);
    refuse("vgg16-32", [3, 31, 32], None, &["vgg16-32", "features.29", "2x2", "3x32x32"]);
    refuse("alexnet-64", [3, 30, 64], None, &["alexnet-64", "3x64x64"]);
    refuse("alexnet-cifar", [3, 0, 32], None, &["3x0x32"]);
    refuse("resnet18", [0, 224, 224], None, &["0x224x224"]);
    refuse("network1", [70_000, 1, 1], None, &["70000x1x1"]);
    refuse("network1", [60_000, 60_000, 60_000], None, &["too large"]);
    refuse("network1", [10, 1000, 1000], None, &["fc1", "2 GB"]);
    refuse("vgg16-64", [3, 800, 800], None, &["parameters", "2 GB"]);
    refuse("lenet", [1, 28, 28], Some(0), &["fc2", "sizes go from 1"]);
}

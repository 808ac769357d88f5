//! Every operator and variant against ONNX Runtime, and every kind of bad model refused for its own reason.
//! `scripts/operator_fixtures.py` makes the files.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ariann_graph::{Executor, Graph, Op, import, supported_operators};
use common::{floats, max_difference};

const ITEMS: usize = 3;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/onnx")
}

fn names() -> BTreeSet<String> {
    let files = std::fs::read_dir(folder()).expect("fixtures are in the repository");
    let names = files.map(|file| file.expect("readable").file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_suffix(".onnx").map(String::from)).collect()
}

fn load(name: &str) -> Graph {
    import(&folder().join(format!("{name}.onnx"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What the receiver of logits does where a model ends in Softmax.
fn softmax(logits: &mut [f32], classes: usize, log: bool) {
    for row in logits.chunks_exact_mut(classes) {
        let greatest = row.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = row.iter().map(|logit| (logit - greatest).exp()).sum();
        for logit in row {
            let log_probability = *logit - greatest - sum.ln();
            *logit = if log { log_probability } else { log_probability.exp() };
        }
    }
}

#[test]
fn every_valid_model_computes_what_onnx_runtime_computed() {
    let valid: Vec<_> = names().into_iter().filter(|name| !name.starts_with("invalid-")).collect();
    assert!(valid.len() >= 180, "only {} models were found", valid.len());
    for name in valid {
        let graph = load(&name);
        let file = floats(&folder().join(format!("{name}.f32")));
        let (x, wanted) = file.split_at(ITEMS * graph.input.len());
        let mut result = Executor::new(&graph).run(ITEMS, x).expect("the fixture's items fit");
        assert_eq!(graph.softmax, name.contains("softmax"), "{name}");
        if graph.softmax {
            softmax(&mut result, graph.output_len(), name.starts_with("log"));
        }
        assert_eq!(result.len(), wanted.len(), "{name}: number of outputs");
        let difference = max_difference(&result, wanted);
        assert!(difference < 1e-5, "{name}: differs by {difference}");
    }
}

#[test]
fn graphs_are_in_the_promised_form() {
    for name in names().into_iter().filter(|name| !name.starts_with("invalid-")) {
        let graph = load(&name);
        let mut seen = BTreeSet::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            assert_eq!(node.output.0, index + 1, "{name}");
            assert!(node.inputs.iter().all(|input| *input < node.output), "{name}: order of \"{}\"", node.name);
            assert!(!node.name.is_empty() && seen.insert(&node.name), "{name}: \"{}\" twice", node.name);
            let relu = node.inputs[0].node().is_some_and(|input| graph.nodes[input].op == Op::Relu);
            if matches!(node.op, Op::MaxPool(_)) && name != "relu-shared-by-maxpool" {
                assert!(!relu, "{name}: pooling after ReLU");
            }
            let lens: Vec<usize> = node.inputs.iter().map(|&input| graph.len(input)).collect();
            if let Op::Arrange(arrange) = &node.op {
                assert!(arrange.len == node.len() && arrange.fits(&lens), "{name}: boxes of \"{}\"", node.name);
            }
        }
    }
}

#[test]
fn names_of_layers_and_weights_survive() {
    let graph = load("small-network-opset-18");
    let layers: Vec<_> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(layers, ["conv", "pool", "relu1", "flatten", "fc1", "relu2", "fc2"]);
    let Op::Dense(dense) = &graph.nodes[6].op else { panic!("the last layer is dense") };
    assert_eq!((dense.weight_name.as_str(), dense.bias_name.as_deref()), ("w3", Some("b3")));
    assert_eq!((graph.input.name.as_str(), graph.output_name.as_str(), graph.parameters()), ("x", "y", 30 + 392 + 36));
    let graph = load("unnamed-nodes-and-typed-data");
    assert_eq!(graph.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["f", "z", "y"]);
    let graph = load("add-bias-to-a-shared-layer");
    assert_eq!(graph.linear_nodes().count(), 2, "the layer is kept with and without the bias");
}

#[test]
fn a_bias_of_its_own_is_folded_and_identities_vanish() {
    let operators = |name: &str| load(name).nodes.iter().map(|node| node.op.name()).collect::<Vec<_>>();
    assert_eq!(operators("matmul-add-bias"), ["Gemm"]);
    assert_eq!(operators("add-bias-twice"), ["Gemm"]);
    assert_eq!(operators("add-bias-to-conv"), ["Conv"]);
    assert_eq!(operators("identity-and-dropout"), ["Gemm"]);
    assert_eq!(operators("relu-before-maxpool"), ["Conv", "MaxPool", "Relu"]);
    assert_eq!(operators("relu-shared-by-maxpool"), ["Relu", "MaxPool", "Add"]);
    assert_eq!(operators("reshape-to-image-and-back"), ["Reshape", "Conv", "Reshape", "Gemm"]);
    assert_eq!(operators("layers-without-effect"), ["Gemm"]);
}

#[test]
fn scalings_are_folded_where_they_can_be() {
    let operators = |name: &str| load(name).nodes.iter().map(|node| node.op.name()).collect::<Vec<_>>();
    for (name, wanted) in [
        ("batchnorm-of-an-image", &["Conv"][..]),
        ("batchnorm-of-features", &["Reshape", "Conv", "Reshape"]),
        ("batchnorm-after-conv", &["Conv", "Relu"]),
        ("batchnorm-after-dense", &["Gemm"]),
        ("batchnorm-after-relu", &["Conv", "Relu", "Conv"]),
        ("batchnorm-before-pooling-and-dense", &["MaxPool", "Relu", "AveragePool", "Reshape", "Gemm"]),
        ("batchnorm-with-negative-factors-before-maxpool", &["Relu", "Conv", "MaxPool", "Conv"]),
        ("batchnorm-before-padded-average", &["Relu", "Conv", "AveragePool", "Conv"]),
        ("batchnorm-of-a-shared-conv", &["Conv", "Conv", "Add"]),
        ("add-constant-of-an-image", &["Conv"]),
        ("input-normalised-before-conv", &["Conv"]),
        ("scalings-in-a-row", &["Gemm", "Relu"]),
        ("leaky-relu", &["Relu", "Conv", "Conv", "Add"]),
        ("gelu-erf-old-exporter", &["Conv", "Gelu"]),
        ("gelu-erf-new-exporter", &["Conv", "Gelu"]),
        ("gelu-tanh-by-pow", &["Conv", "Gelu"]),
        ("gelu-tanh-by-mul", &["Conv", "Gelu"]),
        ("pad-before-conv", &["Conv"]),
        ("averagepool-of-single-places", &["AveragePool"]),
        ("exporter-old-view-by-size", &["Conv", "Clip", "Conv", "Add", "AveragePool", "Reshape", "Gemm"]),
        ("exporter-old-opset-9", &["Conv", "Clip", "Conv", "Add", "AveragePool", "Reshape", "Gemm"]),
        ("exporter-new", &["Conv", "Clip", "Conv", "Add", "AveragePool", "Reshape", "Gemm"]),
        ("exporter-new-flatten-by-shape", &["Conv", "Relu", "Reshape", "Gemm"]),
    ] {
        assert_eq!(operators(name), wanted, "{name}");
    }
    let bias = |name: &str, node: usize| load(name).nodes[node].op.bias().map(<[f32]>::len);
    assert_eq!(bias("batchnorm-after-relu", 2), Some(4 * 6 * 6), "one bias a place behind the padding");
    assert_eq!(bias("batchnorm-after-relu-without-padding", 2), Some(4), "one bias a channel without padding");
}

#[test]
fn signs_are_decided_late_and_once() {
    let operators = |name: &str| load(name).nodes.iter().map(|node| node.op.name()).collect::<Vec<_>>();
    assert_eq!(operators("concat-of-relus"), ["Conv", "Conv", "Arrange", "MaxPool", "Relu"]);
    assert_eq!(operators("concat-of-a-shared-relu"), ["Relu", "Arrange", "Conv"]);
    assert_eq!(operators("slice-after-relu"), ["Arrange", "Relu"]);
    assert_eq!(operators("clip-before-maxpool"), ["Conv", "MaxPool", "Clip"]);
    assert_eq!(operators("clip-after-relu"), ["Clip"]);
    assert_eq!(operators("relu-after-relu"), ["Relu", "AveragePool"]);
    assert_eq!(operators("shortcut-by-slice-and-pad"), ["Relu", "Conv", "Arrange", "Arrange", "Add"]);
}

/// Whether a file's bytes hold a node of the operator: field 4 of a node, a string.
fn uses(model: &[u8], operator: &str) -> bool {
    let field = [&[0x22, operator.len() as u8], operator.as_bytes()].concat();
    model.windows(field.len()).any(|bytes| bytes == field)
}

#[test]
fn every_operator_of_the_table_has_a_fixture() {
    let table: Vec<_> = supported_operators();
    let listed: BTreeSet<_> = table.iter().map(|row| row.name).collect();
    assert_eq!(listed.len(), table.len(), "no operator is listed twice");
    assert!(table.is_sorted_by_key(|row| row.name), "the table is sorted");
    let valid = names().into_iter().filter(|name| !name.starts_with("invalid-"));
    let files: Vec<_> =
        valid.map(|name| std::fs::read(folder().join(format!("{name}.onnx"))).expect("a fixture")).collect();
    for operator in listed {
        assert!(files.iter().any(|file| uses(file, operator)), "{operator} has no fixture");
    }
}

/// File, and what the refusal must say.
const REFUSALS: &[(&str, &[&str])] = &[
    ("averagepool-huge-window", &["\"op\"", "268435456"]),
    ("averagepool-window-in-padding", &["AveragePool \"op\"", "padding altogether"]),
    ("batchnorm-in-training", &["\"op\" (BatchNormalization", "training mode"]),
    ("batchnorm-negative-variance", &["variance is not positive"]),
    ("batchnorm-of-other-channels", &["scale [2] does not fit items [3, 3, 3]"]),
    ("clip-limits-cross", &["\"op\" (Clip", "1 and 1"]),
    ("concat-along-the-batch", &["\"op\" (Concat", "batch axis"]),
    ("concat-axis-does-not-exist", &["Concat \"op\"", "axis 3 does not exist"]),
    ("div-by-zero", &["Div \"op\"", "divides by 0"]),
    ("erf-alone", &["\"op\" (Erf)", "Gelu"]),
    ("gather-outside", &["Gather \"op\"", "2 does not exist in 2"]),
    ("log-softmax-over-rows", &["\"op\" (LogSoftmax", "all logits"]),
    ("mul-by-a-batch", &["\"op\" (Mul", "[2, 2] does not spread over items [2]"]),
    ("mul-enlarges", &["\"op\" (Mul", "[2, 1] does not spread over items [1, 3]"]),
    ("mul-of-two-values", &["Mul", "Gelu"]),
    ("pad-crops-all", &["Pad \"op\"", "-2 and -1 of 3"]),
    ("pad-of-the-batch", &["\"op\" (Pad", "batch axis"]),
    ("pad-overflows", &["\"op\"", "268435456"]),
    ("pad-reflects-too-far", &["\"op\" (Pad", "reflect"]),
    ("reduce-mean-of-the-batch", &["\"op\" (ReduceMean", "batch axis"]),
    ("slice-of-the-batch", &["\"op\" (Slice", "batch axis"]),
    ("slice-step-zero", &["Slice \"op\"", "step is 0"]),
    ("slice-to-nothing", &["\"op\" (Slice", "no values"]),
    ("split-of-other-size", &["Split \"op\"", "splits 4 places"]),
    ("squeeze-of-a-long-axis", &["Squeeze \"op\"", "size 2"]),
    ("transpose-of-the-batch", &["\"op\" (Transpose", "batch axis"]),
    ("add-broadcasts", &["\"sum\" (Add", "[2, 4, 4]", "[2, 1, 1]"]),
    ("attribute-of-wrong-type", &["transB", "wrong type"]),
    ("constants-spread-too-far", &["\"outer\", spread out", "16777216"]),
    ("conv-groups-do-not-fit", &["Conv \"conv\"", "4 channels"]),
    ("conv-kernel-larger-than-input", &["Conv \"conv\"", "larger than its input"]),
    ("conv-kernel-shape-differs", &["kernel_shape differs"]),
    ("conv-negative-pads", &["\"conv\" (Conv", "negative padding"]),
    ("conv-one-dimensional", &["\"conv\" (Conv", "height"]),
    ("conv-stride-zero", &["strides", "0"]),
    ("cycle", &["cycle", "\"first\", \"second\""]),
    ("dense-of-another-width", &["Gemm \"fc\"", "6 features"]),
    ("dense-on-an-image", &["\"fc\" (MatMul", "flatten"]),
    ("dropout-in-training", &["\"dropout\" (Dropout", "training mode"]),
    ("duplicate-node-names", &["two nodes", "\"same\""]),
    ("duplicate-tensor", &["two tensors", "\"y\""]),
    ("duplicate-weights", &["two tensors", "\"w\""]),
    ("empty", &["truncated or is not ONNX", "no graph"]),
    ("external-data-absolute", &["\"w\"", "outside the model's folder"]),
    ("external-data-missing", &["\"w\"", "no-such-file.bin"]),
    ("external-data-other-length", &["\"w\"", "96 bytes", "95"]),
    ("external-data-outside-its-folder", &["\"w\"", "outside the model's folder"]),
    ("external-data-too-short", &["\"w\"", "96 bytes at 17", "95"]),
    ("flatten-of-batch", &["\"flatten\" (Flatten", "axis 0"]),
    ("float16-weights", &["\"w\"", "FLOAT16"]),
    ("gemm-alpha-overflows", &["Gemm \"fc\"", "range of float32"]),
    ("gemm-transposed-input", &["\"fc\" (Gemm", "transA"]),
    ("infinite-weight", &["element 9", "\"w\"", "-inf"]),
    ("input-overflows", &["input", "268435456"]),
    ("input-without-batch", &["input \"x\"", "batch"]),
    ("integer-input", &["\"x\"", "INT64"]),
    ("integer-weights", &["\"w\"", "integers"]),
    ("matmul-weights-first", &["\"fc\" (MatMul", "left"]),
    ("maxpool-indices-used", &["\"pool\" (MaxPool", "\"i\""]),
    ("maxpool-three-dimensional", &["\"pool\" (MaxPool", "4 axes"]),
    ("maxpool-window-in-padding", &["MaxPool \"pool\"", "padding altogether"]),
    ("missing-output", &["\"y\"", "output of the graph"]),
    ("missing-tensor", &["\"fc\"", "\"absent\""]),
    ("nan-weight", &["element 9", "\"w\"", "NaN"]),
    ("not-onnx", &["truncated or is not ONNX"]),
    ("opset-too-new", &["99"]),
    ("opset-too-old", &["operator set 6"]),
    ("output-is-the-input", &["does not depend on it through any layer"]),
    ("output-overflows", &["\"conv\"", "268435456"]),
    ("reshape-mixes-items", &["\"reshape\" (Reshape", "[-1, 3]"]),
    ("reshape-of-weights-to-another-size", &["Reshape \"weights\""]),
    ("reshape-to-another-size", &["\"reshape\" (Reshape", "[0, 2, 4]"]),
    ("symbolic-axis", &["input \"x\"", "\"height\"", "axis 2"]),
    ("truncated", &["truncated or is not ONNX"]),
    ("two-inputs", &["2 inputs", "x, z"]),
    ("two-outputs", &["2 outputs", "y, z"]),
    ("unknown-attribute", &["\"fc\" (Gemm", "quantum"]),
    (
        "unsupported-operators",
        &[
            "4 layers are not supported",
            "\"in1\" (InstanceNormalization, opset 13)",
            "use BatchNormalization",
            "\"gate\" (Elu, opset 13)",
            "\"p\" (LpPool, opset 13)",
            "\"fused\" (com.microsoft.FusedMatMul, opset 1)",
        ],
    ),
    ("weights-declare-more-than-they-hold", &["\"w\"", "96000 bytes", "96"]),
    ("weights-declare-too-much", &["\"w\"", "268435456"]),
    ("weights-negative-dimension", &["\"w\"", "-6"]),
    ("weights-that-depend-on-the-input", &["\"fc\" (MatMul", "weight matrix depends on the input"]),
];

#[test]
fn every_invalid_model_is_refused_for_its_own_reason() {
    let invalid: BTreeSet<_> =
        names().iter().filter_map(|name| name.strip_prefix("invalid-")).map(String::from).collect();
    let expected: BTreeSet<_> = REFUSALS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(invalid, expected, "files and refusals belong together");
    for (name, parts) in REFUSALS {
        let error = match import(&folder().join(format!("invalid-{name}.onnx"))) {
            Ok(_) => panic!("{name} was accepted"),
            Err(error) => error.to_string(),
        };
        for part in *parts {
            assert!(error.contains(part), "{name}: \"{error}\" does not say \"{part}\"");
        }
        assert!(
            error.starts_with("model: ") && error.contains(';'),
            "{name}: \"{error}\" blames nobody or advises nothing"
        );
    }
}

#[test]
fn absent_files_are_the_disks_fault_and_links_out_of_the_folder_are_refused() {
    let error = import(&folder().join("absent.onnx")).expect_err("there is no such file").to_string();
    assert!(error.starts_with("disk: ") && error.contains("absent.onnx"), "{error}");
    #[cfg(unix)]
    {
        let outside = tempfile::tempdir().expect("a folder");
        let inside = tempfile::tempdir().expect("a folder");
        let copy =
            |name: &str, folder: &Path| std::fs::copy(self::folder().join(name), folder.join(name)).expect("copied");
        copy("external-data.bin", outside.path());
        copy("external-data.onnx", inside.path());
        let link = inside.path().join("external-data.bin");
        std::os::unix::fs::symlink(outside.path().join("external-data.bin"), link).expect("linked");
        let error = import(&inside.path().join("external-data.onnx")).expect_err("it leads outside").to_string();
        assert!(error.contains("outside the model's folder"), "{error}");
    }
}

#[test]
fn any_prefix_and_any_changed_byte_is_survived() {
    let whole = std::fs::read(folder().join("small-network-opset-11.onnx")).expect("a fixture");
    for end in 0..whole.len() {
        // Fields of the graph come before the operator set, so every prefix lacks something.
        assert!(ariann_graph::import_bytes(&whole[..end]).is_err(), "a prefix of {end} bytes was accepted");
    }
    let mut refused = 0;
    for place in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] ^= flip;
            match ariann_graph::import_bytes(&bytes) {
                Err(_) => refused += 1,
                Ok(graph) => {
                    let x = vec![0.5; graph.input.len()];
                    let _ = Executor::new(&graph).run(1, &x);
                }
            }
        }
    }
    assert!(refused > 100, "{refused} of {} changed files were refused", 3 * whole.len());
}

//! What is public of a graph: it comes back from a file with all but its weights, and a file that was changed does no harm.

mod common;
#[allow(dead_code)]
#[path = "common/networks.rs"]
mod networks;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ariann_graph::training::{Initial, Loss, Recipe, StepGraph, Trainer, evaluation, training_step};
use ariann_graph::zoo::{NAMES, Options, network};
use ariann_graph::{
    AvgPool, BatchNorm, Conv, Dense, Executor, Function, Graph, Network, NetworkError, Op, Pool, ValueId,
    import_for_training, import_for_training_bytes,
};
use ariann_ring::arrange::{Axis, Block};
use ariann_ring::{Arrange, Tensor};
use common::sample_data;
use networks::{Builder, conv_shape};
use serde_json::{Value, json};

fn recipe(batch: usize, loss: Loss, initial: Initial) -> Recipe {
    let plain = Recipe::plain(loss, batch, 0.05);
    Recipe { momentum: 0.9, weight_decay: 5e-4, dropout: 0.5, seed: 1, initial, ..plain }
}

fn json_of(graph: &Graph) -> String {
    serde_json::to_string(&Network::of(graph)).expect("a network is JSON")
}

/// The step without the states' first values.
fn public(mut step: StepGraph) -> StepGraph {
    step.states.iter_mut().for_each(|state| state.initial.clear());
    step
}

/// Through a file and back: the same graph but for its weights, and the same steps.
fn check_round_trip(graph: &Graph, name: &str) {
    let text = json_of(graph);
    let layers = graph.nodes.len();
    println!("{name}: {} bytes, {layers} layers, {} parameters", text.len(), graph.parameters());
    assert!(text.len() < 600 * (layers + 1), "{name}: {} bytes for {layers} layers", text.len());
    let read: Network = serde_json::from_str(&text).expect("it is read back");
    assert_eq!(read, Network::of(graph));
    read.check().unwrap_or_else(|error| panic!("{name}: {error}"));
    let found = read.graph();
    assert_eq!(json_of(&found), text, "{name}");
    let head = |graph: &Graph| (graph.name.clone(), graph.input.clone(), graph.output, graph.softmax);
    assert_eq!(head(&found), head(graph));
    assert_eq!(found.output_name, graph.output_name);
    for (found, node) in found.nodes.iter().zip(&graph.nodes) {
        assert_eq!((&found.name, &found.inputs, found.output), (&node.name, &node.inputs, node.output), "{name}");
        assert_eq!((&found.shape, found.op.name()), (&node.shape, node.op.name()), "{name}");
        let shapes = |op: &Op| (op.weights().map(|w| w.shape().to_vec()), op.bias().map(<[f32]>::len));
        assert_eq!(shapes(&found.op), shapes(&node.op), "{name}: {}", node.name);
        let zero = |values: Option<&[f32]>| values.unwrap_or(&[]).iter().all(|&value| value == 0.0);
        assert!(zero(found.op.weights().map(Tensor::data)) && zero(found.op.bias()), "{name}: {}", node.name);
        if let Op::BatchNorm(norm) = &found.op {
            assert!([&norm.gamma, &norm.beta, &norm.mean, &norm.variance].iter().all(|part| zero(Some(part))));
        }
    }
    for initial in [Initial::Model, Initial::Fresh] {
        let recipe = recipe(3, Loss::CrossEntropy, initial);
        let step = |graph: &Graph| training_step(graph, &recipe, 0.01, true).map(public);
        assert_eq!(step(&found), step(graph), "{name}");
        let step = |graph: &Graph| evaluation(graph, &recipe, 5).map(public);
        assert_eq!(step(&found), step(graph), "{name}");
    }
}

#[test]
fn networks_of_the_zoo_come_back_without_their_weights() {
    for name in NAMES.into_iter().filter(|&name| name != "vgg16-64") {
        let input = (name == "resnet18").then_some([3, 64, 64]);
        let made = network(name, &Options { input, ..Options::default() }).expect("a network");
        check_round_trip(&import_for_training_bytes(&made.onnx).expect("a graph"), name);
    }
}

#[test]
fn sample_models_come_back_without_their_weights() {
    let Some(data) = sample_data() else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(data.join("models")).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        if let Ok(graph) = import_for_training(&path) {
            check_round_trip(&graph, &path.display().to_string());
            seen += 1;
        }
    }
    assert!(seen > 3, "{seen} models");
}

#[test]
fn nothing_of_it_depends_on_the_weights() {
    for name in ["lenet", "resnet8"] {
        let made = |seed| network(name, &Options { seed, ..Options::default() }).expect("a network").onnx;
        let [one, other] = [3, 4].map(|seed| import_for_training_bytes(&made(seed)).expect("a graph"));
        assert_ne!(one, other);
        assert_eq!(json_of(&one), json_of(&other), "{name}");
    }
    for graph in [layers(), branches()] {
        let mut other = graph.clone();
        for node in &mut other.nodes {
            match &mut node.op {
                Op::Dense(Dense { weights, bias, .. }) | Op::Conv(Conv { weights, bias, .. }) => {
                    weights.data_mut().iter_mut().chain(bias.iter_mut().flatten()).for_each(|value| *value += 0.125);
                }
                Op::BatchNorm(BatchNorm { gamma, beta, mean, variance, .. }) => {
                    [gamma, beta, mean, variance].into_iter().flatten().for_each(|value| *value += 0.125);
                }
                _ => (),
            }
        }
        assert_ne!(graph, other);
        assert_eq!(json_of(&graph), json_of(&other));
    }
}

fn named(mut graph: Graph) -> Graph {
    for node in &mut graph.nodes {
        let own = format!("{}.", node.name);
        if let Op::Dense(Dense { weight_name, bias_name, .. }) | Op::Conv(Conv { weight_name, bias_name, .. }) =
            &mut node.op
        {
            *weight_name = own.clone() + "weight";
            *bias_name = Some(own + "bias");
        }
    }
    graph
}

fn same_shape(builder: &mut Builder, op: Op) -> ValueId {
    let x = builder.graph.output;
    let shape = builder.graph.shape(x).to_vec();
    builder.push(op, vec![x], shape)
}

fn norm(builder: &mut Builder) {
    let channels = builder.graph.shape(builder.graph.output)[0];
    let layer = builder.graph.nodes.len();
    let names = ["gamma", "beta", "mean", "variance"].map(|part| format!("norm{layer}.{part}"));
    let [gamma, beta, mean, variance] = [1.0, 0.25, 0.5, 1.5].map(|value| vec![value; channels]);
    same_shape(builder, Op::BatchNorm(BatchNorm { gamma, beta, mean, variance, epsilon: 1e-5, momentum: 0.1, names }));
}

/// Convolution, normalisation, padded windows, dropout, dense layers.
fn layers() -> Graph {
    let mut builder = Builder::new(&[2, 5, 5], 1);
    builder.conv(conv_shape(2, 5, 4, 3, 2, 1), true);
    norm(&mut builder);
    builder.relu();
    builder.pool(2, 1, 1);
    let pool = Pool {
        channels: 4,
        in_height: 4,
        in_width: 4,
        kernel: [3, 2],
        stride: [2, 2],
        pads: [1, 0, 0, 0],
        dilation: [1, 1],
    };
    let x = builder.graph.output;
    let average = AvgPool { pool, counts: [vec![2, 3], vec![2, 2]] };
    builder.push(Op::AvgPool(average), vec![x], vec![4, 2, 2]);
    same_shape(&mut builder, Op::Dropout { ratio: Some(0.25) });
    builder.dense(3, true);
    builder.relu();
    builder.dense(2, false);
    named(builder.graph)
}

/// A depthwise convolution, a sum, a concatenation with a reversal, a bias an element.
fn branches() -> Graph {
    let mut builder = Builder::new(&[2, 3, 3], 2);
    let mut depthwise = conv_shape(2, 3, 2, 2, 1, 2);
    (depthwise.groups, depthwise.dilation) = (2, [2, 2]);
    let left = builder.conv(depthwise, true);
    if let Op::Conv(conv) = &mut builder.graph.nodes[0].op {
        conv.bias = Some(vec![0.5; 50]);
    }
    builder.relu();
    let sum = builder.add(left);
    let block = |source, to, step: isize| Block {
        source,
        from: if step < 0 { 4 } else { 0 },
        to,
        // The axis of one place may have any stride, and none may overflow.
        axes: vec![
            Axis { len: 10, from: 5, to: 5 },
            Axis { len: 1, from: 3, to: 3 },
            Axis { len: 5, from: step, to: 1 },
        ],
    };
    let arrange = Arrange { len: 100, blocks: vec![block(0, 0, 1), block(1, 50, -1)] };
    builder.push(Op::Arrange(arrange), vec![sum, left], vec![4, 5, 5]);
    same_shape(&mut builder, Op::Dropout { ratio: None });
    builder.dense(3, true);
    norm(&mut builder);
    named(builder.graph)
}

/// Layers that nothing can be trained through, before one that is trained.
fn looked_up() -> Graph {
    let mut builder = Builder::new(&[6], 3);
    same_shape(&mut builder, Op::Clip { lo: -1.0, hi: 0.5 });
    same_shape(&mut builder, Op::Function(Function::Gelu));
    same_shape(&mut builder, Op::Softmax(3));
    builder.dense(2, true);
    named(builder.graph)
}

/// Whether it can be read and passes the check; then everything that is made of it is made, and computed where it is small.
fn survives(changed: &Value) -> bool {
    let Ok(read) = serde_json::from_value::<Network>(changed.clone()) else { return false };
    if read.check().is_err() {
        return false;
    }
    let graph = read.graph();
    assert_eq!(Network::of(&graph), read);
    for (loss, initial) in [(Loss::CrossEntropy, Initial::Fresh), (Loss::Mse, Initial::Model)] {
        let recipe = recipe(2, loss, initial);
        let small =
            graph.nodes.iter().map(|node| node.len()).chain([graph.input.len(), graph.parameters()]).sum::<usize>();
        let steps = [training_step(&graph, &recipe, 0.1, true), evaluation(&graph, &recipe, 2)];
        for step in steps.into_iter().flatten().filter(|_| small < 20_000) {
            let features = vec![0.5; 2 * step.item_len];
            Trainer::new(&step).run(&step, &features, &[0, 0], 0);
        }
        if small < 20_000 {
            Executor::new(&graph).run(1, &vec![0.5; graph.input.len()]).expect("a result");
        }
    }
    true
}

fn survives_or_says_where(changed: &Value, what: &str) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| survives(changed)));
    outcome.unwrap_or_else(|_| panic!("{what} panics in {changed}"))
}

/// Paths to all values of a document, its own first.
fn paths(value: &Value) -> Vec<String> {
    let below = |key: String, value: &Value| paths(value).into_iter().map(move |path| format!("/{key}{path}"));
    let mut found = vec![String::new()];
    match value {
        Value::Array(items) => found.extend(items.iter().enumerate().flat_map(|(i, item)| below(i.to_string(), item))),
        Value::Object(items) => found.extend(items.iter().flat_map(|(key, item)| below(key.clone(), item))),
        _ => (),
    }
    found
}

/// What may stand in the place of a value.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let near = number.as_i64().map_or(vec![], |n| {
                [n.saturating_sub(1), n.saturating_add(1), n.saturating_mul(2), n.saturating_neg()]
                    .map(Value::from)
                    .to_vec()
            });
            let mut all = vec![
                json!(0),
                json!(1),
                json!(2),
                json!(-1),
                json!(7),
                json!(1000),
                json!(1u64 << 28),
                json!((1u64 << 28) + 1),
                json!(1u64 << 32),
                json!(i64::MAX),
                json!(i64::MIN),
                json!(u64::MAX),
                json!(0.5),
                json!(-1e-9),
                json!(1e300),
                Value::Null,
            ];
            all.extend(near);
            all
        }
        Value::String(_) => vec![json!(""), json!("layer1"), json!("features"), json!("x".repeat(2000)), Value::Null],
        Value::Bool(set) => vec![json!(!set), Value::Null],
        Value::Array(items) => {
            let mut all = vec![json!([]), json!(vec![1; 40]), json!(vec![0; 3])];
            if let [first, .., last] = items.as_slice() {
                all.push(json!(items[1..]));
                all.push(json!(items[..items.len() - 1]));
                all.push(Value::Array(items.iter().rev().cloned().collect()));
                all.push(Value::Array(items.iter().chain([first]).cloned().collect()));
                all.push(Value::Array([last].into_iter().chain(items).cloned().collect()));
            }
            all.push(Value::Array(items.iter().chain(items).cloned().collect()));
            all
        }
        Value::Object(items) => {
            let without = |key: &String| {
                let rest = items.iter().filter(|(other, _)| *other != key);
                Value::Object(rest.map(|(key, item)| (key.clone(), item.clone())).collect())
            };
            let mut all: Vec<Value> = items.keys().map(without).collect();
            let mut more = items.clone();
            more.insert("surplus".into(), json!(1));
            all.push(Value::Object(more));
            all
        }
        Value::Null => vec![json!(0), json!(1), json!(""), json!(0.5)],
    }
}

fn changed(document: &Value, path: &str, new: Value) -> Value {
    let mut document = document.clone();
    *document.pointer_mut(path).expect("a path of it") = new;
    document
}

#[test]
fn a_changed_file_is_refused_or_does_no_harm() {
    let (mut tried, mut accepted) = (0, 0);
    for graph in [layers(), branches(), looked_up()] {
        let document = serde_json::to_value(Network::of(&graph)).expect("JSON");
        assert!(survives(&document), "unchanged");
        for path in paths(&document) {
            for new in changes(document.pointer(&path).expect("a path")) {
                let what = format!("{path} = {new}");
                let new = changed(&document, &path, new);
                accepted += usize::from(survives_or_says_where(&new, &what));
                tried += 1;
            }
        }
        // Layers that are left out, doubled and exchanged, and operators on other layers.
        let layers = document["layers"].as_array().expect("layers");
        for (a, b) in (0..layers.len()).flat_map(|a| (0..layers.len()).map(move |b| (a, b))) {
            let mut exchanged = layers.clone();
            exchanged.swap(a, b);
            let other_op = changed(&document, &format!("/layers/{a}/op"), layers[b]["op"].clone());
            for new in [changed(&document, "/layers", Value::Array(exchanged)), other_op] {
                accepted += usize::from(survives_or_says_where(&new, &format!("{a} {b}")));
                tried += 1;
            }
        }
    }
    println!("{accepted} of {tried} accepted");
    assert!(tried > 4000 && accepted > 100 && accepted < tried / 4, "{accepted} of {tried}");
}

#[test]
fn files_changed_in_several_places_are_refused_or_do_no_harm() {
    let mut state = 1u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % bound
    };
    let mut accepted = 0;
    for graph in [layers(), branches(), looked_up()] {
        let document = serde_json::to_value(Network::of(&graph)).expect("JSON");
        let paths = paths(&document);
        for _ in 0..4000 {
            let mut new = document.clone();
            let mut what = String::new();
            for _ in 0..2 + below(3) {
                let path = &paths[1 + below(paths.len() - 1)];
                let Some(old) = new.pointer(path) else { continue };
                let all: Vec<Value> = match old {
                    // Consistent changes are of small numbers.
                    Value::Number(_) if below(4) > 0 => (0..6).map(|n| json!(n)).collect(),
                    old => changes(old),
                };
                let value = all[below(all.len())].clone();
                what += &format!("{path} = {value}; ");
                *new.pointer_mut(path).expect("it is there") = value;
            }
            accepted += usize::from(survives_or_says_where(&new, &what));
        }
    }
    println!("{accepted} accepted");
    assert!(accepted > 100, "{accepted}");
}

/// Why a document is refused.
fn refusal(document: &Value, path: &str, new: Value) -> String {
    let changed = changed(document, path, new);
    match serde_json::from_value::<Network>(changed) {
        Err(error) => error.to_string(),
        Ok(network) => network.check().expect_err(path).to_string(),
    }
}

#[test]
fn each_rule_refuses_by_layer_and_reason() {
    let cases = [
        (layers(), "/layers/0/op/conv/windows/stride/0", json!(0), "is zero or too large"),
        (layers(), "/layers/0/op/conv/windows/stride/0", json!(1), "[4, 5, 3], not [4, 3, 3]"),
        (layers(), "/layers/0/op/conv/windows/kernel", json!([9, 3]), "does not fit into a padded input"),
        (layers(), "/layers/0/op/conv/groups", json!(3), "groups do not divide"),
        (layers(), "/layers/0/op/conv/weights/bias", json!(5), "bias has 5 values"),
        (layers(), "/layers/0/op/conv/weights/name", json!(""), "name is empty"),
        (layers(), "/layers/0/name", json!("x".repeat(1025)), "longer than 1024"),
        (layers(), "/layers/1/name", json!("layer1"), "a layer before it"),
        (layers(), "/layers/1/op/batch_norm/epsilon", json!(-1e-5), "epsilon"),
        (layers(), "/layers/1/op/batch_norm/epsilon", json!(1e300), "epsilon"),
        (layers(), "/layers/1/op/batch_norm/momentum", json!(1.5), "momentum"),
        (layers(), "/layers/2/inputs", json!([3]), "not computed before"),
        (layers(), "/layers/2/inputs", json!([2, 2]), "reads 2 values"),
        (layers(), "/layers/2/inputs", json!([]), "reads 0 values"),
        (layers(), "/layers/3/op/max_pool/pads", json!([2, 2, 2, 2]), "in the padding altogether"),
        (layers(), "/layers/3/op/max_pool/pads", json!([0, 0, 9, 0]), "in the padding altogether"),
        (layers(), "/layers/3/op/max_pool/kernel", json!([9, 9]), "larger than its input"),
        (layers(), "/layers/4/op/avg_pool/counts/0", json!([1, 3]), "divisors"),
        (layers(), "/layers/4/op/avg_pool/counts/0", json!([2, 4]), "divisors"),
        (layers(), "/layers/4/op/avg_pool/counts/1", json!([2]), "divisors"),
        (layers(), "/layers/5/op/dropout/ratio", json!(1.0), "ratio"),
        (layers(), "/layers/6/shape", json!([17]), "reshapes"),
        (layers(), "/layers/7/op/dense/outputs", json!(4), "bias has 3 values"),
        (layers(), "/layers/9/op/dense/outputs", json!(3), "[3], not [2]"),
        (layers(), "/input_shape", json!([2, 5, 0]), "1 to 268435456 values"),
        (layers(), "/input_shape", json!([]), "no axis"),
        (layers(), "/output", json!(0), "output"),
        (layers(), "/output", json!(11), "output"),
        (layers(), "/layers", json!([]), "0 layers"),
        (layers(), "/layers/2/op", json!({"relu": null, "add": null}), ""),
        (branches(), "/layers/3/inputs", json!(vec![1; 65530]), "at most 65536"),
        (branches(), "/layers/3/inputs", json!(vec![1; 5000]), "reads 5000 values"),
        (branches(), "/layers/2/inputs", json!([2, 0, 1]), "reads 3 values"),
        (branches(), "/layers/2/inputs", json!([2, 0]), "it adds [2, 3, 3] to [2, 5, 5]"),
        (branches(), "/layers/3/op/arrange/blocks/0/axes/1/from", json!(i64::MAX), "arranges"),
        (branches(), "/layers/3/op/arrange/blocks/0/source", json!(2), "arranges"),
        (branches(), "/layers/3/op/arrange/blocks/1/to", json!(49), "arranges"),
        (branches(), "/layers/3/op/arrange/blocks/0/axes/0/len", json!(0), "arranges"),
        (branches(), "/layers/3/op/arrange/len", json!(101), "arranges"),
        (looked_up(), "/layers/0/op/clip/hi", json!(-1.0), "limits"),
        (looked_up(), "/layers/0/op/clip/hi", json!(1e300), "limits"),
        (looked_up(), "/layers/1/op/function", json!("log"), "no layer of a model"),
        (looked_up(), "/layers/2/op/softmax/row", json!(4), "rows of 4"),
        (looked_up(), "/layers/2/op/softmax/row", json!(0), "rows of 0"),
        (looked_up(), "/layers/3/op/dense/outputs", json!(1 << 28), "268435456 values"),
        (looked_up(), "/surplus", json!(1), "surplus"),
    ];
    for (graph, path, new, wanted) in cases {
        let mut document = serde_json::to_value(Network::of(&graph)).expect("JSON");
        if path == "/surplus" {
            document["surplus"] = json!(null);
        }
        let found = refusal(&document, path, new);
        assert!(found.contains(wanted), "{path}: {found}");
    }
    let document = serde_json::to_value(Network::of(&layers())).expect("JSON");
    let read: Network = serde_json::from_value(changed(&document, "/layers/2/shape", json!([4, 9]))).expect("a form");
    let error = read.check().expect_err("another shape");
    assert!(matches!(&error, NetworkError::Layer { index: 2, name, .. } if name == "layer3"), "{error}");
    assert!(error.to_string().contains("ask for a file"), "{error}");
}

#[test]
fn a_small_file_asks_for_no_more_than_the_bounds() {
    // A layer of 2^28 weights is allowed, two of them are not; nothing of that size is made on the way.
    let layer = |index: usize| {
        json!({
            "name": format!("layer{index}"),
            "op": {"dense": {"outputs": 1 << 14, "weights": {"name": format!("w{index}"), "bias": null, "bias_name": null}}},
            "inputs": [index],
            "shape": [1 << 14],
        })
    };
    let of = |layers: usize| {
        let document = json!({
            "name": "", "input_name": "x", "input_shape": [1 << 14], "layers": (0..layers).map(layer).collect::<Vec<_>>(),
            "output": layers, "output_name": "y", "softmax": false,
        });
        serde_json::from_value::<Network>(document).expect("a form").check()
    };
    assert_eq!(of(1), Ok(()));
    assert!(
        matches!(of(2), Err(NetworkError::Layer { index: 1, reason, .. }) if reason.contains("larger than 268435456"))
    );
}

#[test]
fn recipes_of_too_large_batches_are_refused() {
    let graph = looked_up();
    for batch in [0, (1 << 20) + 1, usize::MAX] {
        let recipe = recipe(batch, Loss::Mse, Initial::Fresh);
        assert!(training_step(&graph, &recipe, 0.1, true).is_err());
        let small = Recipe { batch: 1, ..recipe };
        assert!(evaluation(&graph, &small, batch).is_err());
    }
    assert!(training_step(&graph, &recipe(1 << 20, Loss::Mse, Initial::Fresh), 0.1, true).is_ok());
}

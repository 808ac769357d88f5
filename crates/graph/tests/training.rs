//! Training of imported networks: names, normalisation and dropout stay, steps fit, trained parameters leave and come back.

mod common;

use std::collections::BTreeMap;

use ariann_graph::training::{Initial, Loss, Recipe, Role, StepOp, Trainer, evaluation, order, training_step};
use ariann_graph::zoo::{NAMES, Options, network};
use ariann_graph::{
    Executor, ExportError, Graph, Op, export_onnx, export_safetensors, import_bytes, import_for_training,
    import_for_training_bytes, interval,
};
use common::{max_difference, sample_data};

fn recipe(batch: usize) -> Recipe {
    let plain = Recipe::plain(Loss::CrossEntropy, batch, 0.05);
    Recipe { momentum: 0.9, weight_decay: 5e-4, dropout: 0.5, seed: 1, ..plain }
}

fn inputs(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32 - 0.5).collect()
}

/// The graph for training computes what the graph for prediction does.
fn check_same(training: &Graph, prediction: &Graph, name: &str) {
    let x = inputs(3 * training.input.len());
    let run = |graph: &Graph| Executor::new(graph).run(3, &x).expect("a result");
    let (found, wanted) = (run(training), run(prediction));
    let scale = wanted.iter().fold(1f32, |scale, value| scale.max(value.abs()));
    let difference = max_difference(&found, &wanted);
    assert!(difference < 1e-4 * scale, "{name}: {difference} of {scale}");
    assert_eq!((training.softmax, &training.output_name), (prediction.softmax, &prediction.output_name));
}

#[test]
fn networks_of_the_zoo_keep_their_layers_and_give_steps() {
    for name in NAMES {
        let input = (name == "resnet18").then_some([3, 64, 64]);
        let made = network(name, &Options { input, ..Options::default() }).expect("a network");
        if name == "vgg16-64" {
            // Layer by layer that for smaller images.
            continue;
        }
        let graph = import_for_training_bytes(&made.onnx).expect("a graph");
        assert_eq!(graph.parameters() as u64, made.parameters, "{name}");
        check_same(&graph, &import_bytes(&made.onnx).expect("a graph"), name);
        let step = training_step(&graph, &recipe(2), 0.1, true).unwrap_or_else(|error| panic!("{name}: {error}"));
        let trained = step.states.iter().filter(|state| state.role == Role::Parameter);
        let values: usize = trained.map(|state| state.len()).sum();
        assert_eq!(values as u64, made.parameters, "{name}");
        evaluation(&graph, &recipe(2), 3).unwrap_or_else(|error| panic!("{name}: {error}"));
        let norms = graph.nodes.iter().filter(|node| matches!(node.op, Op::BatchNorm(_))).count();
        let expected = match name {
            "alexnet-cifar" => 2,
            "resnet8" => 7,
            "resnet18" => 20,
            _ => 0,
        };
        assert_eq!(norms, expected, "{name}");
    }
}

#[test]
fn batch_normalisation_has_proven_ranges() {
    let made = network("resnet8", &Options { input: Some([3, 8, 8]), ..Options::default() }).expect("a network");
    let graph = import_for_training_bytes(&made.onnx).expect("a graph");
    let ranges = interval(&graph, -0.5, 0.5).expect("ranges");
    let x = inputs(20 * graph.input.len());
    let observe = |step: ariann_graph::executor::Step<'_>| {
        let greatest = step.output.iter().fold(0f32, |greatest, x| greatest.max(x.abs()));
        let bound = ranges.nodes[step.node].output.max_abs;
        assert!(f64::from(greatest) <= bound, "{}: {greatest} {bound}", step.layer.name);
    };
    Executor::new(&graph).run_observed(20, &x, observe).expect("a result");
}

#[test]
fn a_residual_network_learns_its_batch() {
    let made = network("resnet8", &Options { input: Some([3, 8, 8]), ..Options::default() }).expect("a network");
    let graph = import_for_training_bytes(&made.onnx).expect("a graph");
    let recipe = recipe(16);
    let step = training_step(&graph, &recipe, recipe.lr, true).expect("a step");
    let mut trainer = Trainer::new(&step);
    let x = inputs(16 * step.item_len);
    let labels: Vec<u32> = order(16, 3, 0).into_iter().map(|item| item % 10).collect();
    let mut losses = Vec::new();
    (0..60).for_each(|number| losses.push(trainer.run(&step, &x, &labels, number).loss.expect("a loss")));
    assert!((losses[0] / 16.0 - 10f64.ln()).abs() < 1.0, "{}", losses[0] / 16.0);
    assert!(losses[59] < 0.05 * losses[0], "{losses:?}");
    // Running statistics have come near those of the batch.
    let evaluation = evaluation(&graph, &recipe, 16).expect("an evaluation");
    trainer.run(&evaluation, &x, &labels, 0);
    assert!(trainer.states().last().expect("a count")[0] >= 14.0);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let made = network("lenet", &Options::default()).expect("a network");
    let graph = import_for_training_bytes(&made.onnx).expect("a graph");
    let step = training_step(&graph, &recipe(6), 0.05, true).expect("a step");
    let x = inputs(6 * step.item_len);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let mut trainer = Trainer::new(&step);
            (0..2).for_each(|number| {
                trainer.run(&step, &x, &[0, 1, 2, 3, 4, 5], number);
            });
            trainer.states().to_vec()
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn trained_parameters_come_back_under_their_names() {
    let options = Options { input: Some([3, 16, 16]), ..Options::default() };
    let made = network("resnet8", &options).expect("a network");
    let graph = import_for_training_bytes(&made.onnx).expect("a graph");
    let step = training_step(&graph, &recipe(4), 0.05, false).expect("a step");
    let mut trainer = Trainer::new(&step);
    trainer.run(&step, &inputs(4 * step.item_len), &[0, 1, 2, 3], 0);
    let parameters = trainer.parameters(&step);
    let written = export_onnx(&made.onnx, &parameters).expect("a model");
    let again = import_for_training_bytes(&written).expect("a graph");
    let own = Recipe { initial: Initial::Model, ..recipe(4) };
    let states = training_step(&again, &own, 0.05, false).expect("a step").states;
    let of_model = |(state, _): &(&ariann_graph::training::State, _)| state.role.is_of_model();
    for (state, values) in states.iter().zip(trainer.states()).filter(of_model) {
        assert!(&state.initial == values, "{} differs", state.name);
    }
    assert!(export_onnx(&written, &BTreeMap::new()) == Ok(written.clone()));
    let missing = BTreeMap::from([("other".to_string(), vec![0.0])]);
    assert_eq!(export_onnx(&made.onnx, &missing), Err(ExportError::Missing("other".into())));
    let short = BTreeMap::from([("fc.bias".to_string(), vec![0.0])]);
    assert!(matches!(export_onnx(&made.onnx, &short), Err(ExportError::Length { expected: 10, .. })));
    assert!(matches!(export_onnx(&made.onnx[1..], &parameters), Err(ExportError::Decode(_))));
    let tensors: Vec<_> = step
        .states
        .iter()
        .zip(trainer.states())
        .filter(of_model)
        .map(|(state, values)| (state.name.clone(), state.shape.clone(), values.clone()))
        .collect();
    let file = export_safetensors(&tensors).expect("a file");
    let read = safetensors::SafeTensors::deserialize(&file).expect("it is one");
    assert_eq!(read.len(), tensors.len());
    for (name, shape, values) in &tensors {
        let tensor = read.tensor(name).expect("it is there");
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!((tensor.shape(), tensor.data()), (shape.as_slice(), bytes.as_slice()), "{name}");
    }
    assert!(export_safetensors(&[("x".into(), vec![3], vec![0.0])]).is_err());
}

#[test]
fn sample_models_can_be_trained_in_whole_or_at_their_head() {
    let Some(data) = sample_data() else { return };
    let whole = ["lenet-mnist", "mlp-128-128-mnist", "mnist-cntk", "resnet8-cifar10", "resnet20-cifar10"];
    for name in whole.into_iter().chain(["efficientnet_lite0-antsbees", "squeezenet1_0-imagenet"]) {
        let path = data.join(format!("models/{name}.onnx"));
        let bytes = std::fs::read(&path).expect("the model is there");
        let graph = import_for_training(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_same(&graph, &import_bytes(&bytes).expect("a graph"), name);
        let parameters: Vec<&str> =
            graph.nodes.iter().filter(|node| recipe(1).trains(node)).map(|node| node.name.as_str()).collect();
        let head = *parameters.last().expect("a layer");
        let freeze = match name {
            "efficientnet_lite0-antsbees" => {
                parameters[..parameters.len() - 1].iter().map(|name| name.to_string()).collect()
            }
            _ => vec![],
        };
        let all = freeze.is_empty();
        let recipe = Recipe { freeze, initial: Initial::Model, batch: 2, ..recipe(2) };
        let step = training_step(&graph, &recipe, 0.001, true).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {} nodes, {} gradients, head \"{head}\"", step.nodes.len(), step.gradients.len());
        let products = step.nodes.iter().filter(|node| matches!(node.op, StepOp::Product(_))).count();
        assert!(products > 2 && (all || step.gradients.len() <= 2), "{name}");
        let mut trainer = Trainer::new(&step);
        let labels = [0, 1];
        let outcome = trainer.run(&step, &inputs(2 * step.item_len), &labels, 0);
        assert!(outcome.loss.is_some_and(f64::is_finite), "{name}: {outcome:?}");
        let written = export_onnx(&bytes, &trainer.parameters(&step));
        match written {
            Err(ExportError::Missing(_)) => println!("{name}: {}", written.expect_err("a reason")),
            written => {
                let again = import_for_training_bytes(&written.expect("a model")).expect("a graph");
                let states = training_step(&again, &recipe, 0.1, false).expect("a step").states;
                for (state, values) in states.iter().zip(trainer.states()).filter(|(state, _)| state.role.is_of_model())
                {
                    assert!(&state.initial == values, "{name}: {} differs", state.name);
                }
            }
        }
    }
}

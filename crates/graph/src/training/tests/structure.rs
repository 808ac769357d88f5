//! What a step holds: states, frozen layers, refusals, no node without a use.

use super::*;
use crate::Function;
use crate::training::{RecipeError, Role, StepOp, evaluation};

fn network() -> Net {
    let mut net = Net::new(&[1, 6, 6]);
    net.conv("body.conv", 2, [3, 3], |_| ());
    net.norm("body.norm");
    net.relu("body.relu");
    net.dense("head.first", 4, true);
    net.relu("head.relu");
    net.dense("head.last", 3, true);
    net
}

#[test]
fn states_are_in_the_order_of_layers_and_the_same_in_both_graphs() {
    let net = network();
    let recipe = Recipe { momentum: 0.9, ..recipe(Loss::CrossEntropy, 4) };
    let step = training_step(&net.graph, &recipe, 0.1, false).expect("a step");
    let (p, v, r) = (Role::Parameter, Role::Velocity, Role::Running);
    let wanted = [
        ("body.conv.weight", p),
        ("body.conv.weight", v),
        ("body.conv.bias", p),
        ("body.conv.bias", v),
        ("body.norm.gamma", p),
        ("body.norm.gamma", v),
        ("body.norm.beta", p),
        ("body.norm.beta", v),
        ("body.norm.mean", r),
        ("body.norm.variance", r),
        ("head.first.weight", p),
        ("head.first.weight", v),
        ("head.first.bias", p),
        ("head.first.bias", v),
        ("head.last.weight", p),
        ("head.last.weight", v),
        ("head.last.bias", p),
        ("head.last.bias", v),
        ("correct", Role::Count),
    ];
    let found: Vec<_> = step.states.iter().map(|state| (state.name.as_str(), state.role)).collect();
    assert_eq!(found, wanted);
    assert_eq!(step.states[0].shape, [2, 1, 3, 3]);
    assert_eq!(step.states, evaluation(&net.graph, &recipe, 9).expect("an evaluation").states);
    assert_eq!(step.loss, None);
    assert!(training_step(&net.graph, &recipe, 0.1, true).expect("a step").loss.is_some());
}

/// Inputs lie before their nodes, lengths agree, names differ, every value is read, states change at the end.
fn check_order(step: &StepGraph) {
    let mut read = vec![false; step.nodes.len()];
    let mut names = std::collections::HashSet::new();
    let effect = |op: &StepOp| matches!(op, StepOp::Update { .. } | StepOp::Running { .. } | StepOp::Count { .. });
    for (index, node) in step.nodes.iter().enumerate() {
        assert!(names.insert(&node.name), "{}", node.name);
        for &input in &node.inputs {
            assert!(input < index, "{}", node.name);
            read[input] = true;
        }
        if let StepOp::Product(product) = &node.op {
            assert_eq!(product.lens(), [0, 1].map(|place| step.nodes[node.inputs[place]].len), "{}", node.name);
            assert_eq!(product.out_len(), node.len, "{}", node.name);
        }
    }
    for (index, node) in step.nodes.iter().enumerate() {
        let kept = effect(&node.op) || index == step.output || Some(index) == step.loss;
        assert!(read[index] || kept, "nothing reads \"{}\"", node.name);
    }
    let states_from = step.nodes.iter().position(|node| effect(&node.op)).expect("updates");
    let late = |node: &crate::training::StepNode| effect(&node.op) || matches!(node.op, StepOp::State(_));
    assert!(step.nodes[states_from..].iter().all(late));
}

#[test]
fn every_value_has_a_use() {
    for loss in [Loss::Mse, Loss::CrossEntropy] {
        for freeze in [vec![], vec!["body".to_string()], vec!["head.first".into()]] {
            let recipe = Recipe { freeze, momentum: 0.9, ..recipe(loss, 4) };
            for wanted in [false, true] {
                check_order(&training_step(&network().graph, &recipe, 0.1, wanted).expect("a step"));
            }
            check_order(&evaluation(&network().graph, &recipe, 4).expect("an evaluation"));
        }
    }
}

#[test]
fn frozen_layers_have_no_gradients_and_nothing_goes_below_the_lowest_trained_one() {
    let recipe = Recipe { freeze: vec!["body".into()], momentum: 0.9, ..recipe(Loss::Mse, 4) };
    let step = training_step(&network().graph, &recipe, 0.1, false).expect("a step");
    let trained: Vec<&str> = step.gradients.iter().map(|g| step.states[g.state].name.as_str()).collect();
    assert_eq!(trained, ["head.last.weight", "head.last.bias", "head.first.weight", "head.first.bias"]);
    let frozen = step.states.iter().filter(|state| state.role == Role::Frozen).count();
    assert_eq!((frozen, step.states.len()), (6, 6 + 8 + 1));
    assert!(!step.nodes.iter().any(|node| node.name.starts_with("body") && node.name.contains("gradient")));
    assert!(!step.nodes.iter().any(|node| matches!(node.op, StepOp::Running { .. })));
    // In the middle, gradients go through a frozen layer.
    let recipe = Recipe { freeze: vec!["head".into()], ..recipe };
    let step = training_step(&network().graph, &recipe, 0.1, false).expect("a step");
    assert_eq!(step.gradients.len(), 4);
    check_gradients(&network().graph, &recipe);
}

#[test]
fn fresh_weights_are_drawn_by_name_and_within_their_bound() {
    let graph = network().graph;
    let recipe = Recipe { initial: Initial::Fresh, freeze: vec!["head.last".into()], ..recipe(Loss::Mse, 4) };
    let states = training_step(&graph, &recipe, 0.1, false).expect("a step").states;
    let state = |name: &str| &states.iter().find(|state| state.name == name).expect(name).initial;
    for (name, inputs) in [("body.conv.weight", 9.0f32), ("body.conv.bias", 9.0), ("head.first.weight", 32.0)] {
        let bound = 1.0 / inputs.sqrt();
        let greatest = state(name).iter().fold(0f32, |greatest, x| greatest.max(x.abs()));
        assert!(greatest <= bound && greatest > 0.3 * bound, "{name}: {greatest}");
    }
    let weights = state("head.first.weight");
    let mean = weights.iter().sum::<f32>() / weights.len() as f32;
    assert!(mean.abs() < 0.03, "{mean}");
    assert_eq!((state("body.norm.gamma")[0], state("body.norm.beta")[0]), (1.0, 0.0));
    assert_eq!((state("body.norm.mean")[0], state("body.norm.variance")[0]), (0.0, 1.0));
    assert_eq!(state("head.last.weight"), graph.nodes.last().expect("a layer").op.weights().expect("weights").data());
    let other = Recipe { seed: 6, ..recipe.clone() };
    assert_ne!(training_step(&graph, &other, 0.1, false).expect("a step").states, states);
    assert_eq!(training_step(&graph, &recipe, 0.2, true).expect("a step").states, states);
}

#[test]
fn layers_without_a_gradient_are_refused_by_name_unless_they_are_frozen() {
    let build = |op: Op| {
        let mut net = Net::new(&[6]);
        net.dense("body", 5, true);
        net.push("odd", op, vec![5]);
        net.dense("head", 3, true);
        net.graph
    };
    let twice = ariann_ring::arrange::Block {
        source: 0,
        from: 0,
        to: 0,
        axes: vec![ariann_ring::arrange::Axis { len: 5, from: 0, to: 1 }],
    };
    let ops = [
        Op::Clip { lo: 0.0, hi: 6.0 },
        Op::Function(Function::Gelu),
        Op::Softmax(5),
        Op::Arrange(ariann_ring::Arrange { len: 5, blocks: vec![twice] }),
    ];
    for op in ops {
        let (graph, recipe) = (build(op), recipe(Loss::Mse, 2));
        let error = training_step(&graph, &recipe, 0.1, false).expect_err("no gradient");
        let RecipeError::Unsupported(layers) = &error else { panic!("{error}") };
        assert!(layers.len() == 1 && layers[0].contains("\"odd\""), "{error}");
        let recipe = Recipe { freeze: vec!["body".into()], ..recipe };
        check_gradients(&graph, &recipe);
        let step = evaluation(&graph, &recipe, 3).expect("an evaluation");
        let (x, labels) = batch(&step, 2);
        let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let found = crate::training::Trainer::new(&step).run(&step, &x, &labels, 0).output;
        let wanted = crate::Executor::new(&graph).run(3, &x).expect("a result");
        found.iter().zip(&wanted).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "{a} {b}"));
    }
}

#[test]
fn a_parameter_of_two_layers_is_refused() {
    let mut net = Net::new(&[4]);
    net.dense("same", 4, true);
    net.dense("same", 4, true);
    net.graph.nodes[1].name = "other".into();
    let error = training_step(&net.graph, &recipe(Loss::Mse, 2), 0.1, false).expect_err("shared");
    assert!(error.to_string().contains("\"same.weight\""), "{error}");
    let recipe = Recipe { freeze: vec!["other".into()], ..recipe(Loss::Mse, 2) };
    assert!(training_step(&net.graph, &recipe, 0.1, false).is_err(), "one half trained");
}

#[test]
fn recipes_out_of_bounds_are_refused() {
    let graph = network().graph;
    let good = recipe(Loss::Mse, 2);
    assert_eq!(good.check(&graph), Ok(()));
    let bad = |change: &dyn Fn(&mut Recipe), word: &str| {
        let mut recipe = good.clone();
        change(&mut recipe);
        let error = recipe.check(&graph).expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
    };
    for lr in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        bad(&|recipe| recipe.lr = lr, "learning rate");
    }
    for momentum in [-0.1, 1.0, f64::NAN] {
        bad(&|recipe| recipe.momentum = momentum, "momentum");
    }
    bad(&|recipe| recipe.nesterov = true, "Nesterov");
    bad(&|recipe| recipe.weight_decay = -1.0, "weight decay");
    bad(&|recipe| recipe.dropout = 1.0, "dropout");
    bad(&|recipe| recipe.batch = 0, "batch");
    bad(&|recipe| recipe.epochs = 0, "epochs");
    bad(&|recipe| recipe.schedule = Schedule::Step { epochs: 0, factor: 0.1 }, "schedule");
    bad(&|recipe| recipe.schedule = Schedule::Step { epochs: 1, factor: f64::NAN }, "schedule");
    bad(&|recipe| recipe.freeze = vec!["tail".into()], "head.first, head.last");
    bad(&|recipe| recipe.freeze = vec!["head".into(), "body".into()], "frozen");
}

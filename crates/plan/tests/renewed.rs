//! What renewed ranges have to hold: what follows a plateau, what a velocity remembers, what a test finds.

mod steps;

use ariann_graph::training::{Loss, Role, StepGraph, StepNode, StepOp, StepRanges, Trainer, evaluation, training_step};
use ariann_graph::{Op, import, zoo};
use ariann_plan::Gate;
use ariann_plan::clear::{Nearest, Reference};
use ariann_plan::training::{
    TrainingOptions, compile, decode_state, exponents, measure, measured, renew, renew_evaluation,
};
use steps::clear::*;
use steps::*;

/// All measured nodes, `by` bits beside their ranges.
fn beside(step: &StepGraph, ranges: &StepRanges, by: i32) -> Vec<(String, i32)> {
    let exponent = |node: usize| (ranges.nodes[node].max_abs * 1.01).log2().ceil() as i32;
    measured(step).into_iter().map(|node| (step.nodes[node].name.clone(), exponent(node) + by)).collect()
}

#[test]
fn what_the_rehearsal_saw_has_room_after_a_plateau() {
    for (name, loss, ring) in
        [("network2", Loss::CrossEntropy, 32), ("lenet", Loss::Mse, 32), ("network2", Loss::CrossEntropy, 64)]
    {
        let (step, input) = network(name, None, &recipe(4, loss), false);
        let (ranges, states) = (rehearsed(&step, 1.0), initial(&step));
        let options = options(ring, input);
        let left = scales_after(&compile(&step, &ranges, &options).expect("a plan"));
        let options = TrainingOptions { before: Some(left), ..options };
        let (plateau, mut now) = (batch(&step, 9, 1.0 / 256.0), ranges.clone());
        for _ in 0..6 {
            let plan = measure(&step, &now, &options).expect("a plan");
            let (words, _) = measuring(&plan, &step, &states, &plateau);
            let found = exponents(&plan, &words).expect("small values are within their ranges");
            let of: Vec<(String, i32)> = names(&step).into_iter().zip(found).collect();
            now = renew(&step, &now, &ranges, &of);
        }
        let fell = |node: &usize| ranges.nodes[*node].max_abs / now.nodes[*node].max_abs;
        assert!(measured(&step).iter().any(|node| fell(node) > 7.0), "{name}: a plateau gives bits");
        // The first batch of the rehearsal.
        let given = batch(&step, 1, 1.0);
        let plan = measure(&step, &now, &options).expect("a plan");
        let (words, _) = measuring(&plan, &step, &states, &given);
        exponents(&plan, &words).unwrap_or_else(|left| panic!("{name}: {left}"));
        let plan = compile(&step, &now, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (off, excess) = error(&plan, &step, &states, &given);
        assert_eq!(excess, None, "{name}");
        // One ReLU that is at zero counts a tenth in so small a step.
        assert!(off < 0.2, "{name}: {off}");
    }
}

#[test]
fn a_velocity_follows_a_gradient_that_grew_or_fell() {
    let mut recipe = recipe(4, Loss::Mse);
    for (lr, by, renewals) in [(2.0, 9, 1), (0.0001, -3, 3)] {
        recipe.lr = lr;
        let (step, input) = network("network1", None, &recipe, false);
        let small = batch(&step, 9, 1.0 / 64.0);
        let ranges = if by > 0 { rehearsed(&step, 1.0 / 64.0) } else { rehearsed(&step, 1.0) };
        let options = options(32, input);
        let first = compile(&step, &ranges, &options).expect("a plan");
        let options = TrainingOptions { before: Some(scales_after(&first)), ..options };
        let of = beside(&step, &ranges, by);
        let new = (0..renewals).fold(ranges.clone(), |new, _| renew(&step, &new, &ranges, &of));
        let plan = compile(&step, &new, &options).expect("a plan");
        plan.check().expect("a plan");
        // Velocities that count: those of a step before.
        let mut trainer = Trainer::new(&step);
        trainer.run(&step, &small.0, &small.1, 0);
        let mut states = initial(&step);
        for ((state, after), spec) in states.iter_mut().zip(trainer.states()).zip(&step.states) {
            if spec.role == Role::Velocity {
                state.clone_from(after);
            }
        }
        let (off, excess) = error(&plan, &step, &states, &small);
        assert_eq!(excess, None);
        assert!(by > 0 || off < 0.2, "{off}");
        let factors = plan.gates.iter().filter(|entry| entry.name.ends_with("update/momentum"));
        for entry in factors {
            let Gate::Times(times) = &entry.gate else { panic!("a velocity is multiplied") };
            assert!(times.factor >= 1 << 8, "{}: {} stands for {}", entry.name, times.factor, times.by);
        }
        let moved = &plan.training.as_ref().expect("training").states;
        let mut velocities = moved.iter().filter(|state| state.role == Role::Velocity);
        let finer = velocities.any(|state| state.after.frac >= state.before.frac + 2);
        assert_eq!(finer, by < 0, "one that is small by now has more bits");
    }
}

#[test]
fn a_statistic_that_is_kept_or_replaced_is() {
    let network = zoo::network("resnet8", &zoo::Options::default()).expect("a network");
    let recipe = recipe(4, Loss::Mse);
    for momentum in [0.0, 1.0] {
        let mut graph = import::import_for_training_bytes(&network.onnx).expect("a graph");
        for node in &mut graph.nodes {
            if let Op::BatchNorm(norm) = &mut node.op {
                norm.momentum = momentum;
            }
        }
        let step = training_step(&graph, &recipe, recipe.lr, false).expect("a step");
        let plan = compile(&step, &rehearsed(&step, 1.0), &options(64, network.input)).expect("a plan");
        plan.check().expect("a plan");
        let (features, labels) = batch(&step, 1, 1.0);
        let mut trainer = Trainer::new(&step);
        trainer.run(&step, &features, &labels, 0);
        let mut states = words(&plan, &initial(&step));
        let before = states.clone();
        let [features, labels] = encoded(&plan, &step, &features, &labels);
        Reference::of_step(&plan).run_step(&mut states, features, labels, &mut Nearest, [0, 0]);
        let specs = &plan.training.as_ref().expect("training").states;
        let mut seen = 0;
        for (index, spec) in specs.iter().enumerate().filter(|(_, spec)| spec.role == Role::Running) {
            let [old, new] = [&before, &states].map(|states| {
                let words: Vec<u64> = states[index].iter().map(|word| *word as u64).collect();
                decode_state(&words, spec.after)
            });
            assert!(momentum > 0.0 || old == new, "{} stays", spec.name);
            for ((a, b), old) in new.iter().zip(&trainer.states()[index]).zip(&old) {
                // The least factor is a unit of ten bits.
                let near = 1.1e-3 * (b - old).abs() + 1e-4 * b.abs().max(0.01);
                assert!((a - b).abs() < near, "{}, {momentum}: {a}, in float {b}", spec.name);
            }
            seen += 1;
        }
        assert!(seen > 4);
    }
}

#[test]
fn a_test_takes_running_statistics_as_the_steps_left_them() {
    let recipe = recipe(4, Loss::CrossEntropy);
    let network = zoo::network("resnet8", &zoo::Options::default()).expect("a network");
    let graph = import::import_for_training_bytes(&network.onnx).expect("a graph");
    let step = training_step(&graph, &recipe, recipe.lr, false).expect("a step");
    let test = evaluation(&graph, &recipe, 4).expect("a test");
    let (ranges, tested) = (rehearsed(&step, 1.0), rehearsed(&test, 1.0));
    let options = options(32, network.input);
    let left = scales_after(&compile(&step, &ranges, &options).expect("a plan"));
    // Variances became 200 times what the rehearsal saw.
    let is_variance = |state: usize| {
        let moves = |node: &StepNode| matches!(node.op, StepOp::Running { state: of, .. } if of == state);
        step.nodes.iter().any(|node| moves(node) && node.name.ends_with("variance.running"))
    };
    let mut grown = ranges.clone();
    for (index, node) in step.nodes.iter().enumerate() {
        let state = match node.op {
            StepOp::Running { state, .. } | StepOp::State(state) => state,
            _ => continue,
        };
        if is_variance(state) {
            grown.nodes[index].max_abs *= 200.0;
            grown.nodes[index].rms *= 200.0;
        }
    }
    let with = |before| TrainingOptions { before: Some(before), ..options.clone() };
    let left = scales_after(&compile(&step, &grown, &with(left)).expect("a plan"));
    let new = renew_evaluation(&test, &tested, &tested, &beside(&step, &ranges, 0), (&step, &grown));
    let (features, labels) = batch(&test, 3, 1.0);
    let mut states = initial(&step);
    for (state, values) in states.iter_mut().enumerate().filter(|(state, _)| is_variance(*state)) {
        let greatest = ranges.states[state].max_abs as f32;
        values.iter_mut().step_by(2).for_each(|x| *x = 150.0 * greatest);
    }
    let excess = |ranges: &StepRanges| {
        let plan = compile(&test, ranges, &with(left.clone())).unwrap_or_else(|error| panic!("{error}"));
        plan.check().expect("a plan");
        let [features, labels] = encoded(&plan, &test, &features, &labels);
        Reference::of_step(&plan).run_step(&mut words(&plan, &states), features, labels, &mut Nearest, [0, 0]).excess
    };
    assert!(excess(&tested).is_some(), "stale ranges do not hold them");
    assert_eq!(excess(&new), None);
}

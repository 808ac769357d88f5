//! Plans of training: every network compiles, in both rings; what they open is masked or named; what cannot be planned is
//! refused.

mod steps;

use ariann_gates::{Party, Receiver};
use ariann_graph::training::{Loss, Recipe, Role, StepGraph, answering, evaluation, step_in_f64};
use ariann_graph::{import, zoo};
use ariann_plan::clear::{Nearest, Reference};
use ariann_plan::training::{
    Source, TrainingOptions, answer, compile, decode_state, encode_states, measure, reveal_state,
};
use ariann_plan::{CompileError, Gate, Opens, Revealed, Scale, Shared};
use steps::clear::*;
use steps::*;

#[test]
fn every_network_has_a_plan_in_both_rings() {
    let small = [
        ("network1", None, Loss::Mse),
        ("network2", None, Loss::CrossEntropy),
        ("lenet", None, Loss::Mse),
        ("alexnet-cifar", None, Loss::CrossEntropy),
        ("resnet8", None, Loss::CrossEntropy),
        ("resnet18", Some([3, 64, 64]), Loss::CrossEntropy),
    ];
    for (name, input, loss) in small {
        let recipe = recipe(4, loss);
        let (step, input) = network(name, input, &recipe, true);
        let ranges = ranges(&step, 2);
        for ring in [32, 64] {
            let options = TrainingOptions { loss: Some(Receiver::P0), ..options(ring, input) };
            let plan = compile(&step, &ranges, &options).unwrap_or_else(|error| panic!("{name}, ring {ring}: {error}"));
            plan.check().unwrap_or_else(|error| panic!("{name}, ring {ring}: {error}"));
            let training = plan.training.as_ref().expect("a plan of training");
            assert_eq!(training.states.len(), step.states.len());
            // What the next step takes is what this one leaves.
            assert!(training.states.iter().all(|state| state.before == state.after));
            let states: Vec<Vec<f32>> = step.states.iter().map(|state| state.initial.clone()).collect();
            let words = encode_states::<u64>(&plan, &states).expect("states fit");
            for ((words, state), spec) in words.iter().zip(&step.states).zip(&training.states) {
                let back = decode_state(words, spec.before);
                let unit = spec.before.unit() as f32;
                assert!(back.iter().zip(&state.initial).all(|(a, b)| (a - b).abs() <= unit), "{name} {}", spec.name);
            }
        }
    }
}

#[test]
fn a_step_opens_masked_values_and_the_named_results_only() {
    let recipe = recipe(4, Loss::CrossEntropy);
    let (step, input) = network("resnet8", None, &recipe, true);
    let ranges = ranges(&step, 1);
    let silent = compile(&step, &ranges, &options(32, input)).expect("a plan");
    assert_eq!(named(&silent), [Opens::Input, Opens::Input]);
    assert_eq!(silent.revealed_len(), 0);
    let telling = TrainingOptions { loss: Some(Receiver::P1), ..options(32, input) };
    let telling = compile(&step, &ranges, &telling).expect("a plan");
    let loss = Opens::Result { what: Revealed::Loss, to: Receiver::P1 };
    assert_eq!(named(&telling), [Opens::Input, Opens::Input, loss]);
    // One more result anywhere is no plan.
    let mut more = telling.clone();
    let last = more.gates.len() - 1;
    more.gates.push(more.gates[last].clone());
    assert!(more.check().is_err());
    let mut other = telling.clone();
    if let Gate::Reveal(reveal) = &mut other.gates[last].gate {
        reveal.to = Receiver::P0;
    }
    assert!(other.check().is_err(), "a result to another receiver than the plan names");
    let model = reveal_state(&telling, 0, Receiver::P0);
    model.check().expect("a plan");
    assert_eq!(named(&model), [Opens::Result { what: Revealed::State, to: Receiver::P0 }]);
    assert_eq!(model.revealed_len(), telling.training.as_ref().expect("training").states[0].len());
}

#[test]
fn an_evaluation_counts_and_changes_nothing_else() {
    let recipe = recipe(4, Loss::Mse);
    let network = zoo::network("lenet", &zoo::Options::default()).expect("a network");
    let graph = import::import_for_training_bytes(&network.onnx).expect("a graph");
    let step = evaluation(&graph, &recipe, 6).expect("an evaluation");
    let plan = compile(&step, &ranges(&step, 1), &options(32, network.input)).expect("a plan");
    plan.check().expect("a plan");
    let states = &plan.training.as_ref().expect("training").states;
    let stored: Vec<Role> = plan
        .gates
        .iter()
        .filter_map(|entry| if let Gate::Store(kept) = &entry.gate { Some(states[kept.state].role) } else { None })
        .collect();
    assert_eq!(stored, [Role::Count]);
    assert_eq!(named(&plan), [Opens::Input, Opens::Input]);
}

/// 98 values a channel: a hundredth that no power of two is.
#[test]
fn means_of_any_number_of_values_are_exact_in_the_wide_ring() {
    let (step, input) = network("resnet8", Some([3, 7, 7]), &recipe(2, Loss::CrossEntropy), false);
    let plan = compile(&step, &rehearsed(&step, 1.0), &options(64, input)).expect("a plan");
    plan.check().expect("a plan");
    let (features, labels) = batch(&step, 2, 1.0);
    let float = step_in_f64(&step, &features, &labels, |_, _| ());
    let mut states = words(&plan, &initial(&step));
    let [features, labels] = encoded(&plan, &step, &features, &labels);
    let left = Reference::of_step(&plan).run_step(&mut states, features, labels, &mut Nearest, [0, 0]);
    assert_eq!(left.excess, None);
    let (specs, mut seen) = (&plan.training.as_ref().expect("training").states, 0);
    for ((words, spec), float) in states.iter().zip(specs).zip(&float) {
        if spec.role == Role::Velocity {
            let unit = spec.after.unit();
            let off: f64 = words.iter().zip(float).map(|(a, b)| (*a as f64 * unit - b).powi(2)).sum();
            let all: f64 = float.iter().map(|b| b.powi(2)).sum();
            assert!(off.sqrt() <= 1e-3 * all.sqrt(), "{}: {:e}", spec.name, (off / all).sqrt());
            seen += 1;
        }
    }
    assert!(seen > 10);
}

#[test]
fn a_rate_below_the_fixed_point_is_refused() {
    let recipe = Recipe { lr: 1e-12, ..recipe(4, Loss::Mse) };
    let (step, input) = network("network1", None, &recipe, false);
    let ranges = ranges(&step, 1);
    let refused = compile(&step, &ranges, &options(32, input)).expect_err("a rate that changes nothing");
    assert!(matches!(refused, CompileError::Rate { .. }), "{refused}");
    assert!(refused.to_string().contains("greater rate"), "{refused}");
}

#[test]
fn every_optimiser_has_a_plan_and_a_schedule_keeps_its_scales() {
    let base = recipe(4, Loss::Mse);
    let variants = [
        Recipe { nesterov: true, ..base.clone() },
        Recipe { weight_decay: 5e-4, ..base.clone() },
        Recipe { momentum: 0.0, weight_decay: 1e-3, ..base.clone() },
        Recipe { nesterov: true, weight_decay: 1e-2, ..base.clone() },
    ];
    for recipe in variants {
        for ring in [32, 64] {
            let (step, input) = network("network1", None, &recipe, false);
            let ranges = ranges(&step, 2);
            let first =
                compile(&step, &ranges, &options(ring, input)).unwrap_or_else(|error| panic!("{recipe:?}: {error}"));
            first.check().expect("a plan");
            let left: Vec<_> =
                first.training.as_ref().expect("training").states.iter().map(|state| state.after).collect();
            let slower = Recipe { lr: recipe.lr / 50.0, ..recipe.clone() };
            let (step, input) = network("network1", None, &slower, false);
            let next = TrainingOptions { before: Some(left.clone()), ..options(ring, input) };
            let next = compile(&step, &ranges, &next).unwrap_or_else(|error| panic!("{slower:?}: {error}"));
            next.check().expect("a plan");
            let states = &next.training.as_ref().expect("training").states;
            assert!(states.iter().zip(&left).all(|(state, left)| state.before == *left && state.after == *left));
        }
    }
}

#[test]
fn ranges_that_are_no_numbers_or_another_graph_s_are_refused() {
    let recipe = recipe(2, Loss::Mse);
    let (step, input) = network("network1", None, &recipe, false);
    let known = ranges(&step, 1);
    let mut wrong = known.clone();
    wrong.nodes[3].max_abs = f64::NAN;
    assert!(compile(&step, &wrong, &options(32, input)).is_err());
    let mut short = known.clone();
    short.nodes.pop();
    assert!(matches!(compile(&step, &short, &options(32, input)), Err(CompileError::Ranges { .. })));
    // Values that leave no bits.
    let mut wide = known;
    wide.nodes.iter_mut().for_each(|range| range.max_abs *= 1e7);
    assert!(compile(&step, &wide, &options(32, input)).is_err());
    assert!(matches!(compile(&step, &wide, &options(48, input)), Err(CompileError::Ring(48))));
}

#[test]
fn labels_and_items_come_from_whom_the_plan_says() {
    let recipe = recipe(2, Loss::Mse);
    let (step, input) = network("network1", None, &recipe, false);
    let plan = compile(&step, &ranges(&step, 1), &options(32, input)).expect("a plan");
    let owners: Vec<Party> = plan.gates[..2]
        .iter()
        .map(|entry| if let Gate::Input(input) = &entry.gate { input.owner } else { panic!("an input") })
        .collect();
    assert_eq!(owners, [Party::P1, Party::P0]);
}

/// What owners shared comes without a message, and is opened under masks alone.
#[test]
fn what_owners_shared_is_masked_wherever_it_is_opened() {
    for (name, loss) in [("network1", Loss::Mse), ("lenet", Loss::Mse), ("resnet8", Loss::CrossEntropy)] {
        let recipe = recipe(2, loss);
        let (step, input) = network(name, None, &recipe, true);
        let ranges = ranges(&step, 1);
        for ring in [32, 64] {
            let options = TrainingOptions {
                features: Source::Owners,
                labels: Source::Owners,
                loss: Some(Receiver::P0),
                ..options(ring, input)
            };
            let plan = compile(&step, &ranges, &options).unwrap_or_else(|error| panic!("{name}, ring {ring}: {error}"));
            plan.check().unwrap_or_else(|error| panic!("{name}, ring {ring}: {error}"));
            assert_eq!(named(&plan), [Opens::Result { what: Revealed::Loss, to: Receiver::P0 }]);
            for (number, len) in [(0, 2 * step.item_len), (1, 2 * step.classes)] {
                assert_eq!(plan.gates[number].gate, Gate::Shared(Shared { len }));
                assert_eq!(plan.cost(number), ariann_gates::Cost::default());
            }
            // Another length, another place, and a share in a prediction's stead are refused.
            let mut longer = plan.clone();
            longer.gates[1].gate = Gate::Shared(Shared { len: 2 * step.classes + 1 });
            assert!(longer.check().is_err());
            let third = plan.gates[2].clone();
            let mut later = plan.clone();
            later.gates[2] = ariann_plan::Entry { inputs: Vec::new(), gate: plan.gates[0].gate.clone(), ..third };
            assert!(later.check().is_err());
            let mut predicts = plan.clone();
            predicts.training = None;
            assert!(predicts.check().is_err());
            // Shared for another plan, they are brought to this one's scales; where it would have more bits, it has as many.
            for more in [6, -3] {
                let scales = [0, 1].map(|number| {
                    let Scale { frac, factor } = plan.gates[number as usize].scale;
                    Scale { frac: frac + more, factor }
                });
                let other = TrainingOptions { shared: Some(scales), ..options.clone() };
                let other = compile(&step, &ranges, &other).unwrap_or_else(|error| panic!("{name}: {error}"));
                other.check().unwrap_or_else(|error| panic!("{name}, ring {ring}: {error}"));
                assert_eq!([0, 1].map(|number| other.gates[number].scale), scales);
                assert_eq!(other.gates.len() > plan.gates.len(), more > 0);
                let product = |plan: &ariann_plan::Plan| {
                    let first = |entry: &&ariann_plan::Entry| matches!(entry.gate, Gate::Product(_));
                    plan.gates.iter().find(first).expect("a product").scale.frac
                };
                assert_eq!(product(&other), product(&plan) + more.min(0));
            }
            let telling = measure(&step, &ranges, &TrainingOptions { loss: None, ..options }).expect("a plan");
            telling.check().expect("a plan");
            assert_eq!(named(&telling), [Opens::Result { what: Revealed::Ranges, to: Receiver::Both }]);
        }
    }
}

/// The forward pass of the test, with its ranges: outputs go to outside clients, no state is changed, and nobody else learns anything.
#[test]
fn a_model_that_stays_shared_answers_clients_and_nobody_else() {
    for name in ["network1", "lenet", "resnet8"] {
        let recipe = recipe(4, Loss::CrossEntropy);
        let network = zoo::network(name, &zoo::Options::default()).expect("a network");
        let graph = import::import_for_training_bytes(&network.onnx).expect("a graph");
        let (test, forward) = (evaluation(&graph, &recipe, 6), answering(&graph, &recipe, 3));
        let (test, forward) = (test.expect("an evaluation"), forward.expect("a forward pass"));
        let names = |step: &StepGraph| step.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        assert!(names(&test).starts_with(&names(&forward)), "{name}: its ranges are those of the test");
        assert_eq!(forward.nodes.len() + 3, test.nodes.len(), "labels, their comparison and the count are left out");
        for ring in [32, 64] {
            let plan = answer(&forward, &ranges(&test, 1), &options(ring, network.input));
            let plan = plan.unwrap_or_else(|error| panic!("{name}, ring {ring}: {error}"));
            plan.check().unwrap_or_else(|error| panic!("{name}, ring {ring}: {error}"));
            assert_eq!(named(&plan), [Opens::Result { what: Revealed::Logits, to: Receiver::Client }]);
            assert!(plan.for_clients() && plan.revealed_len() == test.classes);
            assert_eq!(plan.gates[0].gate, Gate::Shared(Shared { len: 3 * test.item_len }));
            let last = plan.gates.len() - 1;
            assert!(plan.cost(last).exchanges.is_empty(), "parties keep their shares of the outputs");
            assert!(!plan.gates.iter().any(|entry| matches!(entry.gate, Gate::Store(_) | Gate::Input(_))));

            // To a party instead; with another batch; with the label of a training's kind.
            for to in [Receiver::P0, Receiver::P1, Receiver::Both] {
                let mut told = plan.clone();
                told.reveal.to = to;
                if let Gate::Reveal(reveal) = &mut told.gates[last].gate {
                    reveal.to = to;
                }
                assert!(told.check().is_err(), "outputs to {to:?}");
            }
            let mut fewer = plan.clone();
            fewer.training.as_mut().expect("states").batch = 2;
            assert!(fewer.check().is_err());
            for what in [Revealed::Label, Revealed::State, Revealed::Nothing, Revealed::Loss, Revealed::Ranges] {
                let mut other = plan.clone();
                other.reveal.what = what;
                assert!(other.check().is_err(), "{what:?}");
            }
            // A state that is changed on the way.
            let state = plan.gates.iter().position(|entry| matches!(entry.gate, Gate::State(_))).expect("a state");
            let Gate::State(kept) = plan.gates[state].gate.clone() else { unreachable!("found above") };
            let mut keeps = plan.clone();
            let store =
                ariann_plan::Entry { inputs: vec![state as u32], gate: Gate::Store(kept), ..plan.gates[state].clone() };
            keeps.gates.insert(last, store);
            assert!(keeps.check().is_err(), "it stores a state");
        }
    }
}

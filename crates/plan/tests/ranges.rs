//! Ranges that are renewed while a training runs: what a measuring plan reveals is what it says, new ranges give new bits and
//! new room, and a value that left its range is named.

mod steps;

use ariann_gates::Receiver;
use ariann_graph::training::{Loss, Recipe, Role, StepGraph, StepNode, StepOp, StepRanges, Trainer, evaluation};
use ariann_graph::{Function, ValueRange, import, zoo};
use ariann_plan::training::{
    RangesError, TrainingOptions, compile, exponents, measure, measured, renew, renew_evaluation,
};
use ariann_plan::{Gate, Kept, Opens, Plan, Revealed};
use steps::clear::*;
use steps::*;

/// Greatest magnitudes of all nodes, in float.
fn in_float(step: &StepGraph, states: &[Vec<f32>], (features, labels): &(Vec<f32>, Vec<u32>)) -> Vec<f64> {
    let mut trainer = Trainer::new(step);
    trainer.states_mut().clone_from_slice(states);
    let mut greatest = vec![0f64; step.nodes.len()];
    trainer.run_observed(step, features, labels, 0, |node, values| {
        greatest[node] = values.iter().fold(0f32, |max, x| max.max(x.abs())).into();
    });
    greatest
}

const NETWORKS: [(&str, Loss); 4] =
    [("network1", Loss::Mse), ("network2", Loss::CrossEntropy), ("lenet", Loss::Mse), ("resnet8", Loss::CrossEntropy)];

#[test]
fn what_is_measured_is_the_least_power_of_two_above_each_product() {
    for (name, loss) in NETWORKS {
        let (step, input) = network(name, None, &recipe(4, loss), true);
        let ranges = rehearsed(&step, 1.0);
        for ring in [32, 64] {
            let options = options(ring, input);
            let left = scales_after(&compile(&step, &ranges, &options).expect("a plan"));
            let options = TrainingOptions { before: Some(left), ..options };
            let plan = measure(&step, &ranges, &options).unwrap_or_else(|error| panic!("{name}, {ring}: {error}"));
            plan.check().unwrap_or_else(|error| panic!("{name}, {ring}: {error}"));
            let text = plan.to_json();
            assert_eq!(Plan::from_json(&text, std::path::Path::new("plan.json")).expect("a plan"), plan);
            let (states, given) = (initial(&step), batch(&step, 7, 1.0));
            let (words, seen) = measuring(&plan, &step, &states, &given);
            let found = exponents(&plan, &words).unwrap_or_else(|error| panic!("{name}, {ring}: {error}"));
            // Of the very integers that were opened.
            let mut expected = Vec::new();
            for (gate, values) in &seen.seen {
                let gate = &plan.gates[plan.gates[*gate].inputs[0] as usize];
                let Gate::Arrange(arrange) = &gate.gate else { panic!("values come from all nodes") };
                for block in &arrange.arrange.blocks {
                    let values = &values[block.to..][..block.len()];
                    let greatest = values.iter().map(|x| x.unsigned_abs()).max().expect("a node has values");
                    let Gate::Times(times) = &plan.gates[gate.inputs[block.source] as usize].gate else {
                        panic!("each is brought to the top")
                    };
                    let range = -times.by.log2() as i32;
                    let bits = (0..64).find(|bits| greatest <= 1 << bits).expect("it is small");
                    expected.push(if greatest == 0 { range - 9 } else { range - 8 + bits });
                }
            }
            assert_eq!(found, expected, "{name}, {ring}");
            let nodes = measured(&step);
            assert_eq!(found.len(), nodes.len());
            let float = in_float(&step, &states, &given);
            let mut equal = 0;
            for (&node, exponent) in nodes.iter().zip(&found) {
                let max = ranges.nodes[node].max_abs;
                let of_float = float[node].log2().ceil().max((max * 1.01).log2().ceil() - 9.0) as i32;
                let node = &step.nodes[node].name;
                assert!(
                    (exponent - of_float).abs() <= 1,
                    "{name}, {ring}, {node}: 2^{exponent}, in float 2^{of_float}"
                );
                equal += usize::from(*exponent == of_float);
            }
            assert!(5 * equal >= 4 * nodes.len(), "{name}, {ring}: {equal} of {} as in float", nodes.len());
        }
    }
}

#[test]
fn all_products_that_an_update_follows_from_are_measured_and_the_loss_is_not() {
    let (step, _) = network("resnet8", None, &recipe(4, Loss::CrossEntropy), true);
    let nodes = measured(&step);
    let of_loss = |node: &StepNode| node.name == "loss.true";
    assert!(step.nodes.iter().any(of_loss));
    for (index, node) in step.nodes.iter().enumerate() {
        let product = matches!(node.op, StepOp::Product(_) | StepOp::Function(Function::InverseRoot(_)));
        let inverse = matches!(node.op, StepOp::Function(Function::Reciprocal));
        assert_eq!(nodes.contains(&index), (product || inverse) && !of_loss(node), "{}", node.name);
    }
    // Where all but the head is frozen, what lies below it does not change.
    let frozen = Recipe { freeze: vec!["conv".to_string()], ..recipe(2, Loss::Mse) };
    let (step, _) = network("lenet", None, &frozen, false);
    let names = names(&step);
    assert!(!names.is_empty() && names.iter().all(|name| !name.starts_with("conv")), "{names:?}");
}

#[test]
fn an_evaluation_has_the_names_of_the_step() {
    for (name, loss) in NETWORKS {
        let network = zoo::network(name, &zoo::Options::default()).expect("a network");
        let graph = import::import_for_training_bytes(&network.onnx).expect("a graph");
        let recipe = recipe(4, loss);
        let (step, test) =
            (steps::network(name, None, &recipe, false).0, evaluation(&graph, &recipe, 4).expect("an evaluation"));
        let known: Vec<&StepNode> = measured(&step).into_iter().map(|node| &step.nodes[node]).collect();
        let mut products = 0;
        for node in &test.nodes {
            if matches!(node.op, StepOp::Product(_) | StepOp::Function(Function::InverseRoot(_))) {
                products += 1;
                let same = known.iter().any(|known| known.name == node.name && known.op == node.op);
                assert!(same, "{name}: {} is measured", node.name);
            }
        }
        assert!(products > 1);
        // Its ranges follow, too.
        let ranges = ranges_of(&test, 1.0);
        let of: Vec<(String, i32)> = names(&step).into_iter().map(|name| (name, 1)).collect();
        let stepped = rehearsed(&step, 1.0);
        let new = renew_evaluation(&test, &ranges, &ranges, &of, (&step, &stepped));
        let logits = [&ranges, &new].map(|ranges| ranges.nodes[test.output].max_abs);
        assert!(logits[0] != logits[1], "{name}: {logits:?}");
    }
}

fn ranges_of(step: &StepGraph, max_abs: f64) -> StepRanges {
    let all = |len| vec![ValueRange { max_abs, rms: max_abs / 4.0 }; len];
    StepRanges { steps: 1, nodes: all(step.nodes.len()), states: all(step.states.len()) }
}

#[test]
fn values_that_became_small_get_their_bits_back() {
    for (name, loss, features_by, weights_by) in [
        ("network1", Loss::Mse, 1.0 / 64.0, 1.0),
        ("network1", Loss::Mse, 1.0, 0.25),
        ("lenet", Loss::Mse, 1.0 / 16.0, 1.0),
        ("lenet", Loss::Mse, 1.0, 0.25),
        ("resnet8", Loss::CrossEntropy, 0.5, 1.0),
    ] {
        let (step, input) = network(name, None, &recipe(4, loss), false);
        let ranges = rehearsed(&step, 1.0);
        let options = options(32, input);
        let first = compile(&step, &ranges, &options).expect("a plan");
        let options = TrainingOptions { before: Some(scales_after(&first)), ..options };
        let stale = compile(&step, &ranges, &options).expect("a plan");
        let mut states = initial(&step);
        for (values, state) in states.iter_mut().zip(&step.states) {
            if state.role == Role::Parameter {
                values.iter_mut().for_each(|x| *x *= weights_by);
            }
        }
        let given = batch(&step, 9, features_by);
        let plan = measure(&step, &ranges, &options).expect("a plan");
        let (words, _) = measuring(&plan, &step, &states, &given);
        let found = exponents(&plan, &words).expect("exponents");
        let of: Vec<(String, i32)> = names(&step).into_iter().zip(found).collect();
        let new = renew(&step, &ranges, &ranges, &of);
        let new = (0..3).fold(new, |new, _| renew(&step, &new, &ranges, &of));
        let renewed = compile(&step, &new, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        renewed.check().expect("a plan");
        let [(before, _), (after, excess)] = [&stale, &renewed].map(|plan| error(plan, &step, &states, &given));
        println!(
            "{name}, features times {features_by}, weights times {weights_by}: error {before:.2e}, then {after:.2e}"
        );
        assert_eq!(excess, None, "{name}");
        assert!(after < before, "{name}: {before} before, {after} after");
    }
}

#[test]
fn values_that_grew_get_room_and_those_that_left_their_range_are_named() {
    for (name, ring) in [("network1", 32), ("lenet", 32), ("lenet", 64)] {
        let (step, input) = network(name, None, &recipe(4, Loss::Mse), false);
        let (ranges, states) = (rehearsed(&step, 1.0 / 64.0), initial(&step));
        let options = options(ring, input);
        let first = compile(&step, &ranges, &options).expect("a plan");
        let options = TrainingOptions { before: Some(scales_after(&first)), ..options };
        let plan = measure(&step, &ranges, &options).expect("a plan");
        let (words, _) = measuring(&plan, &step, &states, &batch(&step, 9, 1.0 / 9.0));
        let found = exponents(&plan, &words).expect("within the margin");
        let of: Vec<(String, i32)> = names(&step).into_iter().zip(found).collect();
        let new = renew(&step, &ranges, &ranges, &of);
        let renewed = compile(&step, &new, &options).expect("a plan");
        renewed.check().expect("a plan");
        let far = batch(&step, 9, 0.5);
        let [(_, before), (off, after)] = [&first, &renewed].map(|plan| error(plan, &step, &states, &far));
        assert!(before.is_some(), "{name}: it was beyond the margin of the first plan");
        assert_eq!(after, None, "{name}");
        assert!(off < 0.05, "{name}: {off}");
        // From a quarter of the bound on, a range counts as left.
        let (words, _) = measuring(&plan, &step, &states, &batch(&step, 9, 0.2));
        let left = exponents(&plan, &words).expect_err("values beyond their range");
        let RangesError::Left { node, exponent, limit } = &left else { panic!("{left}") };
        let float = in_float(&step, &states, &batch(&step, 9, 0.2));
        let bound = |node: usize| 2f64.powi((ranges.nodes[node].max_abs * 1.01).log2().ceil() as i32 + 3);
        let beyond = measured(&step).into_iter().find(|node| float[*node] > bound(*node)).expect("values that left");
        assert_eq!(node, &step.nodes[beyond].name, "the first that left");
        assert!(exponent >= limit, "{left}");
        assert!(left.to_string().contains("--rescale-every"), "{left}");
        let new = measure(&step, &new, &options).expect("a plan");
        exponents(&new, &measuring(&new, &step, &states, &far).0).expect("within the new ranges");
    }
}

#[test]
fn words_that_no_measuring_gives_are_refused() {
    let (step, input) = network("network1", None, &recipe(2, Loss::Mse), false);
    let ranges = rehearsed(&step, 1.0);
    let options = options(32, input);
    let plan = measure(&step, &ranges, &options).expect("a plan");
    let none = vec![Function::LEAST_EXPONENT as u32; measured(&step).len()];
    let least = exponents(&plan, &none).expect("nothing was seen above the window's last bit");
    for (exponent, node) in least.iter().zip(measured(&step)) {
        assert_eq!(*exponent, (ranges.nodes[node].max_abs * 1.01).log2().ceil() as i32 - 9);
    }
    for word in [-9i32, 6, 100, -63, i32::MIN, i32::MAX] {
        let mut words = none.clone();
        words[1] = word as u32;
        assert!(matches!(exponents(&plan, &words), Err(RangesError::Word { .. })), "{word}");
    }
    let mut words = none.clone();
    for (word, left) in [(-8i32, false), (0, false), (3, false), (4, true), (5, true)] {
        words[1] = word as u32;
        assert_eq!(matches!(exponents(&plan, &words), Err(RangesError::Left { .. })), left, "{word}");
    }
    words.pop();
    assert!(matches!(exponents(&plan, &words), Err(RangesError::Length { .. })));
    let other = compile(&step, &ranges, &options).expect("a plan");
    assert!(matches!(exponents(&other, &none), Err(RangesError::Length { expected: 0, .. })));
}

#[test]
fn a_measuring_plan_opens_masked_values_and_its_exponents_only() {
    let (step, input) = network("resnet8", None, &recipe(4, Loss::CrossEntropy), true);
    let ranges = rehearsed(&step, 1.0);
    for ring in [32, 64] {
        // A loss that steps reveal is not computed.
        let options = TrainingOptions { loss: Some(Receiver::P0), ..options(ring, input) };
        let plan = measure(&step, &ranges, &options).expect("a plan");
        let result = Opens::Result { what: Revealed::Ranges, to: Receiver::Both };
        assert_eq!(named(&plan), [Opens::Input, Opens::Input, result]);
        assert_eq!(plan.revealed_len(), measured(&step).len());
        assert!(!plan.gates.iter().any(|entry| matches!(entry.gate, Gate::Store(_))));
        let states = &plan.training.as_ref().expect("training").states;
        assert!(states.iter().all(|state| state.before == state.after));
    }
}

#[test]
fn plans_that_reveal_ranges_in_another_way_are_refused() {
    let (step, input) = network("network1", None, &recipe(2, Loss::Mse), false);
    let plan = measure(&step, &rehearsed(&step, 1.0), &options(32, input)).expect("a plan");
    plan.check().expect("a plan");
    let last = plan.gates.len() - 1;
    let changed = |change: &dyn Fn(&mut Plan)| {
        let mut other = plan.clone();
        change(&mut other);
        other.check()
    };
    for to in [Receiver::P0, Receiver::P1] {
        let one = changed(&|plan| {
            plan.reveal.to = to;
            if let Gate::Reveal(reveal) = &mut plan.gates[last].gate {
                reveal.to = to;
            }
        });
        assert!(one.is_err(), "to one party");
    }
    let store = changed(&|plan| {
        let state = plan.gates.iter().position(|entry| matches!(entry.gate, Gate::State(_))).expect("a state");
        let Gate::State(Kept { state: of, len }) = plan.gates[state].gate else { unreachable!() };
        let (inputs, gate) = (vec![state as u32], Gate::Store(Kept { state: of, len }));
        let entry = ariann_plan::Entry { name: "store".to_string(), inputs, gate, scale: plan.gates[state].scale };
        plan.gates.insert(last - 1, entry);
        plan.gates[last + 1].inputs = vec![last as u32];
    });
    assert!(store.expect_err("a store").to_string().contains("ranges"));
    let fewer = changed(&|plan| {
        if let Gate::Reveal(reveal) = &mut plan.gates[last].gate {
            reveal.len -= 1;
        }
    });
    assert!(fewer.is_err(), "fewer than there are");
    let table = changed(&|plan| {
        if let Gate::Lookup(table) = &mut plan.gates[last - 1].gate {
            table.function = Function::Log;
        }
    });
    assert!(table.is_err(), "values, not exponents");
    for what in [Revealed::State, Revealed::Loss, Revealed::Nothing, Revealed::Logits] {
        let named_otherwise = changed(&|plan| plan.reveal.what = what);
        // A state's reveal is any share: the parties' policies name plans that reveal states.
        assert!(named_otherwise.is_err() || what == Revealed::State, "{what:?}");
    }
}

#[test]
fn ranges_follow_from_what_values_are_made_of() {
    let (step, _) = network("lenet", None, &recipe(2, Loss::Mse), false);
    let ranges = rehearsed(&step, 1.0);
    let at = |name: &str| step.nodes.iter().position(|node| node.name == name).unwrap_or_else(|| panic!("{name}"));
    let nodes = measured(&step);
    let exponent = |node: usize| (ranges.nodes[node].max_abs * 1.01).log2().ceil() as i32;
    let all = |by: i32| -> Vec<(String, i32)> {
        nodes.iter().map(|node| (step.nodes[*node].name.clone(), exponent(*node) + by)).collect()
    };
    let same = renew(&step, &ranges, &ranges, &all(0));
    for (&node, by) in nodes.iter().flat_map(|node| [(node, -3), (node, 0), (node, 2)]) {
        let new = renew(&step, &ranges, &ranges, &all(by)).nodes[node];
        // The greatest range of its exponent.
        assert_eq!((new.max_abs * 1.01).log2().ceil() as i32, exponent(node) + by.max(-1), "{}", step.nodes[node].name);
        assert!(by < 0 || new.max_abs * 1.02 > 2f64.powi(exponent(node) + by));
        let (old, ratio) = (ranges.nodes[node], new.max_abs / ranges.nodes[node].max_abs);
        assert!((new.rms - old.rms * ratio).abs() <= 1e-9 * new.rms);
    }
    // Once more, nothing changes; ranges that are told by their exponents are such again.
    assert_eq!(renew(&step, &same, &ranges, &all(0)), same);
    let told = ranges.rounded();
    for by in [-5, 0, 3] {
        let new = renew(&step, &told, &told, &all(by));
        nodes.iter().for_each(|node| assert_eq!(new.nodes[*node].max_abs, new.rounded().nodes[*node].max_abs));
    }
    let once = renew(&step, &ranges, &ranges, &all(-40));
    let gone = (0..20).fold(once.clone(), |gone, _| renew(&step, &gone, &ranges, &all(-40)));
    let grown = renew(&step, &ranges, &ranges, &all(3));
    assert_eq!(gone.states, ranges.states);
    for (index, node) in step.nodes.iter().enumerate() {
        let [old, less, more] = [&ranges, &gone, &grown].map(|ranges| ranges.nodes[index].max_abs);
        let name = &node.name;
        match &node.op {
            StepOp::Features | StepOp::Labels | StepOp::State(_) => assert_eq!([less, more], [old, old], "{name}"),
            StepOp::Product(_) => assert!(
                once.nodes[index].max_abs == old / 2.0 && less == old / 8.0 && more > 7.0 * old,
                "{name}: {old} {less} {more}"
            ),
            StepOp::Add => {
                let sum: f64 = node.inputs.iter().map(|input| gone.nodes[*input].max_abs).sum();
                assert!(less <= sum && less <= old && more >= old, "{name}: {old} {less} {more}");
            }
            StepOp::Update { .. } => {
                let gradient = *node.inputs.last().expect("a gradient");
                let ratio = gone.nodes[gradient].max_abs / ranges.nodes[gradient].max_abs;
                assert!((less - old * ratio).abs() < 1e-9 * old && more > 7.0 * old, "{name}: {old} {less} {more}");
                assert!(once.nodes[index].max_abs >= old / 2.0, "{name}: it remembers");
            }
            // As what they are made of, by whichever way.
            StepOp::Relu | StepOp::MaxPool(_) | StepOp::Scale(_) | StepOp::Reduce(_) | StepOp::ReluBack { .. } => {
                for new in [&gone, &grown] {
                    let [of, ratio] =
                        [node.inputs[0], index].map(|node| new.nodes[node].max_abs / ranges.nodes[node].max_abs);
                    assert!((of - ratio).abs() < 1e-9 * of, "{name}: {of} {ratio}");
                }
            }
            _ => {}
        }
    }
    // Labels do not shrink, and neither do differences from them.
    let difference = at("loss.difference");
    assert!(gone.nodes[difference].max_abs >= 0.5 * ranges.nodes[difference].max_abs.min(1.0));
    // A running statistic has room for what it becomes, and does not forget.
    let (step, input) = network("resnet8", None, &recipe(2, Loss::CrossEntropy), false);
    let ranges = rehearsed(&step, 1.0);
    let of = |by: i32| -> StepRanges {
        let exponents = measured(&step)
            .into_iter()
            .map(|node| (step.nodes[node].name.clone(), (ranges.nodes[node].max_abs * 1.01).log2().ceil() as i32 + by));
        renew(&step, &ranges, &ranges, &exponents.collect::<Vec<_>>())
    };
    let (grown, gone) = (of(3), of(-5));
    let seen_by = |running: usize| step.nodes[running].inputs[1];
    let mut seen = 0;
    for (index, node) in step.nodes.iter().enumerate() {
        if let StepOp::Running { .. } = node.op {
            seen += 1;
            let observed = grown.nodes[node.inputs[1]].max_abs;
            for node in [index, node.inputs[0]] {
                assert!(grown.nodes[node].max_abs >= observed);
                assert!(gone.nodes[node].max_abs >= ranges.nodes[node].max_abs);
                let most = ranges.nodes[index].max_abs.max(gone.nodes[seen_by(index)].max_abs);
                assert!(gone.nodes[node].max_abs <= most.max(ranges.nodes[node].max_abs));
            }
        }
    }
    assert!(seen > 4);
    // Where it has outgrown its scale, the step after which it has another leaves it at that one.
    let options = options(32, input);
    let left = scales_after(&compile(&step, &ranges, &options).expect("a plan"));
    let options = TrainingOptions { before: Some(left), ..options };
    let plan = compile(&step, &grown, &options).expect("a plan");
    plan.check().expect("a plan");
    let states = plan.training.expect("training").states;
    let moved: Vec<_> = states.iter().filter(|state| state.after.frac < state.before.frac).collect();
    assert!(moved.iter().any(|state| state.role == Role::Running), "{moved:?}");
    assert!(moved.iter().all(|state| matches!(state.role, Role::Running | Role::Velocity)), "{moved:?}");
}

//! Steps of training, run privately, against the fixed-point reference with the rounding that their masks gave: bit for bit.

mod common;

use ariann_gates::{Comparison, Party, Receiver};
use ariann_graph::training::{Loss, Recipe, Rehearsal, StepGraph, StepRanges, Trainer, training_step};
use ariann_graph::{Graph, Op, import, zoo};
use ariann_plan::clear::Reference;
use ariann_plan::training::{MARGIN, Source, TrainingOptions, compile, encode_states, exponents, measure, measured};
use ariann_plan::{Gate, InputSpec, Link, Optimize, Plan, SignChoice};
use ariann_ring::{Ring, fixed};
use common::recording::Seen;
use common::replaying::Replay;
use common::{Seeds, networks};

fn recipe(batch: usize, loss: Loss, dropout: f64) -> Recipe {
    Recipe { momentum: 0.9, dropout, seed: 1, ..Recipe::plain(loss, batch, 0.02) }
}

fn items(step: &StepGraph, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let features = (0..step.batch * step.item_len).map(|_| next() * 2.0 - 1.0).collect();
    let labels = (0..step.batch).map(|_| (next() * step.classes as f32) as u32).collect();
    (features, labels)
}

fn planned(step: &StepGraph, shape: &[usize], ring: u32, optimize: Optimize, sources: [Source; 2]) -> Plan {
    let (ranges, options) = ranged(step, shape, ring, optimize, sources);
    compile(step, &ranges, &options).unwrap()
}

fn ranged(
    step: &StepGraph,
    shape: &[usize],
    ring: u32,
    optimize: Optimize,
    sources: [Source; 2],
) -> (StepRanges, TrainingOptions) {
    let (mut trainer, mut rehearsal) = (Trainer::new(step), Rehearsal::new(step));
    for number in 0..4 {
        let (features, labels) = items(step, number + 1);
        rehearsal.step(&mut trainer, step, &features, &labels, number).unwrap();
    }
    let input = InputSpec::plain("input", shape, [-1.0, 1.0]);
    let [features, labels] = sources;
    let options = TrainingOptions {
        ring,
        margin: MARGIN,
        features,
        labels,
        loss: step.loss.map(|_| Receiver::Both),
        input,
        optimize,
        sign: SignChoice::Exact,
        link: Link::LOOPBACK,
        before: None,
        shared: None,
    };
    (rehearsal.ranges().unwrap(), options)
}

/// Features and labels as ring elements.
fn encoded<R: Ring>(plan: &Plan, step: &StepGraph, (features, labels): &(Vec<f32>, Vec<u32>)) -> [Vec<R>; 2] {
    let one = fixed::encode::<R>(1.0, plan.gates[1].scale.frac).unwrap();
    let features = features.iter().map(|x| fixed::encode(f64::from(*x), plan.gates[0].scale.frac).unwrap()).collect();
    let hot = |label: &u32| {
        (0..step.classes as u32).map(|class| if class == *label { one } else { R::ZERO }).collect::<Vec<_>>()
    };
    [features, labels.iter().flat_map(hot).collect()]
}

fn shares<R: Ring>(states: Vec<Vec<R>>, number: u64) -> [Vec<Vec<R>>; 2] {
    let mut word = number;
    let mut random = || {
        word = word.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        R::from_u64(word ^ (word >> 31))
    };
    let first: Vec<Vec<R>> = states.iter().map(|state| state.iter().map(|_| random()).collect()).collect();
    let second =
        states.iter().zip(&first).map(|(state, first)| state.iter().zip(first).map(|(x, a)| x.sub(*a)).collect());
    [first.clone(), second.collect()]
}

fn joined<R: Ring>([a, b]: &[Vec<Vec<R>>; 2]) -> Vec<Vec<i64>> {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a.add(*b).to_i64()).collect()).collect()
}

/// Two steps, the second from the states that the first left. Returns the plan.
fn follows<R: Ring>(graph: &Graph, recipe: &Recipe, optimize: Optimize, sources: [Source; 2], loss: bool) -> Plan {
    let step = training_step(graph, recipe, recipe.lr, loss).unwrap();
    let plan = planned(&step, &graph.input.shape, R::BITS, optimize, sources);
    let initial: Vec<Vec<f32>> = step.states.iter().map(|state| state.initial.clone()).collect();
    let encoded_states = encode_states::<R>(&plan, &initial).unwrap();
    let mut clear: Vec<Vec<i64>> =
        encoded_states.iter().map(|state| state.iter().map(|x| x.to_i64()).collect()).collect();
    let mut states = shares(encoded_states, 5);
    for number in 0..2 {
        let words = encoded::<R>(&plan, &step, &items(&step, 9 + number));
        let seeds = Seeds::numbered(number);
        let (mut p0, mut p1) = (Seen::default(), Seen::default());
        let shared = shares(words.to_vec(), 70 + number);
        let inputs = [Party::P0, Party::P1].map(|party| {
            [0, 1].map(|input| match sources[input].party() {
                Some(owner) => (owner == party).then_some(words[input].as_slice()),
                None => Some(shared[party as usize][input].as_slice()),
            })
        });
        let stepped = common::step::<R>(&plan, states, inputs, [3, number], &seeds, [&mut p0, &mut p1]);
        states = stepped.states;
        let mut rounding = Replay::<R>::new(&p1.shares, &seeds, 1);
        let signed = |words: &[R]| words.iter().map(|x| x.to_i64()).collect::<Vec<_>>();
        let before = clear.clone();
        let [features, labels] = [signed(&words[0]), signed(&words[1])];
        let reference = Reference::of_step(&plan);
        let left = reference.run_step(&mut clear, features, labels, &mut rounding, [3, number]);
        assert_eq!(left.excess, None);
        assert_eq!(left.result.is_some(), loss);
        for result in stepped.results {
            assert_eq!(result.map(|words| signed(&words)), left.result, "what is revealed");
        }
        for ((private, clear), state) in joined(&states).iter().zip(&clear).zip(&step.states) {
            assert!(private == clear, "{} after step {number}", state.name);
        }
        assert!(before != clear, "a step changes the states");
    }
    plan
}

/// A turn that measures: both parties learn the exponents that the reference gives, and the states stay as they are.
fn measures<R: Ring>(graph: &Graph, recipe: &Recipe, optimize: Optimize, sources: [Source; 2]) {
    let step = training_step(graph, recipe, recipe.lr, false).unwrap();
    let (ranges, options) = ranged(&step, &graph.input.shape, R::BITS, optimize, sources);
    let plan = measure(&step, &ranges, &options).unwrap();
    plan.check().unwrap();
    let initial: Vec<Vec<f32>> = step.states.iter().map(|state| state.initial.clone()).collect();
    let encoded_states = encode_states::<R>(&plan, &initial).unwrap();
    let mut clear: Vec<Vec<i64>> =
        encoded_states.iter().map(|state| state.iter().map(|x| x.to_i64()).collect()).collect();
    let before = clear.clone();
    let words = encoded::<R>(&plan, &step, &items(&step, 9));
    let seeds = Seeds::numbered(3);
    let (mut p0, mut p1) = (Seen::default(), Seen::default());
    let inputs = [Party::P0, Party::P1]
        .map(|party| [0, 1].map(|input| (sources[input] == party).then_some(words[input].as_slice())));
    let states = shares(encoded_states, 5);
    let stepped = common::step::<R>(&plan, states, inputs, [3, 0], &seeds, [&mut p0, &mut p1]);
    let mut rounding = Replay::<R>::new(&p1.shares, &seeds, 1);
    let signed = |words: &[R]| words.iter().map(|x| x.to_i64()).collect::<Vec<_>>();
    let [features, labels] = [signed(&words[0]), signed(&words[1])];
    let left = Reference::of_step(&plan).run_step(&mut clear, features, labels, &mut rounding, [3, 0]);
    assert_eq!(left.excess, None);
    for result in &stepped.results {
        assert_eq!(result.as_ref().map(|words| signed(words)), left.result, "what is revealed");
    }
    assert_eq!(joined(&stepped.states), before);
    assert_eq!(clear, before);
    let [Some(of_p0), _] = &stepped.results else { panic!("both learn it") };
    let found = exponents(&plan, of_p0).unwrap();
    assert_eq!(found.len(), measured(&step).len());
}

#[test]
fn ranges_are_measured_as_the_reference_measures_them() {
    let network = |name: &str, input| {
        let network = zoo::network(name, &zoo::Options { input, ..zoo::Options::default() }).unwrap();
        import::import_for_training_bytes(&network.onnx).unwrap()
    };
    let (lenet, resnet8) = (network("lenet", None), network("resnet8", Some([3, 8, 8])));
    let sources = [Source::P1, Source::P0];
    measures::<u32>(&lenet, &recipe(2, Loss::Mse, 0.0), Optimize::Material, sources);
    measures::<u64>(&lenet, &recipe(2, Loss::Mse, 0.0), Optimize::Latency, sources);
    measures::<u32>(&resnet8, &recipe(2, Loss::CrossEntropy, 0.0), Optimize::Latency, sources);
}

fn small_in<R: Ring>() {
    let mut graph = networks::small();
    for node in &mut graph.nodes {
        match &mut node.op {
            Op::Dense(layer) => layer.weight_name = format!("{}.weight", node.name),
            Op::Conv(layer) => layer.weight_name = format!("{}.weight", node.name),
            _ => {}
        }
    }
    let mut kinds = std::collections::BTreeSet::new();
    for (optimize, sources) in [
        (Optimize::Latency, [Source::P1, Source::P0]),
        (Optimize::Material, [Source::P0, Source::P1]),
        (Optimize::Latency, [Source::P1, Source::P1]),
        (Optimize::Latency, [Source::Owners, Source::Owners]),
        (Optimize::Material, [Source::Owners, Source::P0]),
    ] {
        // Dropout in place of a ReLU, once.
        if optimize == Optimize::Material && sources[0] == Source::P0 {
            graph.nodes[5].op = Op::Dropout { ratio: Some(0.4) };
        }
        let plan = follows::<R>(&graph, &recipe(6, Loss::Mse, 0.0), optimize, sources, true);
        kinds.extend(plan.gates.iter().map(|entry| entry.gate.kind()));
        let form = if optimize == Optimize::Material { Comparison::Chunks } else { Comparison::Dpf };
        assert!(plan.gates.iter().any(|entry| matches!(&entry.gate, Gate::Relu(relu) if relu.form == form)));
    }
    for kind in ["product", "relu back", "max back", "state", "store", "reduce", "spread", "times", "dropout", "shared"]
    {
        assert!(kinds.contains(kind), "no gate {kind}: {kinds:?}");
    }
}

#[test]
fn small_network_ring32() {
    small_in::<u32>();
}

#[test]
fn small_network_ring64() {
    small_in::<u64>();
}

/// Lookups, batch normalisation, average pooling, residual sums.
#[test]
fn resnet8_by_cross_entropy() {
    let options = zoo::Options { input: Some([3, 8, 8]), ..zoo::Options::default() };
    let network = zoo::network("resnet8", &options).unwrap();
    let graph = import::import_for_training_bytes(&network.onnx).unwrap();
    for sources in [[Source::P1, Source::P0], [Source::Owners; 2]] {
        follows::<u32>(&graph, &recipe(2, Loss::CrossEntropy, 0.0), Optimize::Latency, sources, false);
    }
}

/// Seconds of one LeNet step of dealer and parties in one process, gate by gate: `cargo test --release -p ariann-session --test
/// step -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn lenet_step() {
    let network = zoo::network("lenet", &zoo::Options::default()).unwrap();
    let graph = import::import_for_training_bytes(&network.onnx).unwrap();
    let recipe = recipe(128, Loss::Mse, 0.0);
    let step = training_step(&graph, &recipe, recipe.lr, false).unwrap();
    for optimize in [Optimize::Latency, Optimize::Material] {
        let plan = planned(&step, &graph.input.shape, 32, optimize, [Source::P1, Source::P0]);
        let initial: Vec<Vec<f32>> = step.states.iter().map(|state| state.initial.clone()).collect();
        let words = encoded::<u32>(&plan, &step, &items(&step, 9));
        let inputs = [[None, Some(words[1].as_slice())], [Some(words[0].as_slice()), None]];
        let states = shares(encode_states::<u32>(&plan, &initial).unwrap(), 1);
        let (mut p0, mut p1) = (ariann_session::hooks::Nothing, ariann_session::hooks::Nothing);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let stepped = pool
            .install(|| common::step::<u32>(&plan, states, inputs, [3, 1], &Seeds::numbered(1), [&mut p0, &mut p1]));
        let material: u64 = plan.sections(Party::P1).iter().sum();
        println!(
            "{optimize:?}: dealer {:.3} s, parties {:.3?} s, {material} bytes to P1",
            stepped.dealing, stepped.seconds
        );
        let mut kinds = std::collections::BTreeMap::new();
        for (entry, time) in plan.gates.iter().zip(&stepped.times) {
            let sum: &mut (f64, usize) = kinds.entry(entry.gate.kind()).or_default();
            sum.0 += time.seconds - time.exchange_seconds;
            sum.1 += 1;
        }
        kinds.iter().for_each(|(kind, (seconds, count))| println!("  {kind:12} x {count:3} {:9.2} ms", 1e3 * seconds));
    }
}

//! The fixed-point reference with the rounding that a run's masks give: equal to the private result, bit for bit.

mod common;

use std::collections::BTreeMap;

use ariann_data::Items;
use ariann_gates::linear::Weights;
use ariann_gates::{LinearShape, Receiver, Sign};
use ariann_graph::{Function, Graph, Op};
use ariann_plan::clear::{ClearRun, Nearest, Reference};
use ariann_plan::{Gate, LayerWords, Opens, Optimize, Options, Plan, Reveal, Revealed, SignChoice, encode_weights};
use ariann_ring::Ring;
use ariann_session::query::argmax;
use common::recording::Seen;
use common::replaying::Replay;
use common::{Seeds, networks};

const MODES: [Weights; 3] = [Weights::Held, Weights::Shared, Weights::Public];

/// One private run and everything that it is held against.
struct Replayed<R> {
    plan: Plan,
    /// What both parties learned.
    result: Vec<R>,
    /// The reference with this run's rounding.
    replayed: ClearRun,
}

fn signed<R: Ring>(words: &[R]) -> Vec<i64> {
    words.iter().map(|word| word.to_i64()).collect()
}

/// One run: private, and replayed.
fn run<R: Ring>(graph: &Graph, items: &Items, options: &Options, number: u64) -> Replayed<R> {
    let (plan, _) = common::plan_with(graph, items, options);
    let seeds = Seeds::numbered(number);
    let (mut p0, mut p1) = (Seen::default(), Seen::default());
    let [result, same] = common::run::<R>(&plan, graph, items, &seeds, [&mut p0, &mut p1]).map(Option::unwrap);
    assert_eq!(result, same);
    assert_eq!(p0.shares.keys().collect::<Vec<_>>(), p1.shares.keys().collect::<Vec<_>>());

    let mut rounding = Replay::<R>::new(&p1.shares, &seeds, items.count);
    let reference = Reference::new(&plan, graph).unwrap();
    let replayed = reference.run(items.count, &items.values, &mut rounding).unwrap();
    assert_eq!(replayed.excess, None);
    let opened = |entry: &ariann_plan::Entry| match &entry.gate {
        Gate::Open(open) if open.window.top < R::BITS || open.window.shift > 0 => open.len * items.count,
        _ => 0,
    };
    assert_eq!(rounding.rounded, plan.gates.iter().map(opened).sum::<usize>());
    Replayed { plan, result, replayed }
}

fn logits(ring: u32, weights: Weights, optimize: Optimize, sign: SignChoice) -> Options {
    let reveal = Reveal { what: Revealed::Logits, to: Receiver::Both };
    Options { optimize, sign, ..common::options(ring, weights, reveal, [-8.0, 8.0]) }
}

/// Private, replayed bit for bit, and rounded to the nearest.
fn replay<R: Ring>(graph: &Graph, items: &Items, options: &Options, number: u64) -> Plan {
    let Replayed { plan, result, replayed } = run::<R>(graph, items, options, number);
    if options.sign == SignChoice::Exact {
        assert_eq!(replayed.results, signed(&result), "the replayed reference and the private run");
    }
    let nearest = Reference::new(&plan, graph).unwrap().run(items.count, &items.values, &mut Nearest).unwrap();
    assert_eq!(nearest.excess, None);
    let bound = rounding_bound(graph, &plan);
    let apart = |(a, b): (&i64, &R)| R::from_i64(*a).sub(*b).to_i64().unsigned_abs() as f64;
    let greatest = nearest.results.iter().zip(&result).map(apart).fold(0.0, f64::max);
    assert!(greatest <= bound, "{greatest} units from the nearest rounding, at most {bound}");
    println!(
        "{}, ring {}, {:?}, {:?}, {:?}: logits at most {:.6} from nearest rounding, bound {:.6}",
        graph.name,
        R::BITS,
        options.weights,
        options.optimize,
        options.sign,
        greatest * plan.output.scale.unit(),
        bound * plan.output.scale.unit()
    );
    plan
}

/// How many units results of two roundings can differ: a window's rounding is below 1.5 units off, the nearest at most half a
/// unit; a coarse sign keeps or drops a value of at most half of its unit; and each layer enlarges what came before by at
/// most the sum of its factors' magnitudes.
fn rounding_bound(graph: &Graph, plan: &Plan) -> f64 {
    let layers: BTreeMap<u32, LayerWords<u64>> =
        encode_weights(plan, graph).unwrap().into_iter().map(|layer| (layer.gate, layer)).collect();
    let mut apart: Vec<f64> = Vec::new();
    let noise = |sign: Sign| match sign {
        Sign::Exact => 0.0,
        Sign::Coarse(bits) => 2f64.powi(bits as i32 - 1) + 1.0,
    };
    let magnitude = |factor: &u64| (*factor as i64).unsigned_abs() as f64;
    for (number, entry) in plan.gates.iter().enumerate() {
        let of = |index: usize| apart[entry.inputs[index] as usize];
        let all = || (0..entry.inputs.len()).map(of);
        apart.push(match &entry.gate {
            Gate::Input(_) | Gate::Shared(_) => 0.0,
            Gate::Linear(gate) => {
                let weights = &layers[&(number as u32)].weights;
                let rows = match &gate.shape {
                    LinearShape::Dense { outputs, .. } => *outputs,
                    LinearShape::Conv(shape) => shape.out_channels,
                };
                let norms = weights.chunks(weights.len() / rows).map(|row| row.iter().map(magnitude).sum());
                of(0) * norms.fold(0.0, f64::max)
            }
            Gate::Add(gate) => all().zip(&gate.multipliers).map(|(apart, factor)| apart * magnitude(factor)).sum(),
            Gate::Arrange(gate) => {
                all().zip(&gate.multipliers).map(|(apart, factor)| apart * magnitude(factor)).fold(0.0, f64::max)
            }
            Gate::Sum(shape) => {
                let greatest = |axis: usize| f64::from(*shape.factors[axis].iter().max().unwrap());
                of(0) * (shape.kernel[0] * shape.kernel[1]) as f64 * greatest(0) * greatest(1)
            }
            Gate::Open(open) => {
                of(0) / 2f64.powi(open.window.shift as i32) + if open.window.shift > 0 { 2.0 } else { 0.0 }
            }
            Gate::Relu(gate) => of(0) + noise(gate.sign),
            Gate::Clip(gate) => of(0) + 2.0 * noise(gate.sign),
            // A softmax takes powers of what is not positive and divides by what is not below 1: no result is above 1.
            Gate::Lookup(gate) if matches!(gate.function, Function::Exp | Function::Reciprocal) => {
                of(0) * plan.gates[entry.inputs[0] as usize].scale.unit() * 1.1 / entry.scale.unit() + 1.0
            }
            Gate::Multiply(_) => {
                let most = |index: usize| 1.0 / plan.gates[entry.inputs[index] as usize].scale.unit() + of(index);
                of(0) * most(1) + of(1) * most(0)
            }
            Gate::Subtract(_) => of(0) + of(1),
            Gate::Lookup(gate) => {
                let from = plan.gates[entry.inputs[0] as usize].scale.unit();
                let slope = gate.function.greatest_slope(2f64.powi(gate.width as i32) * from);
                of(0) * from * slope / entry.scale.unit() + 1.0
            }
            Gate::Cut(_) | Gate::Max(_) | Gate::Truncate(_) | Gate::ArgMax(_) | Gate::Reveal(_) => of(0),
            _ => unreachable!("no gate of a prediction"),
        });
    }
    *apart.last().unwrap()
}

/// All modes, both rings, both forms of comparisons.
fn in_every_mode(graph: &Graph, items: &Items) {
    let mut number = 10;
    for weights in MODES {
        for optimize in [Optimize::Latency, Optimize::Material] {
            number += 1;
            replay::<u32>(graph, items, &logits(32, weights, optimize, SignChoice::Exact), number);
            replay::<u64>(graph, items, &logits(64, weights, optimize, SignChoice::Exact), number + 100);
        }
    }
}

#[test]
fn small_network() {
    let graph = networks::small();
    let items = networks::small_items(37, 3);
    for number in 0..4 {
        replay::<u32>(&graph, &items, &logits(32, Weights::Held, Optimize::Latency, SignChoice::Exact), number);
        replay::<u64>(&graph, &items, &logits(64, Weights::Shared, Optimize::Latency, SignChoice::Exact), number);
    }
    in_every_mode(&graph, &items);
}

/// Branches, sums, rearrangements, averages: every gate but clips and lookups.
#[test]
fn branched_network() {
    let graph = networks::branched();
    let items = networks::items_for(&graph.input.shape, 9, 4);
    in_every_mode(&graph, &items);
    let plan = common::plan_for(&graph, &items, 32, Weights::Held, logits_to(Receiver::Both)).0;
    for kind in ["linear", "add", "arrange", "sum", "open", "max", "relu", "truncate"] {
        assert!(plan.gates.iter().any(|entry| entry.gate.kind() == kind), "no gate {kind}");
    }
}

fn logits_to(to: Receiver) -> Reveal {
    Reveal { what: Revealed::Logits, to }
}

#[test]
fn input_that_is_compared() {
    let graph = networks::input_first();
    let items = networks::items_for(&graph.input.shape, 9, 4);
    in_every_mode(&graph, &items);
    let plan = common::plan_for(&graph, &items, 32, Weights::Held, logits_to(Receiver::Both)).0;
    assert!(plan.gates.iter().any(|entry| entry.gate.kind() == "cut"), "no wire is cut");
}

/// Clips and lookups are computed bit for bit as well.
#[test]
fn curved_network() {
    let graph = networks::curved(true);
    let items = networks::items_for(&graph.input.shape, 9, 4);
    in_every_mode(&graph, &items);
    let plan = common::plan_for(&graph, &items, 32, Weights::Held, logits_to(Receiver::Both)).0;
    for kind in ["clip", "lookup"] {
        assert!(plan.gates.iter().any(|entry| entry.gate.kind() == kind), "no gate {kind}");
    }
}

#[test]
fn attentive_network() {
    let graph = networks::attentive();
    let items = networks::items_for(&graph.input.shape, 9, 4);
    in_every_mode(&graph, &items);
    let plan = common::plan_for(&graph, &items, 32, Weights::Held, logits_to(Receiver::Both)).0;
    for kind in ["subtract", "multiply"] {
        assert!(plan.gates.iter().any(|entry| entry.gate.kind() == kind), "no gate {kind}");
    }
}

/// A coarse sign keeps or drops what is next to zero, and moves nothing else: logits stay within the bound that follows.
#[test]
fn coarse_signs_stay_within_their_bound() {
    for graph in [networks::small(), networks::branched(), networks::curved(false)] {
        let items = networks::items_for(&graph.input.shape, 9, 6);
        for (number, weights) in MODES.into_iter().enumerate() {
            for optimize in [Optimize::Latency, Optimize::Material] {
                let options = logits(32, weights, optimize, SignChoice::Coarse);
                let plan = replay::<u32>(&graph, &items, &options, 70 + number as u64);
                let coarse = plan.gates.iter().any(|entry| match &entry.gate {
                    Gate::Relu(gate) => matches!(gate.sign, Sign::Coarse(_)),
                    Gate::Clip(gate) => matches!(gate.sign, Sign::Coarse(_)),
                    _ => false,
                });
                assert!(coarse, "no sign is coarse");
                let options = logits(64, weights, optimize, SignChoice::Coarse);
                replay::<u64>(&graph, &items, &options, 80 + number as u64);
            }
        }
    }
}

/// What outside clients share is computed bit for bit as a party's own inputs are, and neither party is told anything.
#[test]
fn shared_by_an_outside_client() {
    let graphs = [networks::small(), networks::branched(), networks::input_first(), networks::curved(true)];
    for graph in graphs {
        let items = networks::items_for(&graph.input.shape, 9, 4);
        for (number, weights) in MODES.into_iter().enumerate() {
            for (ring, what) in [(32, Revealed::Logits), (64, Revealed::Logits), (32, Revealed::Label)] {
                let reveal = Reveal { what, to: Receiver::Client };
                let options = common::options(ring, weights, reveal, [-8.0, 8.0]);
                let number = 120 + number as u64;
                let (results, replayed, plan) = if ring == 32 {
                    let run = run::<u32>(&graph, &items, &options, number);
                    (signed(&run.result), run.replayed.results, run.plan)
                } else {
                    let run = run::<u64>(&graph, &items, &options, number);
                    (signed(&run.result), run.replayed.results, run.plan)
                };
                assert_eq!(results, replayed, "{}, {weights:?}, ring {ring}, {what:?}", graph.name);
                assert!(plan.for_clients() && matches!(plan.gates[0].gate, Gate::Shared(_)));
                let told = plan.opened().filter(|(_, opens, _)| *opens != Opens::Masked).collect::<Vec<_>>();
                let last = plan.gates.len() as u32 - 1;
                assert_eq!(
                    told,
                    [(last, Opens::Result { what, to: Receiver::Client }, plan.cost(last as usize).exchanges.len())]
                );
                assert!(plan.cost(last as usize).exchanges.iter().flatten().all(|sent| sent.bytes(1) == 0));
            }
        }
    }
}

#[test]
fn bundled_network() {
    let (graph, items) = networks::bundled_model(20);
    in_every_mode(&graph, &items);
}

#[test]
fn lenet() {
    let Some((graph, items)) = networks::sample_model("lenet-mnist", "test-even", 10) else { return };
    in_every_mode(&graph, &items);
}

#[test]
fn mlp() {
    let Some((graph, items)) = networks::sample_model("mlp-128-128-mnist", "test-even", 40) else { return };
    in_every_mode(&graph, &items);
}

/// Takes the mean of each logit out of the last layer's bias: otherwise its constants may give all items one label.
fn centre(graph: &mut Graph, items: &Items) {
    let logits = ariann_graph::Executor::new(graph).run(items.count, &items.values).unwrap();
    let Some(Op::Dense(last)) = graph.nodes.last_mut().map(|node| &mut node.op) else { return };
    let classes = last.weights.shape()[0];
    let bias = last.bias.get_or_insert_with(|| vec![0.0; classes]);
    for (class, bias) in bias.iter_mut().enumerate() {
        *bias -= logits.iter().skip(class).step_by(classes).sum::<f32>() / items.count as f32;
    }
}

/// The label is the first of the greatest of the logits that the labels' own plan computes, ties among them.
#[test]
fn labels_follow_the_replayed_reference() {
    for mut graph in [networks::small(), networks::branched()] {
        let items = networks::items_for(&graph.input.shape, 60, 5);
        centre(&mut graph, &items);
        for (number, weights) in MODES.into_iter().enumerate() {
            for optimize in [Optimize::Latency, Optimize::Material] {
                let reveal = Reveal { what: Revealed::Label, to: Receiver::Both };
                let options = Options { optimize, ..common::options(32, weights, reveal, [-8.0, 8.0]) };
                let run = run::<u32>(&graph, &items, &options, 40 + number as u64);
                assert_eq!(run.replayed.results, signed(&run.result));
                let labels: std::collections::BTreeSet<i64> = run.replayed.results.into_iter().collect();
                assert!(labels.len() > 1 || graph.name != "small", "one label alone shows nothing");
                assert_eq!(run.plan.reveal, reveal);
            }
        }
    }
    // Ties go to the first: what the receiver of logits would take.
    assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
}

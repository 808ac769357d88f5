//! Scales and windows: bounds hold, odd ranges are handled, and what does not fit is refused by name.

mod common;

use ariann_gates::linear::Weights;
use ariann_gates::{Receiver, Sign, Window, Windows};
use ariann_graph::{Graph, NodeRange, Op, RangeSource, ValueRange, interval};
use ariann_plan::clear::{self, Reference, Rounding};
use ariann_plan::{CompileError, Gate, Optimize, Options, Plan, Revealed, ScaleError, SignChoice, compile};
use common::*;

const CALIBRATED: RangeSource = RangeSource::Calibrated { items: 10 };

fn plan(graph: &Graph, ranges: &ariann_graph::Ranges, ring: u32, what: Revealed) -> Result<Plan, CompileError> {
    compile(graph, ranges, &options(ring, Weights::Held, what, Receiver::P1))
}

/// The bound of an opening or a cut, from what reads it in the plan: m - 1 bits for a ReLU, m - 2 for all else.
fn bound(plan: &Plan, number: usize) -> Option<f64> {
    let whole = 2f64.powi(plan.ring as i32 - 1) - 1.0;
    let window = match &plan.gates[number].gate {
        Gate::Open(open) => open.window,
        Gate::Cut(cut) => Window { shift: 0, top: cut.width },
        Gate::Reveal(_) => return Some(whole),
        _ => return None,
    };
    if matches!(plan.gates[number].gate, Gate::Open(_)) && window == (Window { shift: 0, top: plan.ring }) {
        return Some(whole);
    }
    let mut readers = plan.gates.iter().filter(|entry| entry.inputs.contains(&(number as u32)));
    let rectified = readers.all(|entry| matches!(&entry.gate, Gate::Relu(relu) if relu.sign == Sign::Exact));
    Some(2f64.powi(window.top as i32 - if rectified { 1 } else { 2 }) - 2f64.powi(window.shift as i32 + 1))
}

#[test]
fn windows_hold_their_ranges_with_the_margin_of_their_source() {
    let graph = network();
    for ring in [32, 64] {
        for what in [Revealed::Logits, Revealed::Label] {
            for max_abs in [0.0, 0.01, 0.9, 1.0, 1.1, 6.0, 1000.0] {
                for (source, margin) in [(CALIBRATED, 4.0), (RangeSource::Proven, 1.0)] {
                    let plan = plan(&graph, &ranges(&graph, source, max_abs), ring, what).unwrap();
                    plan.check().unwrap();
                    for (number, entry) in plan.gates.iter().enumerate() {
                        let bound = bound(&plan, number);
                        assert_eq!(clear::bound(&plan, number), bound, "the reference knows the same bound");
                        let label = matches!(entry.gate, Gate::Reveal(_)) && what == Revealed::Label;
                        let Some(bound) = bound.filter(|_| !label) else { continue };
                        let operand = plan.gates[entry.inputs[0] as usize].scale;
                        let name = &entry.name;
                        assert!(
                            max_abs * margin / operand.unit() <= bound,
                            "{name}: {max_abs} at {operand:?}: {bound}"
                        );
                    }
                    let result = plan.gates.last().unwrap().scale;
                    assert!(what == Revealed::Label || result == plan.output.scale);
                }
            }
        }
    }
}

/// Networks with branches hold the items that they were calibrated on, whatever the signs, forms and modes.
#[test]
fn windows_hold_their_calibration_items() {
    for (graph, plan) in varied_plans() {
        let run = Reference::new(&plan, &graph).unwrap().run(8, &numbers(&graph, 8, 1), &mut Farthest).unwrap();
        assert_eq!(run.excess, None, "{} {:?}", graph.name, plan.weights);
    }
}

/// Rounds every value as far away from zero as an opening ever could: 1.5 units.
struct Farthest;

impl Rounding for Farthest {
    fn round(&mut self, _: u32, _: usize, z: &[i64], window: Window, out: &mut [i64]) {
        for (out, z) in out.iter_mut().zip(z) {
            let (exact, unit) = (i128::from(*z) * 2, 1i128 << window.shift);
            let far = exact + exact.signum() * 3 * unit;
            // Towards zero from there: below 1.5 units.
            *out = if window.shift == 0 { *z } else { (far / (2 * unit)) as i64 };
        }
    }
}

/// A proven plan has no margin to spare, and needs none: inputs at both ends of their range, weights that add up, every rounding
/// at its worst.
#[test]
fn proven_plans_cannot_overflow() {
    for mixed in [false, true] {
        for weight in [0.25, 1.0, 0.3] {
            let mut builder = Builder::new(&[1, 8, 8]);
            (builder.weight, builder.mixed) = (weight, mixed);
            let graph = builder.conv(3, 3).pool([2, 2], 2).relu().flat().dense(7).relu().dense(6).dense(5).graph;
            let proven = interval(&graph, 0.0, 1.0).unwrap();
            for ring in [32, 64] {
                for what in [Revealed::Logits, Revealed::Label] {
                    let plan = match plan(&graph, &proven, ring, what) {
                        Ok(plan) => plan,
                        Err(CompileError::Scale(_)) if ring == 32 => continue,
                        Err(error) => panic!("{error}"),
                    };
                    let mut items = vec![0.0f32; 64];
                    items.extend([1.0; 64]);
                    items.extend((0..64).map(|i| (i % 2) as f32));
                    items.extend((0..64).map(|i| if i % 3 == 1 { 0.0 } else { 1.0 }));
                    let run = Reference::new(&plan, &graph).unwrap().run(4, &items, &mut Farthest).unwrap();
                    let excess = run.excess;
                    assert_eq!(excess, None, "weights {weight}, ring {ring}");
                }
            }
        }
    }
}

/// The same through branches: sums, rearrangements, averages, clips and lookups.
#[test]
fn proven_plans_with_branches_cannot_overflow() {
    for graph in networks() {
        let proven = interval(&graph, 0.0, 1.0).unwrap();
        let mut planned = 0;
        // A coarse unit follows observed values.
        let coarse = Options { sign: SignChoice::Coarse, ..options(64, Weights::Held, Revealed::Logits, Receiver::P1) };
        assert!(matches!(compile(&graph, &proven, &coarse), Err(CompileError::CoarseUnproven)));
        for (ring, what, sign) in [
            (32, Revealed::Logits, SignChoice::Exact),
            (64, Revealed::Logits, SignChoice::Exact),
            (64, Revealed::Label, SignChoice::Exact),
        ] {
            let options = Options { sign, ..options(ring, Weights::Held, what, Receiver::P1) };
            let plan = match compile(&graph, &proven, &options) {
                Ok(plan) => plan,
                Err(CompileError::Scale(_)) if ring == 32 => continue,
                Err(error) => panic!("{}: {error}", graph.name),
            };
            plan.check().unwrap();
            planned += 1;
            let len = graph.input.len();
            let mut items = vec![0.0f32; len];
            items.extend(vec![1.0; len]);
            items.extend((0..len).map(|i| (i % 2) as f32));
            items.extend((0..len).map(|i| if i % 3 == 1 { 0.0 } else { 1.0 }));
            items.extend(numbers(&graph, 16, 5));
            let reference = Reference::new(&plan, &graph).unwrap();
            for rounding in [&mut Farthest as &mut dyn Rounding, &mut clear::Nearest] {
                assert_eq!(reference.run(20, &items, rounding).unwrap().excess, None, "{}, ring {ring}", graph.name);
            }
        }
        // Both of ring 64 always; ring 32 may be refused.
        assert!(planned >= 2);
    }
}

/// Bounds just below a power of two, which the encoding of weights and inputs crosses.
#[test]
fn proven_bounds_next_to_a_power_of_two_hold() {
    let mut crossed = 0;
    for exponent in 8..22 {
        for part in [0.5, 0.75, 0.9, 1.0] {
            let mut builder = Builder::new(&[64]);
            (builder.weight, builder.mixed, builder.bias) = (0.5 - part * 0.5f32.powi(exponent), false, 0.0);
            let graph = builder.dense(3).relu().dense(2).graph;
            let hi = 1.0 - 0.95 * 0.5f32.powi(13);
            let proven = interval(&graph, 0.0, hi).unwrap();
            let plan = plan(&graph, &proven, 32, Revealed::Logits).unwrap();
            let run = Reference::new(&plan, &graph).unwrap().run(1, &[hi; 64], &mut Farthest).unwrap();
            assert_eq!(run.excess, None, "weights 1/2 - {part}/2^{exponent}");
            // Without the error of the encoding one bit less would have seemed enough.
            let Gate::Open(open) = &plan.gates[2].gate else { panic!("the first layer is opened") };
            let Window { shift, top } = open.window;
            let greatest = proven.nodes[0].output.max_abs / plan.gates[1].scale.unit();
            crossed += u32::from(greatest + 2f64.powi(shift as i32 + 1) <= 2f64.powi(top as i32 - 2));
        }
    }
    assert!(crossed > 0, "no bound is near enough to show anything");
}

#[test]
fn odd_ranges_give_plans() {
    let nothing = ValueRange::default();
    type Change<'a> = &'a dyn Fn(&mut NodeRange);
    let changes: [(&str, Change); 4] = [
        ("weights that are all zero", &|node| node.weights = nothing),
        ("outputs that are all zero", &|node| node.output = nothing),
        ("nothing but zeros", &|node| (node.weights, node.output) = (nothing, nothing)),
        ("a bias alone", &|node| {
            node.weights = ValueRange { max_abs: 1.0, rms: 0.0 };
            node.output.max_abs = 1.0;
        }),
    ];
    for graph in networks() {
        for (what, change) in changes {
            for source in [CALIBRATED, RangeSource::Proven] {
                for node in 0..=graph.nodes.len() {
                    let mut ranges = ranges(&graph, source, 6.0);
                    match ranges.nodes.get_mut(node) {
                        Some(node) => change(node),
                        None => ranges.input = nothing,
                    }
                    let ring = if node % 2 == 0 && graph.name == "net" { 32 } else { 64 };
                    for revealed in [Revealed::Logits, Revealed::Label] {
                        let plan = plan(&graph, &ranges, ring, revealed);
                        plan.unwrap_or_else(|error| panic!("{what}: {error}")).check().unwrap();
                    }
                }
            }
        }
    }
}

#[test]
fn a_model_that_the_ring_cannot_hold_is_refused_by_the_layers_name() {
    let graph = network();
    for layer in graph.linear_nodes() {
        let name = &graph.nodes[layer].name;
        for max_abs in [1e8, 1e30, 1e300] {
            let mut ranges = ranges(&graph, CALIBRATED, 6.0);
            ranges.nodes[layer].output.max_abs = max_abs;
            let error = plan(&graph, &ranges, 32, Revealed::Label).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("--ring 64"), "{error}");
        }
        // The wide ring holds what the narrow one cannot.
        let mut ranges = ranges(&graph, CALIBRATED, 6.0);
        ranges.nodes[layer].output.max_abs = 1e8;
        plan(&graph, &ranges, 64, Revealed::Label).unwrap().check().unwrap();
    }
    for graph in networks() {
        for (layer, node) in graph.nodes.iter().enumerate() {
            type Break<'a> = &'a dyn Fn(&mut NodeRange, f64);
            let changes: [Break<'_>; 3] = [
                &|node, broken| node.output.max_abs = broken,
                &|node, broken| node.output.rms = broken,
                &|node, broken| node.weights.rms = broken,
            ];
            for change in changes {
                for broken in [f64::NAN, f64::INFINITY] {
                    let mut ranges = ranges(&graph, CALIBRATED, 6.0);
                    change(&mut ranges.nodes[layer], broken);
                    let error = plan(&graph, &ranges, 64, Revealed::Logits).unwrap_err();
                    let named =
                        matches!(&error, CompileError::Scale(ScaleError::Range { layer }) if *layer == node.name);
                    assert!(named, "{error}");
                }
            }
            if !node.op.is_linear() {
                continue;
            }
            // A value that no ring holds.
            let mut ranges = ranges(&graph, CALIBRATED, 6.0);
            ranges.nodes[layer].output.max_abs = 1e300;
            assert!(plan(&graph, &ranges, 64, Revealed::Logits).is_err(), "{}", node.name);
        }
    }
}

#[test]
fn what_cannot_be_compiled_is_refused_in_plain_words() {
    let graph = network();
    let good = ranges(&graph, CALIBRATED, 6.0);
    let refuse = |graph: &Graph, ranges: &ariann_graph::Ranges, ring, what, wanted: &[&str]| {
        let error = plan(graph, ranges, ring, what).unwrap_err().to_string();
        wanted.iter().for_each(|wanted| assert!(error.contains(wanted), "{wanted}: {error}"));
    };
    refuse(&graph, &good, 48, Revealed::Logits, &["48 bits", "--ring 32"]);
    let mut short = good.clone();
    short.nodes.pop();
    refuse(&graph, &short, 32, Revealed::Logits, &["calibrate again"]);
    let one = Builder::new(&[4]).dense(3).relu().dense(1).graph;
    let one_ranges = ranges(&one, CALIBRATED, 6.0);
    refuse(&one, &one_ranges, 32, Revealed::Label, &["one output", "--reveal logits"]);
    plan(&one, &one_ranges, 32, Revealed::Logits).unwrap().check().unwrap();
    let nothing = Builder::new(&[4]).flat().graph;
    refuse(&nothing, &ranges(&nothing, CALIBRATED, 6.0), 32, Revealed::Logits, &["no linear layer"]);
    let thinned = Builder::new(&[1, 4, 4]).conv(2, 1).pool([1, 1], 2).relu().flat().dense(3).graph;
    refuse(&thinned, &ranges(&thinned, CALIBRATED, 6.0), 32, Revealed::Logits, &["maxpool2", "one place"]);
    // Layers that no model needs twice, but may have.
    let twice = Builder::new(&[1, 4, 4]).relu().conv(2, 1).relu().relu().graph;
    plan(&twice, &ranges(&twice, CALIBRATED, 6.0), 32, Revealed::Logits).unwrap().check().unwrap();
}

/// Two exchanges a pooling level, three a ReLU layer with its opening.
#[test]
fn exchanges_are_as_few_as_promised() {
    for plan in plans() {
        for number in 0..plan.gates.len() {
            let exchanges = plan.cost(number).exchanges.len();
            let most = match &plan.gates[number].gate {
                Gate::Reveal(gate) if gate.to == Receiver::Client => 0,
                Gate::Input(_) | Gate::Open(_) | Gate::Reveal(_) => 1,
                Gate::Shared(_) => 0,
                Gate::Linear(_) | Gate::Truncate(_) | Gate::Add(_) | Gate::Arrange(_) | Gate::Sum(_) => 0,
                Gate::Cut(_) | Gate::Multiply(_) | Gate::Subtract(_) => 0,
                Gate::Max(_) | Gate::Relu(_) | Gate::ArgMax(_) | Gate::Clip(_) | Gate::Lookup(_) => 2,
                _ => unreachable!("no gate of a prediction"),
            };
            assert_eq!(exchanges, most);
        }
        let levels: u64 = Windows::Row(5).levels().into();
        let label = if plan.reveal.what == Revealed::Label { 1 + 2 * levels } else { 0 };
        // An outside client receives its result when the gates have ended.
        let result = u64::from(plan.reveal.to != Receiver::Client);
        // Input; opening, two levels and ReLU; opening and ReLU; opening and operand between two linear layers; result.
        assert_eq!(plan.totals(1).exchanges, 1 + (1 + 4 + 2) + (1 + 2) + (1 + 1) + label + result);
    }
}

/// An argmax carries its indices in wires of the values' width: small values of many classes get wires wide enough.
#[test]
fn small_logits_of_many_classes_fit_their_indices() {
    for classes in [2, 3, 4, 5, 127, 128, 1000] {
        let graph = Builder::new(&[4]).dense(3).relu().dense(classes).graph;
        for max_abs in [0.0, 1e-6, 1e-3, 1.0] {
            plan(&graph, &ranges(&graph, CALIBRATED, max_abs), 32, Revealed::Label).unwrap().check().unwrap();
        }
    }
}

/// What stands behind a pooling is known where its operand is opened: the indices of an argmax, and bounds of a clip far beyond
/// the values.
#[test]
fn windows_before_a_pooling_hold_what_follows_it() {
    for max_abs in [1e-6, 1e-3, 0.4, 0.5] {
        let ends = Builder::new(&[1, 4, 4]).conv(300, 3).pool([2, 2], 2).flat().graph;
        for source in [CALIBRATED, RangeSource::Proven] {
            plan(&ends, &ranges(&ends, source, max_abs), 32, Revealed::Label).unwrap().check().unwrap();
        }
        let mut clipped = Builder::new(&[1, 4, 4]).conv(3, 3).pool([2, 2], 2).relu().flat().dense(3).graph;
        clipped.nodes[2].op = Op::Clip { lo: -1.0, hi: 6.0 };
        for (ring, sign) in [(32, SignChoice::Exact), (32, SignChoice::Coarse), (64, SignChoice::Exact)] {
            for optimize in [Optimize::Latency, Optimize::Material] {
                let ranges = ranges(&clipped, CALIBRATED, max_abs);
                let plain = options(ring, Weights::Held, Revealed::Logits, Receiver::P1);
                let plan = compile(&clipped, &ranges, &Options { sign, optimize, ..plain }).unwrap();
                plan.check().unwrap();
                for number in 0..plan.gates.len() {
                    let Some(bound) = clear::bound(&plan, number) else { continue };
                    let operand = plan.gates[plan.gates[number].inputs[0] as usize].scale;
                    assert!(4.0 * max_abs / operand.unit() <= bound, "{}", plan.gates[number].name);
                }
            }
        }
    }
}

//! Scales and windows: bounds hold, odd ranges are handled, and what does not fit is refused by name.

mod common;

use ariann_gates::linear::Weights;
use ariann_gates::{Receiver, Windows};
use ariann_graph::{Graph, LayerScale, RangeSource, Rounding, clear, interval};
use ariann_plan::{CompileError, Gate, Plan, Revealed, ScaleError, compile};
use ariann_ring::Ring;
use common::*;

const CALIBRATED: RangeSource = RangeSource::Calibrated { items: 10 };

fn plan(graph: &Graph, ranges: &ariann_graph::Ranges, ring: u32, what: Revealed) -> Result<Plan, CompileError> {
    compile(graph, ranges, &options(ring, Weights::Held, what, Receiver::P1))
}

/// The bound of a linear gate's window, from what follows it in the plan: m - 1 bits for a ReLU, m - 2 for all else.
fn bound(plan: &Plan, number: u32) -> f64 {
    let Some(Gate::Open(open)) = plan.gates.get(number as usize + 1).map(|entry| &entry.gate) else {
        return 2f64.powi(plan.ring as i32 - 1) - 1.0;
    };
    let rectified = matches!(plan.gates[number as usize + 2].gate, Gate::Relu(_));
    2f64.powi(open.window.top as i32 - if rectified { 1 } else { 2 }) - 2f64.powi(open.window.shift as i32 + 1)
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
                    let mut f_x = plan.scales.input_frac;
                    let nodes: Vec<usize> = graph.linear_nodes().collect();
                    for (((number, _), scale), node) in plan.linear_gates().zip(&plan.scales.layers).zip(nodes) {
                        let f_z = f_x + scale.weight_frac;
                        let bound = bound(&plan, number);
                        assert!(max_abs * margin * 2f64.powi(f_z) <= bound, "{max_abs} with {f_z} bits: {bound}");
                        assert_eq!(
                            clear::bound(&graph, node, scale, ring),
                            bound,
                            "the reference knows the same bound"
                        );
                        f_x = f_z - scale.shift as i32;
                    }
                    assert_eq!(f_x, plan.output.frac_bits);
                }
            }
        }
    }
}

/// Rounds every value as far away from zero as an opening ever could: 1.5 units.
struct Farthest;

impl<R: Ring> Rounding<R> for Farthest {
    fn round(&mut self, _: usize, _: usize, z: &[R], shift: u32, _: u32, out: &mut [R]) {
        for (out, z) in out.iter_mut().zip(z) {
            let (exact, unit) = (i128::from(z.to_i64()) * 2, 1i128 << shift);
            let far = exact + exact.signum() * 3 * unit;
            // Towards zero from there: below 1.5 units.
            *out = if shift == 0 { *z } else { R::from_i64((far / (2 * unit)) as i64) };
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
                    let excess = if ring == 32 {
                        clear::run::<u32>(&graph, &plan.scales, 4, &items, &mut Farthest).unwrap().excess
                    } else {
                        clear::run::<u64>(&graph, &plan.scales, 4, &items, &mut Farthest).unwrap().excess
                    };
                    assert_eq!(excess, None, "weights {weight}, ring {ring}");
                }
            }
        }
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
            let run = clear::run::<u32>(&graph, &plan.scales, 1, &[hi; 64], &mut Farthest).unwrap();
            assert_eq!(run.excess, None, "weights 1/2 - {part}/2^{exponent}");
            // Without the error of the encoding one bit less would have seemed enough.
            let LayerScale { weight_frac, shift, top, .. } = plan.scales.layers[0];
            let greatest = proven.layers[0].max_abs * 2f64.powi(plan.scales.input_frac + weight_frac);
            crossed += u32::from(greatest + 2f64.powi(shift as i32 + 1) <= 2f64.powi(top as i32 - 2));
        }
    }
    assert!(crossed > 0, "no bound is near enough to show anything");
}

#[test]
fn odd_ranges_give_plans() {
    let graph = network();
    type Change = fn(&mut ariann_graph::LayerRange);
    let changes: [(&str, Change); 5] = [
        ("weights that are all zero", |layer| (layer.weight_rms, layer.weight_max) = (0.0, 0.0)),
        ("inputs that are all zero", |layer| (layer.input_rms, layer.input_max) = (0.0, 0.0)),
        ("outputs that are all zero", |layer| layer.max_abs = 0.0),
        ("nothing but zeros", |layer| {
            *layer = ariann_graph::LayerRange {
                name: layer.name.clone(),
                max_abs: 0.0,
                input_max: 0.0,
                input_rms: 0.0,
                weight_rms: 0.0,
                weight_max: 0.0,
            }
        }),
        ("a bias alone", |layer| (layer.weight_rms, layer.weight_max, layer.max_abs) = (0.0, 1.0, 1.0)),
    ];
    for (what, change) in changes {
        for source in [CALIBRATED, RangeSource::Proven] {
            for ring in [32, 64] {
                for layer in 0..4 {
                    let mut ranges = ranges(&graph, source, 6.0);
                    change(&mut ranges.layers[layer]);
                    for revealed in [Revealed::Logits, Revealed::Label] {
                        let plan =
                            plan(&graph, &ranges, ring, revealed).unwrap_or_else(|error| panic!("{what}: {error}"));
                        plan.check().unwrap();
                        let LayerScale { shift, top, .. } = plan.scales.layers[layer];
                        assert!(shift < top && top <= ring);
                    }
                }
            }
        }
    }
}

#[test]
fn a_model_that_the_ring_cannot_hold_is_refused_by_the_layers_name() {
    let graph = network();
    let names: Vec<String> = graph.linear_nodes().map(|node| graph.nodes[node].name.clone()).collect();
    for (layer, name) in names.iter().enumerate() {
        for max_abs in [1e8, 1e30, 1e300] {
            let mut ranges = ranges(&graph, CALIBRATED, 6.0);
            ranges.layers[layer].max_abs = max_abs;
            let error = plan(&graph, &ranges, 32, Revealed::Label).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("--ring 64"), "{error}");
        }
        for broken in [f64::NAN, f64::INFINITY] {
            let mut ranges = ranges(&graph, CALIBRATED, 6.0);
            ranges.layers[layer].max_abs = broken;
            let error = plan(&graph, &ranges, 64, Revealed::Logits).unwrap_err();
            assert!(matches!(&error, CompileError::Scale(ScaleError::Range { layer }) if layer == name), "{error}");
        }
        // The wide ring holds what the narrow one cannot.
        let mut ranges = ranges(&graph, CALIBRATED, 6.0);
        ranges.layers[layer].max_abs = 1e8;
        plan(&graph, &ranges, 64, Revealed::Label).unwrap().check().unwrap();
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
    short.layers.pop();
    refuse(&graph, &short, 32, Revealed::Logits, &["3 linear layers", "calibrate again"]);
    let one = Builder::new(&[4]).dense(3).relu().dense(1).graph;
    let one_ranges = ranges(&one, CALIBRATED, 6.0);
    refuse(&one, &one_ranges, 32, Revealed::Label, &["one output", "--reveal logits"]);
    plan(&one, &one_ranges, 32, Revealed::Logits).unwrap().check().unwrap();
    let twice = Builder::new(&[1, 4, 4]).relu().conv(2, 1).relu().relu().graph;
    refuse(&twice, &ranges(&twice, CALIBRATED, 6.0), 32, Revealed::Logits, &["relu1", "relu4"]);
    let nothing = Builder::new(&[4]).flat().graph;
    refuse(&nothing, &ranges(&nothing, CALIBRATED, 6.0), 32, Revealed::Logits, &["no linear layer"]);
    let thinned = Builder::new(&[1, 4, 4]).conv(2, 1).pool([1, 1], 2).relu().flat().dense(3).graph;
    refuse(&thinned, &ranges(&thinned, CALIBRATED, 6.0), 32, Revealed::Logits, &["maxpool2", "one place"]);
}

/// Two exchanges a pooling level, three a ReLU layer with its opening.
#[test]
fn exchanges_are_as_few_as_promised() {
    for plan in plans() {
        for number in 0..plan.gates.len() {
            let exchanges = plan.cost(number).exchanges.len();
            let most = match &plan.gates[number].gate {
                Gate::Input(_) | Gate::Open(_) | Gate::Reveal(_) => 1,
                Gate::Linear(_) | Gate::Truncate(_) => 0,
                Gate::Max(_) | Gate::Relu(_) | Gate::ArgMax(_) => 2,
            };
            assert_eq!(exchanges, most);
        }
        let levels: u64 = Windows::Row(5).levels().into();
        let label = if plan.reveal.what == Revealed::Label { 1 + 2 * levels } else { 0 };
        // Input; opening, two levels and ReLU; opening and ReLU; opening and operand between two linear layers; result.
        assert_eq!(plan.totals(1).exchanges, 1 + (1 + 4 + 2) + (1 + 2) + (1 + 1) + label + 1);
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

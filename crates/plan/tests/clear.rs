//! The fixed-point reference against exact integers, against floats, and at its bounds.

mod common;

use ariann_gates::linear::Weights;
use ariann_gates::{LinearShape, Receiver, Window};
use ariann_graph::{Executor, Graph, Op, RangeSource};
use ariann_plan::clear::{ClearError, Excess, Nearest, Reference, Rounding, bound};
use ariann_plan::{EncodeError, Gate, Options, Plan, Revealed, SignChoice, compile, encode_weights};
use common::*;

fn nearest(z: i64, shift: u32) -> i64 {
    let mut out = [0];
    Nearest.round(0, 0, &[z], Window { shift, top: 64 }, &mut out);
    out[0]
}

#[test]
fn nearest_is_the_floor_of_z_and_a_half() {
    for shift in 0..6u32 {
        for z in -200i64..200 {
            let exact = (z as f64 / f64::from(1 << shift) + 0.5).floor();
            let exact = if shift == 0 { z as f64 } else { exact };
            assert_eq!(nearest(z, shift) as f64, exact, "{z} / 2^{shift}");
        }
    }
    // The half is added without wrapping.
    assert_eq!(nearest(i64::MAX, 1), 1 << 62);
    assert_eq!(nearest(i64::MIN, 63), -1);
    assert_eq!(nearest(i64::MAX, 63), 1);
}

/// The same integers by definition: every gate of the plan in 128 bits, one item, one sum after the other.
fn by_definition(plan: &Plan, graph: &Graph, x: &[f32]) -> Vec<i128> {
    let layers = encode_weights::<u64>(plan, graph).unwrap();
    let mut values: Vec<Vec<i128>> = Vec::new();
    let mut indices: Vec<i128> = Vec::new();
    for (number, entry) in plan.gates.iter().enumerate() {
        let operands: Vec<&Vec<i128>> = entry.inputs.iter().map(|input| &values[*input as usize]).collect();
        let value = match &entry.gate {
            Gate::Input(_) => x.iter().map(|&v| (f64::from(v) * 2f64.powi(entry.scale.frac)).round() as i128).collect(),
            Gate::Linear(gate) => {
                let layer = layers.iter().find(|layer| layer.gate as usize == number).unwrap();
                let signed = |words: &[u64]| -> Vec<i128> { words.iter().map(|word| (*word as i64).into()).collect() };
                linear(&gate.shape, &signed(&layer.weights), &signed(&layer.bias), operands[0])
            }
            Gate::Add(gate) => (0..gate.len)
                .map(|at| operands.iter().zip(&gate.multipliers).map(|(x, factor)| x[at] * i128::from(*factor)).sum())
                .collect(),
            Gate::Arrange(gate) => {
                let mut out = vec![0i128; gate.arrange.len];
                for block in &gate.arrange.blocks {
                    let total: usize = block.axes.iter().map(|axis| axis.len).product();
                    for mut index in 0..total {
                        let (mut from, mut to) = (block.from as isize, block.to as isize);
                        for axis in block.axes.iter().rev() {
                            let at = (index % axis.len) as isize;
                            index /= axis.len;
                            from += at * axis.from;
                            to += at * axis.to;
                        }
                        let factor = i128::from(gate.multipliers[block.source]);
                        out[to as usize] = operands[block.source][from as usize] * factor;
                    }
                }
                out
            }
            Gate::Sum(sum) => {
                let [height, width] = sum.input;
                let (rows, columns) = (sum.factors[0].len(), sum.factors[1].len());
                let at = |place: usize| {
                    let (c, y, column) = (place / (rows * columns), place / columns % rows, place % columns);
                    let mut total = 0i128;
                    for ky in 0..sum.kernel[0] {
                        for kx in 0..sum.kernel[1] {
                            let iy = (y * sum.stride[0] + ky * sum.dilation[0]).wrapping_sub(sum.pads[0]);
                            let ix = (column * sum.stride[1] + kx * sum.dilation[1]).wrapping_sub(sum.pads[1]);
                            if iy < height && ix < width {
                                total += operands[0][(c * height + iy) * width + ix];
                            }
                        }
                    }
                    total * i128::from(sum.factors[0][y]) * i128::from(sum.factors[1][column])
                };
                (0..sum.channels * rows * columns).map(at).collect()
            }
            Gate::Open(open) => {
                let half = (1i128 << open.window.shift) >> 1;
                operands[0].iter().map(|z| (z + half).div_euclid(1 << open.window.shift)).collect()
            }
            Gate::Max(gate) => {
                let level = gate.windows.level(gate.level);
                let mut out = vec![0; level.out_len];
                for ((a, b), to) in level.a.iter().zip(&level.b).zip(&level.paired) {
                    out[*to as usize] = operands[0][*a as usize].max(operands[0][*b as usize]);
                }
                for (from, to) in level.single.iter().zip(&level.carried) {
                    out[*to as usize] = operands[0][*from as usize];
                }
                out
            }
            Gate::Relu(_) => operands[0].iter().map(|x| (*x).max(0)).collect(),
            Gate::Clip(gate) => operands[0].iter().map(|x| (*x).min(gate.hi.into()).max(gate.lo.into())).collect(),
            Gate::Lookup(gate) => {
                let from = plan.gates[entry.inputs[0] as usize].scale.unit();
                let of = |x: &i128| (gate.function.of(*x as f64 * from) / entry.scale.unit()).round() as i128;
                operands[0].iter().map(of).collect()
            }
            Gate::Multiply(_) => operands[0].iter().zip(operands[1]).map(|(x, y)| x * y).collect(),
            Gate::Subtract(_) => operands[0].iter().zip(operands[1]).map(|(x, y)| x - y).collect(),
            Gate::Cut(_) | Gate::Truncate(_) => operands[0].clone(),
            // The first of the greatest, found at once.
            Gate::ArgMax(gate) => {
                if gate.level == 0 {
                    let greatest = operands[0].iter().max().unwrap();
                    indices = vec![operands[0].iter().position(|x| x == greatest).unwrap() as i128];
                }
                vec![]
            }
            Gate::Reveal(_) if !indices.is_empty() => indices.clone(),
            Gate::Reveal(_) => operands[0].clone(),
            _ => unreachable!("no gate of a prediction"),
        };
        values.push(value);
    }
    values.pop().unwrap()
}

fn linear(shape: &LinearShape, weights: &[i128], bias: &[i128], x: &[i128]) -> Vec<i128> {
    let spread = shape.out_len() / bias.len();
    let of = |place: usize| match shape {
        LinearShape::Dense { inputs, .. } => (0..*inputs).map(|i| x[i] * weights[place * inputs + i]).sum::<i128>(),
        LinearShape::Conv(s) => {
            let (width, plane) = (s.out_width(), s.out_height() * s.out_width());
            let (o, y, column) = (place / plane, place % plane / width, place % width);
            let (inputs, outputs) = (s.in_channels / s.groups, s.out_channels / s.groups);
            let mut sum = 0;
            for c in 0..inputs {
                for ky in 0..s.kernel[0] {
                    for kx in 0..s.kernel[1] {
                        let iy = (y * s.stride[0] + ky * s.dilation[0]).wrapping_sub(s.pads[0]);
                        let ix = (column * s.stride[1] + kx * s.dilation[1]).wrapping_sub(s.pads[1]);
                        if iy < s.in_height && ix < s.in_width {
                            let from = ((o / outputs * inputs + c) * s.in_height + iy) * s.in_width + ix;
                            sum += x[from] * weights[((o * inputs + c) * s.kernel[0] + ky) * s.kernel[1] + kx];
                        }
                    }
                }
            }
            sum
        }
    };
    (0..shape.out_len()).map(|place| of(place) + bias[place / spread]).collect()
}

/// Every network, ring, mode and form: the reference gives the integers of the definition, and these are near the floats.
#[test]
fn integers_are_those_of_the_definition() {
    for (graph, plan) in varied_plans() {
        let items = 70; // more than pass through together
        let x = numbers(&graph, items, 3);
        let run = Reference::new(&plan, &graph).unwrap().run(items, &x, &mut Nearest).unwrap();
        assert_eq!(run.excess, None);
        let defined: Vec<i128> = x.chunks(graph.input.len()).flat_map(|x| by_definition(&plan, &graph, x)).collect();
        assert_eq!(run.results.iter().map(|x| i128::from(*x)).collect::<Vec<_>>(), defined, "{}", graph.name);
        let floats = Executor::new(&graph).run(items, &x).unwrap();
        match plan.reveal.what {
            Revealed::Logits => {
                let apart = run.decoded().iter().zip(&floats).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                println!("{}, ring {}: at most {apart} from the floats", graph.name, plan.ring);
                assert!(apart < if plan.ring == 32 { 0.1 } else { 0.02 }, "{}: {apart}", graph.name);
            }
            Revealed::Label => {
                let agree = |(row, label): (&[f32], &i64)| row.iter().all(|x| *x <= row[*label as usize] + 0.1);
                assert!(floats.chunks(graph.output_len()).zip(&run.results).all(agree), "{}", graph.name);
            }
            _ => unreachable!("no result of a prediction"),
        }
    }
}

/// One convolution of one weight 1 that is opened in the bits [4, 16), a ReLU behind a pooling or not, and a second layer.
fn wire(pooled: bool) -> (Graph, Plan) {
    let mut builder = Builder::new(&[1, 1, 2]);
    (builder.weight, builder.mixed, builder.bias) = (1.0, false, 0.0);
    let builder = builder.conv(1, 1);
    let builder = if pooled { builder.pool([1, 2], 1) } else { builder };
    let graph = builder.relu().flat().dense(1).graph;
    let ranges = ranges(&graph, RangeSource::Calibrated { items: 1 }, 1.0);
    let plain = options(32, Weights::Held, Revealed::Logits, Receiver::P1);
    let mut plan = compile(&graph, &ranges, &plain).unwrap();
    // Integers as they are: the input and all weights are whole numbers.
    for entry in &mut plan.gates {
        entry.scale.frac = 0;
        match &mut entry.gate {
            Gate::Open(open) => open.window = Window { shift: 4, top: 16 },
            Gate::Relu(relu) => relu.width = 12,
            Gate::Max(max) => max.width = 12,
            _ => {}
        }
    }
    let opened = plan.gates.iter().position(|entry| matches!(entry.gate, Gate::Open(_))).unwrap();
    let last = plan.linear_gates().last().unwrap().0 as usize;
    plan.gates[opened..].iter_mut().for_each(|entry| entry.scale.frac = -4);
    plan.gates[last..].iter_mut().for_each(|entry| entry.scale.frac = -4);
    plan.output.scale.frac = -4;
    plan.check().unwrap();
    (graph, plan)
}

#[test]
fn the_bound_is_the_protocols_and_its_edges_are_found() {
    for (pooled, allowed) in [(true, (1 << 14) - (1 << 5)), (false, (1 << 15) - (1 << 5))] {
        let (graph, plan) = wire(pooled);
        let opened = plan.gates.iter().position(|entry| matches!(entry.gate, Gate::Open(_))).unwrap();
        assert_eq!(bound(&plan, opened), Some(f64::from(allowed)));
        let run = |values: &[i32]| {
            let x: Vec<f32> = values.iter().flat_map(|&value| [value as f32, 0.0]).collect();
            Reference::new(&plan, &graph).unwrap().run(values.len(), &x, &mut Nearest).unwrap()
        };
        assert_eq!(run(&[allowed, -allowed, 0]).excess, None);
        for beyond in [allowed + 1, -allowed - 1, 1 << 23] {
            let excess = run(&[0, allowed, beyond, beyond]).excess;
            let entry = &plan.gates[opened];
            let scale = plan.gates[entry.inputs[0] as usize].scale;
            let (name, value, bound) = (entry.name.clone(), f64::from(beyond), f64::from(allowed));
            assert_eq!(excess, Some(Excess { gate: opened, name, item: 2, value, bound, scale }));
        }
    }
}

/// Clips and coarse signs leave less room: what they compare with, and their noise.
#[test]
fn the_bound_knows_what_reads_an_opening() {
    let mut graph = Builder::new(&[1, 4, 4]).conv(2, 3).relu().flat().dense(3).graph;
    let ranges = ranges(&graph, RangeSource::Calibrated { items: 1 }, 1.0);
    let plain = options(32, Weights::Held, Revealed::Logits, Receiver::P1);
    let find = |plan: &Plan| plan.gates.iter().position(|entry| matches!(entry.gate, Gate::Open(_))).unwrap();
    let exp2 = |bits: u32| 2f64.powi(bits as i32);
    let coarse = compile(&graph, &ranges, &Options { sign: SignChoice::Coarse, ..plain.clone() }).unwrap();
    let (open, opened) = (find(&coarse), find(&coarse) + 1);
    let (Gate::Open(gate), Gate::Relu(relu)) = (&coarse.gates[open].gate, &coarse.gates[opened].gate) else {
        panic!("a ReLU is opened for")
    };
    let (window, ariann_gates::Sign::Coarse(cut)) = (gate.window, relu.sign) else { panic!("the sign is coarse") };
    let left = exp2(window.top - 2) - exp2(window.shift + cut) - exp2(window.shift + 1);
    assert_eq!(bound(&coarse, open), Some(left));
    graph.nodes[1].op = Op::Clip { lo: -0.5, hi: 6.0 };
    let clipped = compile(&graph, &ranges, &plain).unwrap();
    let open = find(&clipped);
    let (Gate::Open(gate), Gate::Clip(clip)) = (&clipped.gates[open].gate, &clipped.gates[open + 1].gate) else {
        panic!("a clip is opened for")
    };
    let room = clip.hi as f64 * exp2(gate.window.shift);
    assert_eq!(clip.hi, (6.0 / clipped.gates[open].scale.unit()).round() as i64);
    assert_eq!(bound(&clipped, open), Some(exp2(gate.window.top - 1) - room - exp2(gate.window.shift + 1)));
}

/// Notes what it is given, and rounds down.
#[derive(Default)]
struct Recorder(Vec<(u32, usize, usize, Window)>);

impl Rounding for Recorder {
    fn round(&mut self, gate: u32, first_item: usize, z: &[i64], window: Window, out: &mut [i64]) {
        self.0.push((gate, first_item, z.len(), window));
        out.iter_mut().zip(z).for_each(|(out, z)| *out = z >> window.shift);
    }
}

#[test]
fn rounding_can_be_replaced_and_learns_gate_item_and_window() {
    for (graph, plan) in varied_plans().into_iter().step_by(4) {
        let x = numbers(&graph, 70, 9);
        let reference = Reference::new(&plan, &graph).unwrap();
        let mut recorder = Recorder::default();
        let run = reference.run(70, &x, &mut recorder).unwrap();
        let whole = Window { shift: 0, top: plan.ring };
        for (number, entry) in plan.gates.iter().enumerate() {
            let Gate::Open(open) = &entry.gate else { continue };
            let mut calls: Vec<_> = recorder.0.iter().filter(|call| call.0 == number as u32).collect();
            if open.window == whole {
                assert!(calls.is_empty(), "a whole opening rounds nothing");
                continue;
            }
            calls.sort_by_key(|call| call.1);
            let mut items = 0;
            for (_, first, len, window) in calls {
                assert_eq!((*first, *window, len % open.len), (items, open.window, 0));
                items += len / open.len;
            }
            assert_eq!(items, 70);
        }
        let nearest = reference.run(70, &x, &mut Nearest).unwrap();
        if plan.reveal.what == Revealed::Logits {
            assert_ne!(run.results, nearest.results, "the other rounding has an effect");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (graph, plan) = wire(false);
    let reference = Reference::new(&plan, &graph).unwrap();
    assert_eq!(reference.run(2, &[0.0; 3], &mut Nearest), Err(ClearError::Length { items: 2, len: 2, got: 3 }));
    let refused = reference.run(2, &[0.0, 0.0, f32::NAN, 0.0], &mut Nearest).unwrap_err();
    assert!(matches!(&refused, ClearError::Input { item: 1, .. }) && refused.to_string().contains("NaN"), "{refused}");
    let other = Builder::new(&[2]).dense(1).graph;
    let refused = Reference::new(&plan, &other).map(|_| ()).unwrap_err();
    assert_eq!(refused, ClearError::Weights(EncodeError::Layers { planned: 2, layers: 1 }));
    let mut heavy = graph.clone();
    let Op::Dense(dense) = &mut heavy.nodes.last_mut().unwrap().op else { panic!("a dense layer comes last") };
    dense.weights.data_mut().fill(f32::INFINITY);
    let refused = Reference::new(&plan, &heavy).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains(&heavy.nodes.last().unwrap().name), "{refused}");
}

/// A softmax of equal values: its sums are as large as sums can be.
#[test]
fn equal_values_of_a_softmax_are_within_their_bound() {
    for row in [2usize, 3, 4, 8, 1000] {
        let mut graph = Builder::new(&[row]).dense(row).relu().dense(2).graph;
        graph.nodes[1].op = Op::Softmax(row);
        let x = numbers(&graph, 4, 1);
        let Op::Dense(dense) = &mut graph.nodes[0].op else { panic!("a dense layer comes first") };
        dense.weights.data_mut().fill(0.0);
        let ranges = ariann_graph::calibrate(&graph, 4, &x).unwrap();
        for ring in [32, 64] {
            let plan = compile(&graph, &ranges, &options(ring, Weights::Held, Revealed::Logits, Receiver::P1)).unwrap();
            plan.check().unwrap();
            assert!(plan.computes(&graph));
            let run = Reference::new(&plan, &graph).unwrap().run(4, &x, &mut Nearest).unwrap();
            assert_eq!(run.excess, None, "rows of {row}");
            let floats = Executor::new(&graph).run(4, &x).unwrap();
            let apart = run.decoded().iter().zip(&floats).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 0.02, "rows of {row}: {apart}");
        }
    }
}

//! What a plan must be like: the type check, the digest, the file.

mod common;

use std::path::Path;

use ariann_gates::arrange::Rearrange;
use ariann_gates::input::Input;
use ariann_gates::linear::Weights;
use ariann_gates::open::Open;
use ariann_gates::relu::Relu;
use ariann_gates::reveal::Reveal;
use ariann_gates::{LinearShape, Party, Pooling, Receiver, Window, Windows};
use ariann_graph::Op;
use ariann_plan::{Entry, Gate, Plan, PlanFileError, Revealed, Shared};
use ariann_ring::arrange::{Arrange, Axis, Block};
use common::*;
use serde_json::Value;

#[test]
fn compiled_plans_are_accepted_and_survive_the_file() {
    let varied = varied_plans().into_iter().map(|(_, plan)| plan);
    for plan in plans().into_iter().chain(varied) {
        plan.check().unwrap();
        let text = plan.to_json();
        let read = Plan::from_json(&text, Path::new("plan.json")).unwrap();
        assert_eq!(read, plan);
        assert_eq!(read.digest(), plan.digest());
        assert_eq!(read.to_json(), text);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        plan.write(&path).unwrap();
        assert_eq!(Plan::read(&path).unwrap(), plan);
    }
}

/// All values that are not objects or arrays, by their way from the top.
fn leaves(value: &Value, way: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            way.push(key.clone());
            leaves(value, way, out);
            way.pop();
        }),
        Value::Array(values) => values.iter().enumerate().for_each(|(index, value)| {
            way.push(index.to_string());
            leaves(value, way, out);
            way.pop();
        }),
        _ => out.push(way.clone()),
    }
}

/// Other values of the same kind.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(bit) => vec![Value::Bool(!bit)],
        Value::String(text) => {
            let words = ["p0", "p1", "both", "held", "shared", "public", "logits", "label", "other"];
            words.iter().filter(|word| *word != text).map(|word| (*word).into()).collect()
        }
        Value::Number(number) if number.is_f64() => {
            let x = number.as_f64().unwrap();
            vec![(x + 1.0).into(), (-x - 0.5).into(), 1e30.into()]
        }
        Value::Number(number) => {
            let x = number.as_i64().unwrap();
            [x + 1, x - 1, 0, 1, 31, 63, 1 << 20, 1 << 40, i64::MAX]
                .into_iter()
                .filter(|y| *y != x)
                .map(Value::from)
                .collect()
        }
        _ => vec![],
    }
}

fn at<'a>(value: &'a mut Value, way: &[String]) -> &'a mut Value {
    way.iter().fold(value, |value, step| match value {
        Value::Array(values) => &mut values[step.parse::<usize>().unwrap()],
        _ => &mut value[step.as_str()],
    })
}

/// Every field, changed in every way: refused, or another digest, and never a panic.
#[test]
fn no_field_can_change_unseen() {
    let (mut refused, mut seen) = (0, 0);
    let varied = varied_plans().into_iter().skip(8).step_by(9).map(|(_, plan)| plan);
    for plan in plans().into_iter().step_by(7).chain(varied) {
        let whole = serde_json::to_value(&plan).unwrap();
        let mut ways = Vec::new();
        leaves(&whole, &mut Vec::new(), &mut ways);
        assert!(ways.len() > 100);
        for way in ways {
            let mut changed = whole.clone();
            for other in others(&at(&mut changed, &way).clone()) {
                *at(&mut changed, &way) = other.clone();
                let Ok(mutant) = serde_json::from_value::<Plan>(changed.clone()) else {
                    refused += 1;
                    continue;
                };
                if mutant.check().is_err() {
                    refused += 1;
                    continue;
                }
                assert_ne!(mutant.digest(), plan.digest(), "{way:?} = {other}");
                let costs = mutant.totals(4);
                assert!(costs.exchanges > 0);
                seen += 1;
            }
        }
        // Gates left out, doubled or exchanged.
        for number in 0..plan.gates.len() {
            let mut missing = plan.clone();
            missing.gates.remove(number);
            assert!(missing.check().is_err(), "without gate {number}");
            let mut double = plan.clone();
            double.gates.insert(number, plan.gates[number].clone());
            assert!(double.check().is_err(), "gate {number} twice");
        }
    }
    println!("{refused} changes refused, {seen} seen in the digest");
    assert!(refused > 1000 && seen > 50);
}

fn find(plan: &Plan, kind: &str) -> usize {
    plan.gates.iter().position(|entry| entry.gate.kind() == kind).unwrap()
}

/// Changes that would make parties disagree, read another wire's mask, or leave a value to the wrong one: each has its reason.
#[test]
fn ill_typed_plans_are_refused_for_their_reason() {
    let held = plans().remove(1);
    assert_eq!((held.weights, held.reveal.what, held.reveal.to), (Weights::Held, Revealed::Logits, Receiver::P1));
    let hold = |reason: &str, change: &dyn Fn(&mut Plan)| {
        let mut plan = held.clone();
        change(&mut plan);
        let error = plan.check().expect_err(reason).to_string();
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(error.contains("make it again"), "{error}");
    };
    hold("version 1", &|plan| plan.version = 1);
    hold("ring is neither", &|plan| plan.ring = 16);
    hold("input shape", &|plan| plan.input.shape = vec![usize::MAX, 2]);
    hold("input shape", &|plan| plan.input.shape = vec![0]);
    hold("input range", &|plan| plan.input.range = [1.0, 0.0]);
    hold("input range", &|plan| plan.input.range = [f64::NAN, 0.0]);
    hold("input scale", &|plan| plan.input.scale = 0.0);
    hold("deviation", &|plan| plan.input.std = vec![0.0]);
    hold("mean", &|plan| plan.input.mean = vec![f32::NAN]);
    hold("number of gates", &|plan| plan.gates.truncate(2));
    hold("end in a result", &|plan| drop(plan.gates.pop()));
    hold("no valid shape", &|plan| {
        // One output of a kernel that spans a padding of 2^40.
        let gate = plan.gates.iter_mut().find_map(|entry| match &mut entry.gate {
            Gate::Linear(gate) => Some(gate),
            _ => None,
        });
        let LinearShape::Conv(shape) = &mut gate.unwrap().shape else { panic!("a convolution comes first") };
        (shape.pads, shape.kernel) = ([1 << 40, 0, 0, 0], [1 << 40, 1]);
    });
    hold("output scale", &|plan| plan.output.scale.frac += 1);

    let change = |kind: &'static str, change: &'static dyn Fn(&mut Gate)| {
        move |plan: &mut Plan| {
            let number = find(plan, kind);
            change(&mut plan.gates[number].gate);
        }
    };
    macro_rules! gate {
        ($reason:literal, $kind:literal, $variant:ident, $change:expr) => {
            hold(
                $reason,
                &change($kind, &|gate| {
                    let Gate::$variant(gate) = gate else { unreachable!() };
                    let change: &dyn Fn(&mut _) = &$change;
                    change(gate);
                }),
            )
        };
    }
    gate!("not that of the input", "input", Input, |gate: &mut ariann_gates::input::Input| gate.len += 1);
    gate!("to whom the plan says", "linear", Linear, |gate: &mut ariann_gates::linear::Linear| gate.weights =
        Weights::Public);
    gate!("another number", "open", Open, |gate: &mut Open| gate.len += 1);
    gate!("within the ring", "open", Open, |gate: &mut Open| gate.window.top = 33);
    gate!("narrower than 3", "open", Open, |gate: &mut Open| gate.window = Window { shift: 4, top: 6 });
    gate!("opened to both", "open", Open, |gate: &mut Open| gate.to = Receiver::P0);
    gate!("another size", "max", Max, |gate: &mut ariann_gates::max::Max| gate.width += 1);
    gate!("no such level", "max", Max, |gate: &mut ariann_gates::max::Max| gate.level = 9);
    gate!("no pooling windows", "max", Max, |gate: &mut ariann_gates::max::Max| gate.windows = Windows::Row(108));
    gate!("another size", "relu", Relu, |gate: &mut Relu| gate.width -= 1);
    gate!("another size", "truncate", Truncate, |gate: &mut ariann_gates::truncate::Truncate| gate.width += 1);
    gate!("another receiver", "reveal", Reveal, |gate: &mut Reveal| gate.to = Receiver::Both);
    gate!("another number", "reveal", Reveal, |gate: &mut Reveal| gate.len += 1);
    gate!("no party", "relu", Relu, |gate: &mut Relu| gate.to = Receiver::Client);
    hold("it is a party's", &|plan| plan.reveal.to = Receiver::Client);
    hold("to neither", &|plan| {
        let Gate::Input(Input { len, .. }) = plan.gates[0].gate else { unreachable!() };
        plan.gates[0].gate = Gate::Shared(Shared { len });
    });
}

/// Puts a gate at `number` of a plan; `after` reads it instead of what it read first.
fn insert(plan: &mut Plan, number: usize, entry: Entry, after: Option<usize>) {
    for entry in &mut plan.gates {
        entry.inputs.iter_mut().filter(|input| **input as usize >= number).for_each(|input| *input += 1);
    }
    plan.gates.insert(number, entry);
    if let Some(after) = after {
        plan.gates[after + 1].inputs[0] = number as u32;
    }
}

fn reason(plan: &Plan) -> String {
    plan.check().expect_err("it must be refused").to_string()
}

/// What a gate reads is there, is of the form that it takes, and is read by something.
#[test]
fn gates_read_what_is_there() {
    for (_, plan) in varied_plans().into_iter().step_by(3) {
        let gates = plan.gates.len();
        for number in 1..gates {
            let mut changed = plan.clone();
            for other in number..gates + 2 {
                changed.gates[number].inputs[0] = other as u32;
                assert!(reason(&changed).contains("not there yet"));
            }
            changed.gates[number].inputs[0] = u32::MAX;
            assert!(reason(&changed).contains("not there yet"));
            // None, and one more.
            changed.gates[number].inputs = vec![];
            assert!(changed.check().is_err());
            let mut changed = plan.clone();
            let first = changed.gates[number].inputs[0];
            changed.gates[number].inputs.push(first);
            assert!(changed.check().is_err(), "{}", plan.gates[number].name);
            // Every other earlier gate: refused, or another plan.
            for other in 0..number as u32 {
                let mut changed = plan.clone();
                changed.gates[number].inputs[0] = other;
                if changed != plan && changed.check().is_ok() {
                    assert_ne!(changed.digest(), plan.digest());
                }
            }
        }
        // A gate that nothing reads.
        let len = plan.input_len();
        let add = Gate::Add(ariann_gates::add::Add { len, multipliers: vec![1], constants: Vec::new() });
        let idle = Entry { name: "idle".into(), inputs: vec![0], scale: plan.gates[0].scale, gate: add };
        let mut changed = plan.clone();
        insert(&mut changed, 1, idle, None);
        assert!(reason(&changed).contains("nothing takes"));
    }
}

/// A scale that is not what the operands make it is refused wherever it stands: but for the input's, on which only the weights
/// of what reads it depend.
#[test]
fn scales_follow_from_their_operands() {
    for (graph, plan) in varied_plans().into_iter().step_by(3) {
        for number in 1..plan.gates.len() {
            let kind = plan.gates[number].gate.kind();
            for change in [(1, 0), (-1, 0), (1 << 20, 0), (i32::MIN, 0), (0, 1), (0, 1 << 30)] {
                let mut changed = plan.clone();
                let scale = &mut changed.gates[number].scale;
                scale.frac = scale.frac.saturating_add(change.0);
                scale.factor += change.1;
                if changed.check().is_ok() {
                    // A linear layer takes any scale, with other weights; then it is not this model's plan.
                    assert!(["linear", "lookup", "sum"].contains(&kind), "{kind} {change:?}");
                    assert!(!changed.computes(&graph), "{kind} {change:?}");
                }
            }
        }
    }
}

/// Nobody compares or is shown what the owner's words alone mask, and nobody multiplies what it does not know.
#[test]
fn masks_of_other_wires_are_never_taken() {
    let plan = plans().remove(1);
    let entry = |gate: Gate| Entry { name: "made".into(), inputs: vec![0], scale: plan.gates[0].scale, gate };
    let (form, sign) = (ariann_gates::Comparison::Dpf, ariann_gates::Sign::Exact);
    let compared = [
        Gate::Relu(Relu { len: 64, width: 32, to: Receiver::Both, form, sign }),
        Gate::Cut(ariann_gates::cut::Cut { len: 64, width: 20 }),
        Gate::Clip(ariann_gates::clip::Clip { len: 64, width: 32, to: Receiver::Both, lo: 0, hi: 6, form, sign }),
        Gate::ArgMax(ariann_gates::argmax::ArgMax { len: 64, level: 0, width: 32, form }),
        Gate::Reveal(Reveal { len: 64, width: 32, to: Receiver::P0 }),
    ];
    for gate in compared {
        let mut changed = plan.clone();
        insert(&mut changed, 1, entry(gate.clone()), Some(1));
        assert!(changed.check().is_err(), "{gate:?} of the input");
        // Moved to other places it is still the owner's.
        let axes = vec![Axis { len: 64, from: 1, to: 1 }];
        let arrange = Arrange { len: 64, blocks: vec![Block { source: 0, from: 0, to: 0, axes }] };
        let moved = Gate::Arrange(Rearrange { arrange, multipliers: vec![1] });
        insert(&mut changed, 1, entry(moved), Some(1));
        assert!(changed.check().is_err(), "{gate:?} of the input in other places");
    }
    for (weights, to) in [
        (Weights::Held, Receiver::P1),
        (Weights::Shared, Receiver::P0),
        (Weights::Shared, Receiver::P1),
        (Weights::Public, Receiver::P0),
    ] {
        let plan = plans().into_iter().find(|plan| plan.weights == weights && plan.ring == 32).unwrap();
        let mut changed = plan.clone();
        let number = find(&changed, "relu");
        let Gate::Relu(relu) = &mut changed.gates[number].gate else { unreachable!() };
        relu.to = to;
        assert!(reason(&changed).contains("not open to the party that multiplies"), "{weights:?} {to:?}");
        let operand = |entry: &mut Entry| match &mut entry.gate {
            Gate::Open(open) if (open.window.shift, open.window.top) == (0, 32) => {
                open.to = to;
                true
            }
            _ => false,
        };
        let mut changed = plan.clone();
        assert!(changed.gates.iter_mut().any(operand));
        assert!(reason(&changed).contains("not open to the party that multiplies"), "{weights:?} {to:?}");
    }
}

/// A few values in a window of padding make pairs that no memory holds.
#[test]
fn maxima_of_too_many_pairs_are_refused() {
    let mut plan = plans().remove(1);
    let number = find(&plan, "max");
    let Gate::Max(max) = &mut plan.gates[number].gate else { unreachable!() };
    let most = (1 << 16) - 1;
    max.windows = Windows::Pool(Pooling {
        channels: 1,
        input: [1, max.windows.in_len()],
        output: [most, 1],
        kernel: [most, 1],
        stride: [1, 1],
        pads: [most - 1, 0],
        dilation: [1, 1],
    });
    assert!(reason(&plan).contains("too many values"));
}

/// P0 has no part in the mask of the owner's input, so it is no factor; and an argmax hands its operand on to nobody.
#[test]
fn factors_have_two_masks_and_an_argmax_keeps_its_operand() {
    let plan = plans().remove(1);
    let input = plan.gates[0].scale;
    let scale = ariann_plan::Scale::bits(2 * input.frac);
    let entry = |inputs: Vec<u32>, gate: Gate| Entry { name: "made".into(), inputs, scale, gate };
    let window = Window { shift: 0, top: plan.ring };
    let mut changed = plan.clone();
    let open = Open { len: 64, window, to: Receiver::Both };
    insert(&mut changed, 1, entry(vec![0], Gate::Open(open)), Some(1));
    insert(&mut changed, 1, entry(vec![0, 0], Gate::Multiply(ariann_gates::multiply::Multiply { len: 64 })), Some(1));
    assert!(reason(&changed).contains("no wires of its size that both know"));

    let labels = plans().into_iter().find(|plan| plan.reveal.what == Revealed::Label).unwrap();
    let number = find(&labels, "argmax");
    let mut changed = labels.clone();
    insert(&mut changed, number + 1, labels.gates[number].clone(), None);
    assert!(reason(&changed).contains("an argmax has used up"));
}

/// Rearrangements that leave their bounds or write a place twice, and results too large to look at.
#[test]
fn impossible_rearrangements_are_refused() {
    let plan = plans().remove(1);
    let axis = |len, from, to| Axis { len, from, to };
    let block = Block { source: 0, from: 0, to: 0, axes: vec![axis(64, 1, 1)] };
    let with = |len: usize, blocks: Vec<Block>, multipliers: Vec<u64>| {
        let mut changed = plan.clone();
        let gate = Gate::Arrange(Rearrange { arrange: Arrange { len, blocks }, multipliers });
        let moved = Entry { name: "made".into(), inputs: vec![0], scale: plan.gates[0].scale, gate };
        insert(&mut changed, 1, moved, Some(1));
        changed
    };
    with(64, vec![block.clone()], vec![1]).check().unwrap();
    // The identity may also be written as a reversal of a reversal, or hold zeros.
    with(64, vec![Block { from: 63, axes: vec![axis(64, -1, 1)], ..block.clone() }], vec![1]).check().unwrap();
    with(64, vec![], vec![1]).check().unwrap();
    for (blocks, multipliers) in [
        (vec![Block { from: 1, ..block.clone() }], vec![1]),
        (vec![Block { to: 1, ..block.clone() }], vec![1]),
        (vec![Block { from: usize::MAX, ..block.clone() }], vec![1]),
        (vec![Block { source: 1, ..block.clone() }], vec![1]),
        (vec![Block { axes: vec![axis(64, -1, 1)], ..block.clone() }], vec![1]),
        (vec![Block { axes: vec![axis(2, 1, 0)], ..block.clone() }], vec![1]),
        (vec![Block { axes: vec![axis(2, 1, isize::MAX)], ..block.clone() }], vec![1]),
        (vec![Block { axes: vec![axis(2, isize::MIN, 1)], ..block.clone() }], vec![1]),
        (vec![Block { axes: vec![axis(usize::MAX, 0, 0), axis(2, 1, 1)], ..block.clone() }], vec![1]),
        (vec![block.clone(), Block { axes: vec![axis(1, 1, 1)], ..block.clone() }], vec![1]),
        (vec![block.clone()], vec![]),
        (vec![block.clone()], vec![1, 1]),
        // Another factor is another scale.
        (vec![block.clone()], vec![2]),
        (vec![block.clone()], vec![0]),
        (vec![block.clone()], vec![u64::MAX]),
    ] {
        let changed = with(64, blocks.clone(), multipliers.clone());
        assert!(changed.check().is_err(), "{blocks:?} {multipliers:?}");
    }
    for len in [0, 65, 1 << 22, 1 << 32, 1 << 40, usize::MAX] {
        assert!(with(len, vec![block.clone()], vec![1]).check().is_err(), "{len} places");
    }
    // An input of 2^32 values that are all moved: nothing of that size is made to look at it.
    let mut changed = with(1 << 32, vec![Block { axes: vec![axis(1 << 32, 1, 1)], ..block }], vec![1]);
    changed.input.shape = vec![1 << 32];
    let Gate::Input(input) = &mut changed.gates[0].gate else { unreachable!() };
    input.len = 1 << 32;
    assert!(reason(&changed).contains("out of bounds"));
}

/// Sums over windows that have no shape.
#[test]
fn impossible_sums_are_refused() {
    let (_, plan) = varied_plans().into_iter().find(|(graph, _)| graph.name == "branched").unwrap();
    let number = find(&plan, "sum");
    type Change = fn(&mut ariann_gates::SumShape);
    let changes: [Change; 10] = [
        |sum| sum.channels += 1,
        |sum| sum.channels = usize::MAX,
        |sum| sum.input = [1 << 40; 2],
        |sum| sum.kernel[0] = 0,
        |sum| sum.stride[1] = 0,
        |sum| sum.dilation[0] = 1 << 60,
        |sum| sum.pads[0] = usize::MAX,
        |sum| sum.factors[0] = vec![],
        |sum| sum.factors[1][0] = 0,
        |sum| sum.factors[1][0] = u32::MAX,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut plan = plan.clone();
        let Gate::Sum(sum) = &mut plan.gates[number].gate else { unreachable!() };
        change(sum);
        assert!(plan.check().is_err(), "change {index}");
    }
}

/// Forms and signs that the width does not have.
#[test]
fn comparisons_that_have_no_such_form_are_refused() {
    let (_, plan) = varied_plans().into_iter().find(|(graph, plan)| graph.name == "curved" && plan.ring == 64).unwrap();
    let number = find(&plan, "clip");
    let Gate::Clip(clip) = plan.gates[number].gate.clone() else { unreachable!() };
    let coarse = ariann_gates::Sign::Coarse;
    type Clip = ariann_gates::clip::Clip;
    let changes: [&dyn Fn(&mut Clip); 8] = [
        &|clip| clip.sign = coarse(0),
        &|clip| clip.sign = coarse(clip.width),
        &|clip| clip.sign = coarse(clip.width - 2),
        &|clip| clip.sign = coarse(u32::MAX),
        &|clip| clip.hi = clip.lo,
        &|clip| clip.lo = i64::MIN,
        &|clip| clip.hi = 1 << (clip.width - 1),
        &|clip| clip.len += 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let (mut plan, mut changed) = (plan.clone(), clip.clone());
        change(&mut changed);
        plan.gates[number].gate = Gate::Clip(changed);
        assert!(plan.check().is_err(), "change {index} of {clip:?}");
    }
    // 63 bits are compared by a key alone.
    let mut wide = plans().into_iter().find(|plan| plan.ring == 64).unwrap();
    let number = find(&wide, "relu");
    let Gate::Relu(relu) = &mut wide.gates[number].gate else { unreachable!() };
    let comparable = ariann_gates::drelu::chunked(relu.width - 1).is_some();
    relu.form = ariann_gates::Comparison::Chunks;
    assert_eq!(wide.check().is_ok(), comparable);
    assert_eq!(ariann_gates::drelu::chunked(63), None);
}

/// A plan knows its model, and no other one.
#[test]
fn plans_know_their_models() {
    for (graph, plan) in varied_plans() {
        assert!(plan.computes(&graph), "{}", graph.name);
        for other in networks() {
            assert_eq!(plan.computes(&other), other.name == graph.name, "{} and {}", graph.name, other.name);
        }
        // The same weights with one layer that does something else.
        for node in 0..graph.nodes.len() {
            let mut changed = graph.clone();
            let layer = &mut changed.nodes[node];
            let op = match &layer.op {
                Op::Relu | Op::Clip { .. } | Op::Function(_) => Op::Reshape,
                Op::Reshape => Op::Relu,
                Op::MaxPool(pool) => {
                    let columns = (0..pool.out_width()).map(|at| pool.places(1, at).count() as u32).collect();
                    let rows = (0..pool.out_height()).map(|at| pool.places(0, at).count() as u32).collect();
                    Op::AvgPool(ariann_graph::AvgPool { pool: pool.clone(), counts: [rows, columns] })
                }
                Op::AvgPool(average) => Op::MaxPool(average.pool.clone()),
                Op::Conv(conv) => {
                    let mut conv = conv.clone();
                    conv.shape.dilation[0] += 1;
                    Op::Conv(conv)
                }
                Op::Add if layer.inputs[0] != layer.inputs[1] => {
                    layer.inputs[1] = layer.inputs[0];
                    Op::Add
                }
                Op::Arrange(arrange) => {
                    let mut arrange = arrange.clone();
                    let block = &mut arrange.blocks[0];
                    let axis = block.axes.last_mut().unwrap();
                    block.from += (axis.len - 1) * axis.from as usize;
                    axis.from = -axis.from;
                    Op::Arrange(arrange)
                }
                _ => continue,
            };
            changed.nodes[node].op = op;
            assert!(!plan.computes(&changed), "{}: {} changed", graph.name, graph.nodes[node].name);
        }
    }
}

/// Geometries that would overflow or have a window without a place inside the image.
#[test]
fn impossible_windows_are_refused() {
    let plan = plans().remove(0);
    let number = find(&plan, "max");
    type Change = fn(&mut ariann_gates::Pooling);
    let changes: [Change; 7] = [
        |pool| pool.pads = [9, 9],
        |pool| pool.stride = [1 << 15, 1],
        |pool| pool.output = [1 << 15; 2],
        |pool| pool.kernel = [0, 2],
        |pool| pool.channels = usize::MAX,
        |pool| (pool.kernel, pool.output) = ([65535; 2], [65535; 2]),
        // Taps at -1 and 1 of an image of one row.
        |pool| (pool.input, pool.output, pool.pads, pool.dilation) = ([1, 6], [1, 3], [1, 0], [2, 1]),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut plan = plan.clone();
        let Gate::Max(max) = &mut plan.gates[number].gate else { unreachable!() };
        let Windows::Pool(pool) = &mut max.windows else { unreachable!() };
        change(pool);
        let error = plan.check().unwrap_err().to_string();
        assert!(error.contains("no valid shape"), "{index}: {error}");
    }
}

#[test]
fn files_that_are_no_plans_are_refused() {
    let plan = plans().remove(0);
    let text = plan.to_json();
    let read = |text: &str| Plan::from_json(text, Path::new("p.json")).unwrap_err();
    let digest = plan.digest_hex();
    assert!(matches!(read(&text.replace(&digest, &"0".repeat(64))), PlanFileError::Digest { .. }));
    assert!(matches!(read(&text.replace("\"model\": \"net\"", "\"model\": \"tent\"")), PlanFileError::Digest { .. }));
    assert!(matches!(read(&text.replace("\"version\": 2", "\"version\": 7")), PlanFileError::Check { .. }));
    for (place, reason) in [("", "EOF"), ("{}", "digest"), ("[1]", ""), (&text[..text.len() / 2], "EOF")] {
        let error = read(place);
        assert!(matches!(error, PlanFileError::Form { .. }) && error.to_string().contains(reason), "{error}");
        assert!(error.to_string().contains("p.json"));
    }
    // An unknown key at every depth.
    let mut objects = Vec::new();
    fn walk(value: &Value, way: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
        match value {
            Value::Object(map) => {
                out.push(way.clone());
                for (key, value) in map {
                    way.push(key.clone());
                    walk(value, way, out);
                    way.pop();
                }
            }
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    way.push(index.to_string());
                    walk(value, way, out);
                    way.pop();
                }
            }
            _ => {}
        }
    }
    let whole: Value = serde_json::from_str(&text).unwrap();
    walk(&whole, &mut Vec::new(), &mut objects);
    assert!(objects.len() > 20);
    for way in objects {
        let mut changed = whole.clone();
        at(&mut changed, &way).as_object_mut().unwrap().insert("surprise".into(), 1.into());
        let error = read(&changed.to_string());
        assert!(matches!(error, PlanFileError::Form { .. }), "a key under {way:?}: {error}");
    }
    let missing = Plan::read(Path::new("does/not/exist.json")).unwrap_err();
    assert!(matches!(missing, PlanFileError::Io { .. }) && missing.to_string().contains("check the path"));
}

#[test]
fn sections_sum_to_the_totals() {
    for plan in plans() {
        let totals = plan.totals(1);
        for party in [Party::P0, Party::P1] {
            assert_eq!(plan.sections(party).iter().sum::<u64>(), totals.material_bytes[party as usize]);
        }
        let setup: u64 = plan.setup_bytes().iter().map(|(_, sent)| sent[0] as u64).sum();
        assert_eq!(setup, totals.setup_bytes[0]);
        assert_eq!(plan.totals(8).exchanges, totals.exchanges);
        assert!(plan.totals(8).memory_bytes[0] > totals.memory_bytes[0]);
    }
}

/// Each rearrangement of a chain reads the one before it twice: its mask would be made of 2^n masks. Refused where it begins to
/// cost, before anything of that size is made.
#[test]
fn rearrangements_that_multiply_are_refused() {
    let plan = plans().remove(1);
    let half = |source: usize, to: usize| Block { source, from: 0, to, axes: vec![Axis { len: 32, from: 1, to: 1 }] };
    let chain = |links: usize| {
        let mut changed = plan.clone();
        for at in 1..=links {
            let arrange = Arrange { len: 64, blocks: vec![half(0, 0), half(1, 32)] };
            let gate = Gate::Arrange(Rearrange { arrange, multipliers: vec![1, 1] });
            let input = at as u32 - 1;
            let twice = Entry { name: format!("twice {at}"), inputs: vec![input; 2], scale: plan.gates[0].scale, gate };
            insert(&mut changed, at, twice, Some(at));
        }
        changed
    };
    // As deep as no network is, and still run at once.
    chain(4).check().unwrap();
    for links in [12, 60, 2000] {
        let reason = reason(&chain(links));
        assert!(reason.contains("made of too many others"), "{links} links: {reason}");
    }
}

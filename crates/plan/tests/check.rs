//! What a plan must be like: the type check, the digest, the file.

mod common;

use std::path::Path;

use ariann_gates::linear::Weights;
use ariann_gates::open::Open;
use ariann_gates::relu::Relu;
use ariann_gates::reveal::Reveal;
use ariann_gates::{LinearShape, Party, Receiver, Window, Windows};
use ariann_plan::{CheckError, Entry, Gate, Plan, PlanFileError, Revealed};
use common::*;
use serde_json::Value;

#[test]
fn compiled_plans_are_accepted_and_survive_the_file() {
    for plan in plans() {
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
    for plan in plans().into_iter().step_by(5) {
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
    hold("version 2", &|plan| plan.version = 2);
    hold("ring is neither", &|plan| plan.ring = 16);
    hold("another ring", &|plan| plan.scales.ring_bits = 64);
    hold("do not match its linear gates", &|plan| plan.scales.layers.truncate(3));
    hold("input shape", &|plan| plan.input.shape = vec![usize::MAX, 2]);
    hold("input shape", &|plan| plan.input.shape = vec![0]);
    hold("input range", &|plan| plan.input.range = [1.0, 0.0]);
    hold("input range", &|plan| plan.input.range = [f64::NAN, 0.0]);
    hold("input scale", &|plan| plan.input.scale = 0.0);
    hold("deviation", &|plan| plan.input.std = vec![0.0]);
    hold("mean", &|plan| plan.input.mean = vec![f32::NAN]);
    hold("number of gates", &|plan| {
        plan.gates.truncate(2);
        plan.scales.layers.truncate(1);
    });
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
    hold("scales are not those", &|plan| plan.scales.layers[0].shift += 1);
    hold("scales are not those", &|plan| plan.scales.layers[0].weight_frac += 1);
    hold("scales are not those", &|plan| plan.output.frac_bits += 1);
    hold("scales are not those", &|plan| plan.scales.layers[0].weight_frac = i32::MAX);
    hold("scales are not those", &|plan| plan.scales.layers[3].truncated = true);

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
    gate!("another gate's", "linear", Linear, |gate: &mut ariann_gates::linear::Linear| gate.source = 3);
    gate!("masked by others", "linear", Linear, |gate: &mut ariann_gates::linear::Linear| gate.masked_by =
        [true, true]);
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
}

/// Wires whose mask is not the words of the gate before them enter no linear layer and are not revealed: a party would take
/// another wire's mask for theirs.
#[test]
fn masks_of_other_wires_are_never_taken() {
    let mut plan = plans().remove(1);
    let number = find(&plan, "max");
    let Gate::Max(max) = plan.gates[number].gate.clone() else { unreachable!() };
    let open = number - 1;
    let Gate::Open(opened) = &mut plan.gates[open].gate else { unreachable!() };
    opened.window = Window { shift: 0, top: 32 };
    let len = max.windows.len_before(1);
    let wide = Gate::Max(ariann_gates::max::Max { width: 32, ..max });
    let reveal = Gate::Reveal(Reveal { len, width: 32, to: Receiver::P1 });
    plan.output.classes = len;
    plan.gates.truncate(number);
    plan.gates.extend([wide, reveal].map(|gate| Entry { name: "made".into(), gate }));
    plan.scales.layers.truncate(1);
    let CheckError::Gate { reason, .. } = plan.check().unwrap_err() else { panic!() };
    assert!(reason.contains("mask"), "{reason}");
    // An input goes into a linear layer and nowhere else: only its owner masks it.
    let mut plan = plans().remove(1);
    plan.gates
        .insert(1, Entry { name: "made".into(), gate: Gate::Relu(Relu { len: 64, width: 32, to: Receiver::Both }) });
    assert!(plan.check().is_err());
    plan.gates[1].gate = Gate::Reveal(Reveal { len: 64, width: 32, to: Receiver::P0 });
    assert!(plan.check().is_err());
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
    assert!(matches!(read(&text.replace("\"version\": 1", "\"version\": 7")), PlanFileError::Check { .. }));
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

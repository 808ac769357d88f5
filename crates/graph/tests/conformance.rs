//! The node tests of the `onnx` package: every case whose operators are in the table computes what it should, or is
//! refused for one of the limits below.
//!
//! `scripts/onnx_conformance.py FOLDER` writes the cases, `ARIANN_ONNX_CASES=FOLDER` names them.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ariann_graph::{Executor, import, supported_operators};
use common::{floats, max_difference};
use serde_json::Value;

/// Limits of what is supported, by words of the refusal; a refusal of any other kind is a failure.
const LIMITS: &[(&str, &str)] = &[
    ("not channels, height, width", "images are two-dimensional"),
    ("batch axis", "the batch axis stays first and apart"),
    ("axis 0 mixes items", "the batch axis stays first and apart"),
    ("mixes items of a batch", "flattens to [N, features]"),
    ("does not keep the batch axis", "the batch axis stays first and apart"),
    ("drops the batch axis", "the batch axis stays first and apart"),
    ("does not spread over items", "constants differ between items, or enlarge them"),
    ("axes besides the batch", "dense layers take [N, features]"),
    ("its weights have", "dense layers have one matrix"),
    ("transA", "dense layers take items in rows"),
    ("its further output", "only the first output"),
    ("training mode", "inference only"),
    ("not supported by itself", "Erf and Pow only in Gelu"),
    ("two values that depend on the input", "products of values only in Gelu"),
    ("exponents are not one number", "Erf and Pow only in Gelu"),
    ("joins constants to values", "only values are joined to values"),
    ("holds no values", "values without elements"),
    ("all logits of an item", "LogSoftmax over all logits at the end"),
    ("leave one value", "limits that leave one value"),
    ("does not depend on it through any layer", "a layer that changes nothing"),
    ("elements of type", "float32 and integers"),
    ("it converts to", "float32 and integers"),
    ("mode \"wrap\"", "padding by constants, edges and reflection"),
    ("attribute \"axes\"", "padding by constants, edges and reflection"),
    ("all its inputs are constants", "no value depends on the input"),
    ("only one constant an output", "a bias an output"),
];

fn folder() -> Option<String> {
    let folder = std::env::var("ARIANN_ONNX_CASES").ok().filter(|folder| Path::new(folder).is_dir());
    if folder.is_none() {
        println!("skipped: no ONNX node tests (ARIANN_ONNX_CASES names no folder of scripts/onnx_conformance.py)");
    }
    folder
}

/// Softmax or its logarithm, where it was left to the receiver of the logits.
fn receive(operators: &BTreeSet<String>, values: &mut [f32], classes: usize) {
    let log = operators.contains("LogSoftmax");
    for row in values.chunks_exact_mut(classes) {
        let greatest = row.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = row.iter().map(|value| (value - greatest).exp()).sum();
        row.iter_mut().for_each(|value| {
            *value = if log { *value - greatest - sum.ln() } else { (*value - greatest).exp() / sum };
        });
    }
}

enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

fn run(folder: &Path, name: &str, items: usize, operators: &BTreeSet<String>) -> Outcome {
    let graph = match import(&folder.join(format!("{name}.onnx"))) {
        Ok(graph) => graph,
        Err(error) => {
            let text = error.to_string();
            let limit = LIMITS.iter().find(|(words, _)| text.contains(words));
            return limit.map_or(Outcome::Failed(text), |(_, limit)| Outcome::Skipped(limit.to_string()));
        }
    };
    let file = floats(&folder.join(format!("{name}.f32")));
    let (x, wanted) = file.split_at(items * graph.input.len());
    let mut result = match Executor::new(&graph).run(items, x) {
        Ok(result) => result,
        Err(error) => return Outcome::Skipped(format!("the input is refused ({error})")),
    };
    if graph.softmax {
        receive(operators, &mut result, graph.output_len());
    }
    if result.len() != wanted.len() {
        return Outcome::Failed(format!("{} values instead of {}", result.len(), wanted.len()));
    }
    let scale = wanted.iter().fold(1f32, |scale, value| scale.max(value.abs()));
    let difference = max_difference(&result, wanted);
    if difference <= 1e-4 * scale { Outcome::Passed } else { Outcome::Failed(format!("differs by {difference}")) }
}

#[test]
fn node_tests_of_onnx() {
    let Some(folder) = folder() else { return };
    let folder = Path::new(&folder);
    let text = std::fs::read_to_string(folder.join("cases.json")).expect("the script wrote a list");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("it is a list");
    let claimed: BTreeSet<String> = supported_operators().iter().map(|row| row.name.to_string()).collect();
    let (mut passed, mut covered) = (0, BTreeSet::new());
    let mut skipped: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut other, mut failed) = (0, Vec::new());
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        let operators = case["operators"].as_array().expect("operators").iter();
        let operators: BTreeSet<String> = operators.map(|name| name.as_str().expect("a name").to_string()).collect();
        if !operators.is_subset(&claimed) {
            other += 1;
            continue;
        }
        let outcome = match case["skip"].as_str() {
            Some(reason) => Outcome::Skipped(reason.to_string()),
            None => run(folder, name, case["items"].as_u64().expect("items") as usize, &operators),
        };
        match outcome {
            Outcome::Passed => {
                passed += 1;
                covered.extend(operators);
            }
            Outcome::Skipped(reason) => skipped.entry(reason).or_default().push(name.to_string()),
            Outcome::Failed(reason) => failed.push(format!("{name}: {reason}")),
        }
    }
    println!("{passed} node tests of ONNX passed, {other} have operators that are not supported");
    for (reason, names) in &skipped {
        println!("skipped: {} node tests: {reason} ({})", names.len(), names.join(", "));
    }
    assert!(failed.is_empty(), "{} node tests failed:\n{}", failed.len(), failed.join("\n"));
    let missing: Vec<_> =
        ["Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "Gelu", "MaxPool", "Pad"]
            .into_iter()
            .filter(|operator| !covered.contains(*operator))
            .collect();
    assert!(missing.is_empty(), "no node test of {missing:?} was computed");
}

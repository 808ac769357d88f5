//! Model files, plan files, configuration.

use std::path::Path;

use ariann_fss::Party;
use ariann_gates::Receiver;
use ariann_gates::linear::Weights;
use ariann_graph::Graph;
use ariann_plan::{Link, Optimize, Options, Pixels, Plan, Reveal, Revealed, SignChoice};
use ariann_session::config::{DealConfig, QueryConfig, ServeConfig};

/// An ONNX file.
pub fn onnx(bytes: &[u8]) {
    let Ok(graph) = ariann_graph::import_bytes(bytes) else { return };
    for node in &graph.nodes {
        let len = node.shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        assert!(len.is_some(), "node {} has a shape that overflows: {:?}", node.name, node.shape);
    }
}

/// An ONNX file that is read, with proven ranges, compiled in every mode, and priced.
pub fn model_to_plan(bytes: &[u8]) {
    let Ok(graph) = ariann_graph::import_bytes(bytes) else { return };
    if work(&graph) > 1 << 20 {
        return;
    }
    let Ok(ranges) = ariann_graph::interval(&graph, 0.0, 1.0) else { return };
    for (ring, weights, what) in [
        (32, Weights::Held, Revealed::Logits),
        (32, Weights::Shared, Revealed::Label),
        (64, Weights::Public, Revealed::Logits),
        (64, Weights::Held, Revealed::Label),
    ] {
        if let Ok(plan) = ariann_plan::compile(&graph, &ranges, &options(ring, weights, what)) {
            plan.check().expect("a compiled plan fits together");
            price(&plan);
        }
    }
}

/// The options of a plan for inputs between 0 and 1.
pub fn options(ring: u32, weights: Weights, what: Revealed) -> Options {
    Options {
        ring,
        weights,
        reveal: Reveal { what, to: Receiver::only(Party::P1) },
        input_range: [0.0, 1.0],
        pixels: Pixels::default(),
        scale: 255.0,
        mean: Vec::new(),
        std: Vec::new(),
        optimize: Optimize::default(),
        sign: SignChoice::default(),
        link: Link::LOOPBACK,
        items: 1,
    }
}

/// About the multiply-adds of one item.
fn work(graph: &Graph) -> usize {
    graph.nodes.iter().map(|node| node.len()).sum::<usize>().saturating_mul(graph.input.len())
}

/// A plan file.
pub fn plan_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(plan) = Plan::from_json(text, Path::new("plan.json"))
    {
        price(&plan);
    }
}

/// A plan with a digest that fits, as somebody who wants to do harm would write it.
pub fn plan_fields(bytes: &[u8]) {
    let Ok(mut file) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let Some(plan) = file.get_mut("plan").map(serde_json::Value::take) else { return };
    if let Ok(plan) = serde_json::from_value::<Plan>(plan)
        && plan.check().is_ok()
    {
        let again = Plan::from_json(&plan.to_json(), Path::new("plan.json")).expect("a plan that checks is read back");
        assert!(again == plan, "a plan is read back as it was written");
        price(&plan);
    }
}

/// What dealer and parties ask a plan for before they work.
fn price(plan: &Plan) {
    let _ = plan.totals(1);
    for party in [Party::P0, Party::P1] {
        let _ = ariann_session::expected(plan, party);
        let _ = ariann_session::prepared_expected(plan, party);
    }
}

/// The configuration file of each role.
pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = toml::from_str::<ServeConfig>(text).map(|config| config.deadlines.limits());
        let _ = toml::from_str::<QueryConfig>(text).map(|config| config.deadlines.limits());
        let _ = toml::from_str::<DealConfig>(text).map(|config| config.deadlines.limits());
        let _ = ariann_session::config::pin(text, "P0");
    }
}

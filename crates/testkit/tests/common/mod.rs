//! What a search for weights and images looks for, and the control messages that fake roles send.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod wire;

use ariann_graph::Graph;
use ariann_plan::{Plan, encode_weights};
use ariann_testkit::traces::Needles;

/// All layers' weights, as float32 and as the ring elements that the plan makes of them.
pub fn weights(graph: &Graph, plan: &Plan) -> Needles {
    let mut needles = Needles::default();
    let words = encode_weights::<u32>(plan, graph).unwrap();
    for (node, words) in graph.linear_nodes().zip(words) {
        needles.add_floats(graph.nodes[node].op.weights().unwrap().data());
        needles.add_words(&words.weights);
    }
    needles
}

/// Images as bytes, as float32 and as ring elements.
pub fn images(values: &[f32], plan: &Plan) -> Needles {
    let bytes: Vec<u8> = values.iter().map(|value| (value * 255.0).round() as u8).collect();
    let words: Vec<u32> =
        values.iter().map(|value| (f64::from(*value) * f64::from(plan.input_frac()).exp2()).round() as u32).collect();
    let mut needles = Needles::default();
    needles.add(&bytes, 1);
    needles.add_floats(values);
    needles.add_words(&words);
    needles
}

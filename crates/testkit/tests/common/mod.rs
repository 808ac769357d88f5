//! What a search for weights and images looks for, and the control messages that fake roles send.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod wire;

use ariann_graph::{Graph, clear};
use ariann_plan::Plan;
use ariann_testkit::traces::Needles;

/// All layers' weights, as float32 and as the ring elements that the plan makes of them.
pub fn weights(graph: &Graph, plan: &Plan) -> Needles {
    let mut needles = Needles::default();
    let mut f_x = plan.scales.input_frac;
    for (node, scale) in graph.linear_nodes().zip(&plan.scales.layers) {
        let f_z = f_x + scale.weight_frac;
        let node = &graph.nodes[node];
        needles.add_floats(node.op.weights().unwrap().data());
        needles.add_words(&clear::encode_weights::<u32>(node, scale.weight_frac, f_z).unwrap().0);
        f_x = f_z - scale.shift as i32;
    }
    needles
}

/// Images as bytes, as float32 and as ring elements.
pub fn images(values: &[f32], plan: &Plan) -> Needles {
    let bytes: Vec<u8> = values.iter().map(|value| (value * 255.0).round() as u8).collect();
    let words: Vec<u32> = values
        .iter()
        .map(|value| (f64::from(*value) * f64::from(plan.scales.input_frac).exp2()).round() as u32)
        .collect();
    let mut needles = Needles::default();
    needles.add(&bytes, 1);
    needles.add_floats(values);
    needles.add_words(&words);
    needles
}

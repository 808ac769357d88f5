//! Weights as the ring elements that the plan's scales make of them.

use ariann_graph::{Graph, Node};
use ariann_ring::{FixedError, Ring, fixed};

use crate::{Plan, Scale};

/// Weights that cannot become ring elements.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// A weight or bias does not fit.
    #[error("model: layer \"{layer}\": {source}; calibrate with other items, or use --ring 64")]
    Value {
        /// The layer.
        layer: String,
        /// What is wrong.
        source: FixedError,
    },
    /// The plan belongs to a model with other layers.
    #[error("model: it has {layers} layers with weights, the plan {planned}; plan this model again")]
    Layers {
        /// Linear gates of the plan.
        planned: usize,
        /// Linear layers of the model.
        layers: usize,
    },
}

/// Ring elements of one linear layer.
pub struct LayerWords<R> {
    /// The gate.
    pub gate: u32,
    /// Weights, row-major as in the layer.
    pub weights: Vec<R>,
    /// One value an output channel, or one an output place; zeros where the layer has none.
    pub bias: Vec<R>,
}

/// Weights and biases of every linear gate of `plan`, in order.
pub fn encode_weights<R: Ring>(plan: &Plan, graph: &Graph) -> Result<Vec<LayerWords<R>>, EncodeError> {
    let nodes: Vec<&Node> = graph.linear_nodes().map(|node| &graph.nodes[node]).collect();
    let planned = plan.linear_gates().count();
    if nodes.len() != planned {
        return Err(EncodeError::Layers { planned, layers: nodes.len() });
    }
    let gates = plan.linear_gates().map(|(gate, _)| gate);
    nodes.into_iter().zip(gates).map(|(node, gate)| encode(plan, node, gate)).collect()
}

fn encode<R: Ring>(plan: &Plan, node: &Node, gate: u32) -> Result<LayerWords<R>, EncodeError> {
    let entry = &plan.gates[gate as usize];
    let operand: Scale = plan.gates[entry.inputs[0] as usize].scale;
    let all = |values: &[f32], frac: i32, divisor: u32| {
        let encoded = values.iter().map(|&value| fixed::encode::<R>(f64::from(value) / f64::from(divisor), frac));
        encoded.collect::<Result<Vec<R>, _>>().map_err(|source| EncodeError::Value { layer: node.name.clone(), source })
    };
    let weights = node.op.weights().expect("a linear layer").data();
    let bias = match node.op.bias() {
        Some(bias) => all(bias, entry.scale.frac, 1)?,
        None => vec![R::ZERO; node.shape[0]],
    };
    // The operand's constant factor is taken out by the weights.
    Ok(LayerWords { gate, weights: all(weights, entry.scale.frac - operand.frac, operand.factor)?, bias })
}

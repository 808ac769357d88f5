//! Value ranges: what a plan needs to know of a model to choose scales and windows, observed on sample items.

use serde::{Deserialize, Serialize};

/// Ranges of a model's values, from which scales and windows are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    /// Where they come from.
    pub source: RangeSource,
    /// The graph's input.
    pub input: InputRange,
    /// The linear layers, in the order of [`crate::Graph::linear_nodes`].
    pub layers: Vec<LayerRange>,
}

/// Where ranges come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeSource {
    /// Observed; other items may go beyond.
    Calibrated {
        /// Number of items observed.
        items: usize,
    },
    /// Interval bounds: no item inside the declared input range goes beyond.
    Proven,
}

/// Range of a graph's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputRange {
    /// Greatest magnitude.
    pub max_abs: f64,
    /// Root mean square.
    pub rms: f64,
}

/// Range of one linear layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRange {
    /// The layer's name.
    pub name: String,
    /// Greatest magnitude of its output, bias included, before pooling and ReLU.
    pub max_abs: f64,
    /// Greatest magnitude of its input.
    pub input_max: f64,
    /// Root mean square of its input.
    pub input_rms: f64,
    /// Root mean square of its weights.
    pub weight_rms: f64,
    /// Greatest magnitude of its weights and biases.
    pub weight_max: f64,
}

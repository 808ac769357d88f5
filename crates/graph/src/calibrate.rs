//! Value ranges: what a plan needs to know of a model to choose scales and windows, observed on sample items.

use serde::{Deserialize, Serialize};

use crate::executor::{ExecuteError, Executor};
use crate::graph::{Graph, Node};

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

/// Why no ranges were observed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrateError {
    /// There is nothing to observe.
    #[error("calibration: no items were given; give at least one, better 20 to 100, of the kind that will come")]
    NoItems,
    /// The items do not fit the model.
    #[error("calibration: {0}")]
    Items(#[from] ExecuteError),
    /// A layer leaves the range of floats.
    #[error("model: layer \"{layer}\" leaves the range of float32 on the calibration items; check model and scale")]
    NotFinite {
        /// The layer.
        layer: String,
    },
}

/// Observes the ranges of `items` items, computed in `f32`.
pub fn calibrate(graph: &Graph, items: usize, x: &[f32]) -> Result<Ranges, CalibrateError> {
    if items == 0 {
        return Err(CalibrateError::NoItems);
    }
    let mut seen: Vec<(Magnitude, Magnitude)> = vec![Default::default(); graph.nodes.len()];
    Executor::new(graph).run_observed(items, x, |step| {
        if step.layer.op.is_linear() {
            let (input, output) = &mut seen[step.node];
            input.observe(step.inputs[0]);
            output.observe(step.output);
        }
    })?;
    let mut input = Magnitude::default();
    input.observe(x);
    let layers = graph.linear_nodes().map(|node| {
        let (input, output) = seen[node];
        let layer = &graph.nodes[node];
        if !output.max_abs.is_finite() {
            return Err(CalibrateError::NotFinite { layer: layer.name.clone() });
        }
        Ok(layer_range(layer, output.max_abs, input.max_abs, input.rms()))
    });
    let layers = layers.collect::<Result<_, _>>()?;
    let input = InputRange { max_abs: input.max_abs, rms: input.rms() };
    Ok(Ranges { source: RangeSource::Calibrated { items }, input, layers })
}

/// The record of one layer, its weights looked at here.
pub(crate) fn layer_range(layer: &Node, max_abs: f64, input_max: f64, input_rms: f64) -> LayerRange {
    let mut weights = Magnitude::default();
    weights.observe(layer.op.weights().map_or(&[], |weights| weights.data()));
    let mut bias = Magnitude::default();
    bias.observe(layer.op.bias().unwrap_or(&[]));
    LayerRange {
        name: layer.name.clone(),
        max_abs,
        input_max,
        input_rms,
        weight_rms: weights.rms(),
        weight_max: weights.max_abs.max(bias.max_abs),
    }
}

/// Greatest magnitude and mean square of values seen.
#[derive(Clone, Copy, Debug, Default)]
struct Magnitude {
    max_abs: f64,
    squares: f64,
    count: usize,
}

impl Magnitude {
    fn observe(&mut self, values: &[f32]) {
        for &value in values {
            let value = f64::from(value);
            // A NaN must not be lost in a comparison.
            self.max_abs = if value.is_nan() { f64::INFINITY } else { self.max_abs.max(value.abs()) };
            self.squares += value * value;
        }
        self.count += values.len();
    }

    fn rms(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }
}

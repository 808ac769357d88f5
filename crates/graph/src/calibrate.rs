//! Value ranges: what a plan needs to know of a model to choose scales and windows, observed on sample items.

use serde::{Deserialize, Serialize};

use crate::executor::{ExecuteError, Executor};
use crate::graph::{Graph, Node, ValueId};

/// Ranges of a model's values, from which scales and windows are chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    /// Where they come from.
    pub source: RangeSource,
    /// The graph's input.
    pub input: ValueRange,
    /// The layers, one entry a node, in order.
    pub nodes: Vec<NodeRange>,
}

impl Ranges {
    /// Range of a value of the graph.
    pub fn value(&self, value: ValueId) -> ValueRange {
        value.node().map_or(self.input, |node| self.nodes[node].output)
    }
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

/// Range of a value of the graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueRange {
    /// Greatest magnitude.
    pub max_abs: f64,
    /// Root mean square.
    pub rms: f64,
}

/// Range of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRange {
    /// The layer's name.
    pub name: String,
    /// Its output, bias included.
    pub output: ValueRange,
    /// Its weights; zero where it has none. The greatest magnitude is that of weights and biases.
    pub weights: ValueRange,
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
    let start = || vec![Magnitude::default(); graph.nodes.len()];
    let parts = Executor::new(graph).observe_all(items, x, start, |seen, step| seen[step.node].observe(step.output))?;
    // Merged in the order of items, so that the ranges do not depend on the number of threads.
    let mut seen = start();
    for part in &parts {
        seen.iter_mut().zip(part).for_each(|(all, part)| all.merge(part));
    }
    let mut input = Magnitude::default();
    input.observe(x);
    let nodes = graph.nodes.iter().zip(seen).map(|(layer, output)| {
        if !output.max_abs.is_finite() {
            return Err(CalibrateError::NotFinite { layer: layer.name.clone() });
        }
        Ok(node_range(layer, output.range()))
    });
    let nodes = nodes.collect::<Result<_, _>>()?;
    Ok(Ranges { source: RangeSource::Calibrated { items }, input: input.range(), nodes })
}

/// The record of one layer, its weights looked at here.
pub(crate) fn node_range(layer: &Node, output: ValueRange) -> NodeRange {
    let mut weights = Magnitude::default();
    weights.observe(layer.op.weights().map_or(&[], |weights| weights.data()));
    let mut bias = Magnitude::default();
    bias.observe(layer.op.bias().unwrap_or(&[]));
    let weights = ValueRange { max_abs: weights.max_abs.max(bias.max_abs), rms: weights.rms() };
    NodeRange { name: layer.name.clone(), output, weights }
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

    fn merge(&mut self, other: &Magnitude) {
        self.max_abs = self.max_abs.max(other.max_abs);
        self.squares += other.squares;
        self.count += other.count;
    }

    fn range(&self) -> ValueRange {
        ValueRange { max_abs: self.max_abs, rms: self.rms() }
    }

    fn rms(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }
}

//! Interval bounds: ranges proven for every input inside a declared range.
//!
//! Each value of each layer gets its own interval. A linear layer maps centre c and radius r to W·c + b and |W|·r, which
//! equals the sums over positive and negative weights; pooling and ReLU map the ends. The intervals are widened by the
//! rounding of `f32` and `f64` sums, so they hold for the float executor as well as for exact arithmetic; the rounding
//! of fixed point is the business of the plan's margin. Bounds grow by a factor a layer and are loose for deep networks.

use crate::calibrate::{RangeSource, Ranges, ValueRange, node_range};
use crate::executor::last_uses;
use crate::function::Function;
use crate::graph::{BatchNorm, Graph, Node, Op, ValueId};
use crate::linear;

/// Why nothing was proven.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IntervalError {
    /// No interval.
    #[error("input range [{lo}, {hi}] is empty or not finite; declare the range that preprocessing gives")]
    Range {
        /// Lower end.
        lo: f32,
        /// Upper end.
        hi: f32,
    },
    /// Not one interval, one a channel or one a value.
    #[error("{got} input ranges were declared for items of shape {shape:?}; give one, or one a channel")]
    Count {
        /// Intervals given.
        got: usize,
        /// The model's input.
        shape: Vec<usize>,
    },
    /// Bounds beyond every number.
    #[error("model: the bounds of layer \"{layer}\" leave the range of numbers; calibrate on sample items instead")]
    NotFinite {
        /// The layer.
        layer: String,
    },
}

/// Proves ranges for inputs with every value in `[lo, hi]`.
///
/// Root mean squares are estimates: those of values spread evenly over their intervals.
pub fn interval(graph: &Graph, lo: f32, hi: f32) -> Result<Ranges, IntervalError> {
    interval_by_channel(graph, &[(lo, hi)])
}

/// The same with one range for all values, one a channel (the first axis of an item), or one a value.
pub fn interval_by_channel(graph: &Graph, ranges: &[(f32, f32)]) -> Result<Ranges, IntervalError> {
    let input = input_intervals(graph, ranges)?;
    let mut values: Vec<Option<Intervals>> = vec![Some(input.clone())];
    let mut nodes = Vec::new();
    let last_use = last_uses(graph);
    for (index, layer) in graph.nodes.iter().enumerate() {
        let inputs: Vec<&Intervals> = layer.inputs.iter().map(|value| held(&values, *value)).collect();
        let output = propagate(layer, &inputs);
        if !output.max_abs().is_finite() {
            return Err(IntervalError::NotFinite { layer: layer.name.clone() });
        }
        nodes.push(node_range(layer, output.range()));
        for &input in layer.inputs.iter().filter(|input| last_use[input.0] == index) {
            values[input.0] = None;
        }
        values.push(Some(output));
    }
    Ok(Ranges { source: RangeSource::Proven, input: input.range(), nodes })
}

/// One interval a value.
#[derive(Clone)]
struct Intervals {
    lo: Vec<f64>,
    hi: Vec<f64>,
}

impl Intervals {
    fn max_abs(&self) -> f64 {
        // A sum of infinities of both signs is NaN, which `f64::max` would drop.
        let magnitude = |&x: &f64| if x.is_nan() { f64::INFINITY } else { x.abs() };
        self.lo.iter().chain(&self.hi).map(magnitude).fold(0.0, f64::max)
    }

    fn range(&self) -> ValueRange {
        ValueRange { max_abs: self.max_abs(), rms: self.rms() }
    }

    fn rms(&self) -> f64 {
        let square = |(lo, hi): (&f64, &f64)| (lo * lo + lo * hi + hi * hi) / 3.0;
        let sum: f64 = self.lo.iter().zip(&self.hi).map(square).sum();
        (sum / self.lo.len().max(1) as f64).sqrt()
    }
}

fn held(values: &[Option<Intervals>], value: ValueId) -> &Intervals {
    values[value.0].as_ref().expect("a value is kept until its last use")
}

fn input_intervals(graph: &Graph, ranges: &[(f32, f32)]) -> Result<Intervals, IntervalError> {
    if let Some(&(lo, hi)) = ranges.iter().find(|(lo, hi)| !(lo.is_finite() && hi.is_finite() && lo <= hi)) {
        return Err(IntervalError::Range { lo, hi });
    }
    let len = graph.input.len();
    let channels = graph.input.shape[0];
    if ![1, channels, len].contains(&ranges.len()) {
        return Err(IntervalError::Count { got: ranges.len(), shape: graph.input.shape.clone() });
    }
    let each = len / ranges.len();
    let spread = |end: fn(&(f32, f32)) -> f32| (0..len).map(|i| f64::from(end(&ranges[i / each]))).collect();
    Ok(Intervals { lo: spread(|range| range.0), hi: spread(|range| range.1) })
}

fn propagate(layer: &Node, inputs: &[&Intervals]) -> Intervals {
    let x = inputs[0];
    match &layer.op {
        Op::Dense(_) | Op::Conv(_) => linear_layer(layer, x),
        Op::Relu => {
            let cut = |ends: &[f64]| ends.iter().map(|end| end.max(0.0)).collect();
            Intervals { lo: cut(&x.lo), hi: cut(&x.hi) }
        }
        Op::MaxPool(pool) => {
            let pooled = |ends: &[f64]| {
                let mut out = vec![0.0; layer.len()];
                pool.apply(1, ends, &mut out, f64::max);
                out
            };
            Intervals { lo: pooled(&x.lo), hi: pooled(&x.hi) }
        }
        Op::Add => {
            let sum = |a: &[f64], b: &[f64], direction: f64| {
                let widened = |(a, b): (&f64, &f64)| a + b + direction * f64::from(f32::EPSILON) * (a.abs() + b.abs());
                a.iter().zip(b).map(widened).collect()
            };
            Intervals { lo: sum(&x.lo, &inputs[1].lo, -1.0), hi: sum(&x.hi, &inputs[1].hi, 1.0) }
        }
        Op::Reshape | Op::Dropout { .. } => x.clone(),
        Op::BatchNorm(norm) => normalised(norm, x),
        Op::Clip { lo, hi } => {
            let cut = |ends: &[f64]| ends.iter().map(|end| end.clamp(f64::from(*lo), f64::from(*hi))).collect();
            Intervals { lo: cut(&x.lo), hi: cut(&x.hi) }
        }
        Op::AvgPool(average) => {
            let pooled = |ends: &[f64]| {
                let mut out = vec![0.0; layer.len()];
                average.apply(1, ends, &mut out, |a, b| a + b, |sum, count| sum / f64::from(count));
                out
            };
            let magnitudes: Vec<f64> = x.lo.iter().zip(&x.hi).map(|(lo, hi)| lo.abs().max(hi.abs())).collect();
            let terms = (average.pool.kernel[0] * average.pool.kernel[1] + 1) as f64;
            let slack = pooled(&magnitudes).into_iter().map(|size| terms * f64::from(f32::EPSILON) * size);
            let (lo, hi) = (pooled(&x.lo), pooled(&x.hi));
            let widened = slack.zip(lo.into_iter().zip(hi)).map(|(slack, (lo, hi))| (lo - slack, hi + slack));
            let (lo, hi) = widened.unzip();
            Intervals { lo, hi }
        }
        Op::Arrange(arrange) => {
            let arranged = |end: fn(&Intervals) -> &[f64]| {
                let mut out = vec![0.0; layer.len()];
                arrange.apply(1, &inputs.iter().map(|x| end(x)).collect::<Vec<_>>(), &mut out);
                out
            };
            Intervals { lo: arranged(|x| &x.lo), hi: arranged(|x| &x.hi) }
        }
        Op::Function(function) => through(*function, x),
        Op::Softmax(_) => Intervals { lo: vec![0.0; layer.len()], hi: vec![1.0; layer.len()] },
    }
}

/// By running statistics.
fn normalised(norm: &BatchNorm, x: &Intervals) -> Intervals {
    let (scale, shift) = norm.scale_shift();
    let places = x.lo.len() / scale.len().max(1);
    let ends = x.lo.iter().zip(&x.hi).enumerate().map(|(element, (&lo, &hi))| {
        let (scale, shift) = (scale[element / places], shift[element / places]);
        let (a, b) = (lo * scale, hi * scale);
        let slack = f64::from(f32::EPSILON) * (a.abs().max(b.abs()) + shift.abs());
        (a.min(b) + shift - slack, a.max(b) + shift + slack)
    });
    let (lo, hi) = ends.unzip();
    Intervals { lo, hi }
}

/// The functions rise, or fall to one least value and rise from there.
fn through(function: Function, x: &Intervals) -> Intervals {
    let widen = |value: f64, direction: f64| value + direction * f64::from(f32::EPSILON) * value.abs();
    let ends = x.lo.iter().zip(&x.hi).map(|(&lo, &hi)| {
        let (at_lo, at_hi) = (function.of(lo), function.of(hi));
        let least = function.least_at().map(|least| function.of(least.clamp(lo, hi)));
        (widen(least.unwrap_or(at_lo).min(at_lo).min(at_hi), -1.0), widen(at_lo.max(at_hi), 1.0))
    });
    let (lo, hi) = ends.unzip();
    Intervals { lo, hi }
}

fn linear_layer(layer: &Node, x: &Intervals) -> Intervals {
    let weights: Vec<f64> = layer.op.weights().expect("a linear layer").data().iter().map(|&w| w.into()).collect();
    let magnitudes: Vec<f64> = weights.iter().map(|w| w.abs()).collect();
    let bias: Option<Vec<f64>> = layer.op.bias().map(|bias| bias.iter().map(|&b| b.into()).collect());
    let bias_magnitudes: Option<Vec<f64>> = bias.as_ref().map(|bias| bias.iter().map(|b| b.abs()).collect());
    let of = |end: fn(f64, f64) -> f64| -> Vec<f64> { x.lo.iter().zip(&x.hi).map(|(&lo, &hi)| end(lo, hi)).collect() };
    let apply = |weights: &[f64], bias: Option<&[f64]>, x: &[f64]| {
        let mut out = vec![0.0; layer.len()];
        linear::apply(&layer.op, 1, weights, bias, x, &mut out);
        out
    };
    let centre = apply(&weights, bias.as_deref(), &of(|lo, hi| (lo + hi) / 2.0));
    let radius = apply(&magnitudes, None, &of(|lo, hi| (hi - lo) / 2.0));
    // Any sum of n products in f32, in any order, errs by at most n·u/(1 - n·u) times the sum of magnitudes.
    let size = apply(&magnitudes, bias_magnitudes.as_deref(), &of(|lo, hi| lo.abs().max(hi.abs())));
    let terms = (layer.op.weights().expect("a linear layer").data().len() / layer.shape[0] + 2) as f64;
    let unit = terms * f64::from(f32::EPSILON) / 2.0;
    let slack = if unit < 0.5 { unit / (1.0 - unit) } else { f64::INFINITY };
    // The least normal number covers results that underflow.
    let least = terms * f64::from(f32::MIN_POSITIVE);
    let end = |direction: f64| -> Vec<f64> {
        let parts = centre.iter().zip(&radius).zip(&size);
        parts.map(|((centre, radius), size)| centre + direction * (radius + 1.01 * slack * size + least)).collect()
    };
    Intervals { lo: end(-1.0), hi: end(1.0) }
}

//! Batch normalisation as sums and products, forwards and backwards.
//!
//! With N values a channel: μ = Σz/N, c = z - μ, v = Σc²/N, r = 1/√(v + ε), y = γ·r·c + β. Gradients, from d of y:
//! dβ = Σd, dγ = r·Σd·c, and dz = γ·r·(d - dβ/N - c·r·dγ/N), each term computed by itself.

use ariann_ring::{Axes, Bilinear};

use super::layers::{ParameterGradient, Pass};
use super::states::Parameter;
use super::step::StepOp;
use crate::Function;
use crate::graph::{BatchNorm, Node};

/// What the backward step needs of the forward one: nodes.
pub(super) struct Norm {
    gamma: Parameter,
    beta: Parameter,
    trained: bool,
    centred: usize,
    /// r.
    inverse: usize,
    /// γ·r.
    factor: usize,
    axes: Axes,
}

impl Norm {
    /// Normalises by the statistics of the batch or by the running ones.
    pub fn forward(
        pass: &mut Pass<'_>,
        index: usize,
        layer: &Node,
        norm: &BatchNorm,
        z: usize,
        batch_statistics: bool,
    ) -> (Norm, usize) {
        let states = &pass.states.layers[index];
        let (gamma, beta) = (states.weights.expect("γ is a state"), states.bias.expect("β is a state"));
        let [mean_state, variance_state] = states.statistics.expect("statistics are states");
        let trained = states.trained;
        let kept = norm.gamma.len();
        let axes = Axes { outer: pass.batch, kept, inner: layer.len() / kept };
        let part = |part: &str| format!("{}.{part}", layer.name);
        // Statistics that never move are not read where the batch has its own.
        let moves = norm.momentum > 0.0;
        let mut state = |state| (moves || !batch_statistics).then(|| (state, pass.state(state)));
        let running = state(mean_state).zip(state(variance_state));
        let (centred, variance) = if batch_statistics {
            let count = axes.terms() as f64;
            let sum = pass.builder.reduce(&part("sum"), axes, z);
            let mean = pass.builder.scale(&part("mean"), 1.0 / count, sum);
            let spread = pass.builder.spread(&part("mean.spread"), axes, mean);
            let centred = pass.builder.subtract(&part("centred"), z, spread);
            let total = squares(pass, layer, axes, centred);
            let variance = pass.builder.scale(&part("variance"), 1.0 / count, total);
            if let Some((running_mean, running_variance)) = running {
                let unbiased = pass.builder.scale(&part("variance.unbiased"), count / (count - 1.0), variance);
                for ((state, old), new, name) in
                    [(running_mean, mean, "mean.running"), (running_variance, unbiased, "variance.running")]
                {
                    let op = StepOp::Running { state, momentum: norm.momentum };
                    pass.running.push((part(name), op, vec![old, new]));
                }
            }
            (centred, variance)
        } else {
            let (running_mean, running_variance) = running.expect("statistics are read");
            let spread = pass.builder.spread(&part("mean.spread"), axes, running_mean.1);
            (pass.builder.subtract(&part("centred"), z, spread), running_variance.1)
        };
        let epsilon = (norm.epsilon * 2f64.powi(40)).round() as u64;
        let inverse = pass.builder.function(&part("inverse"), Function::InverseRoot(epsilon), variance);
        let (gamma_node, beta_node) = (pass.parameter(gamma), pass.parameter(beta));
        let factor = pass.builder.times(&part("factor"), gamma_node, inverse);
        let scaled = pass.builder.channels(&part("scaled"), axes, centred, factor);
        let term = pass.builder.spread(&part("beta.spread"), axes, beta_node);
        let y = pass.builder.add(&layer.name, vec![scaled, term]);
        (Norm { gamma, beta, trained, centred, inverse, factor, axes }, y)
    }

    /// The gradient of z, where it is wanted.
    pub fn backward(self, pass: &mut Pass<'_>, layer: &Node, d: usize, wanted: bool) -> Option<usize> {
        let part = |part: &str| format!("{}.{part}", layer.name);
        if !self.trained {
            return wanted.then(|| pass.builder.channels(&part("gradient"), self.axes, d, self.factor));
        }
        let (axes, count) = (self.axes, self.axes.terms() as f64);
        let beta = pass.builder.reduce(&part("beta.gradient"), axes, d);
        let products = pass.builder.product(&part("gradient.products"), Bilinear::Inner(axes), d, self.centred);
        let gamma = pass.builder.times(&part("gamma.gradient"), products, self.inverse);
        pass.gradients.push(ParameterGradient { parameter: self.gamma, node: gamma });
        pass.gradients.push(ParameterGradient { parameter: self.beta, node: beta });
        if !wanted {
            return None;
        }
        let builder = &mut *pass.builder;
        let direct = builder.channels(&part("gradient.direct"), axes, d, self.factor);
        let shift = builder.times(&part("gradient.shift.sum"), self.factor, beta);
        let shift = builder.scale(&part("gradient.shift"), 1.0 / count, shift);
        let shift = builder.spread(&part("gradient.shift.spread"), axes, shift);
        // dγ/N is as large as d·c·r, an average; the two factors after it differ from 1 the less.
        let slope = builder.scale(&part("gradient.slope.mean"), 1.0 / count, gamma);
        let slope = builder.times(&part("gradient.slope.inverse"), slope, self.inverse);
        let slope = builder.times(&part("gradient.slope"), slope, self.factor);
        let along = builder.channels(&part("gradient.along"), axes, self.centred, slope);
        let level = builder.subtract(&part("gradient.level"), direct, shift);
        Some(builder.subtract(&part("gradient"), level, along))
    }
}

/// Σc² of each channel; where channels have places, by rows first, so that no long sum is taken in one piece.
fn squares(pass: &mut Pass<'_>, layer: &Node, axes: Axes, centred: usize) -> usize {
    let name = format!("{}.squares", layer.name);
    if axes.inner == 1 {
        return pass.builder.product(&name, Bilinear::Inner(axes), centred, centred);
    }
    let columns = layer.shape.last().copied().unwrap_or(1);
    let rows = axes.inner / columns;
    let by_row = Axes { outer: 1, kept: axes.outer * axes.kept * rows, inner: columns };
    let sums = pass.builder.product(&name, Bilinear::Inner(by_row), centred, centred);
    let total = Axes { inner: rows, ..axes };
    pass.builder.reduce(&format!("{}.squares.total", layer.name), total, sums)
}

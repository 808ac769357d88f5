//! Losses and their gradients by the logits.

use ariann_ring::{Axes, Bilinear};

use super::builder::Builder;
use super::recipe::Loss;
use super::step::StepOp;
use crate::{Function, Pool};

/// Nodes of a loss.
pub(super) struct Result {
    /// By the logits, of the sum over the batch.
    pub gradient: usize,
    /// The loss summed over the batch, where it was asked for.
    pub loss: Option<usize>,
}

/// The loss of `logits` `[batch, classes]` against one-hot `labels`.
pub(super) fn loss(
    builder: &mut Builder,
    kind: Loss,
    batch: usize,
    logits: usize,
    labels: usize,
    wanted: bool,
) -> Result {
    let all = Axes { outer: 1, kept: 1, inner: builder.len(logits) };
    match kind {
        Loss::Mse => {
            let difference = builder.subtract("loss.difference", logits, labels);
            let gradient = builder.scale("loss.gradient", 2.0, difference);
            let loss = wanted.then(|| builder.product("loss", Bilinear::Inner(all), difference, difference));
            Result { gradient, loss }
        }
        Loss::CrossEntropy => {
            let classes = builder.len(logits) / batch;
            let softmax = softmax(builder, "loss", batch, classes, logits);
            let gradient = builder.subtract("loss.gradient", softmax.probabilities, labels);
            let loss = wanted.then(|| {
                let logarithms = builder.function("loss.logarithm", Function::Log, softmax.sums);
                let rows = Axes { outer: 1, kept: 1, inner: batch };
                let first = builder.reduce("loss.logarithms", rows, logarithms);
                let second = builder.product("loss.true", Bilinear::Inner(all), labels, softmax.shifted);
                builder.subtract("loss", first, second)
            });
            Result { gradient, loss }
        }
    }
}

/// Nodes of a softmax.
pub(super) struct Softmax {
    /// Values less the greatest of their row.
    pub shifted: usize,
    /// Sums of the rows' exponentials.
    pub sums: usize,
    pub probabilities: usize,
}

/// e^x / Σ e^x over each of `rows` rows of `len` values.
pub(super) fn softmax(builder: &mut Builder, name: &str, rows: usize, len: usize, x: usize) -> Softmax {
    let axes = Axes { outer: 1, kept: rows, inner: len };
    let pool = Pool {
        channels: rows,
        in_height: 1,
        in_width: len,
        kernel: [1, len],
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
    };
    let greatest = builder.push(&format!("{name}.greatest"), StepOp::MaxPool(pool), vec![x], rows);
    let spread = builder.spread(&format!("{name}.greatest.spread"), axes, greatest);
    let shifted = builder.subtract(&format!("{name}.shifted"), x, spread);
    let exponentials = builder.function(&format!("{name}.exponentials"), Function::Exp, shifted);
    let sums = builder.reduce(&format!("{name}.sums"), axes, exponentials);
    let inverse = builder.function(&format!("{name}.inverse"), Function::Reciprocal, sums);
    let probabilities = builder.channels(&format!("{name}.probabilities"), axes, exponentials, inverse);
    Softmax { shifted, sums, probabilities }
}

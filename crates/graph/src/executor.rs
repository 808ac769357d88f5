//! The float executor: the model as it was trained, in `f32`.

use rayon::prelude::*;

use crate::graph::{Graph, Node, Op, ValueId};
use crate::linear;

/// Most items computed together, so that the weights of dense layers are read for several at once.
const CHUNK: usize = 16;

/// Values of the largest layer that are computed together, so that they stay in cache.
const CHUNK_VALUES: usize = 1 << 19;

/// Why nothing was computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The input does not hold the items that the model takes.
    #[error(
        "input: {got} values where {items} items of shape {shape:?} were expected; give items of the model's shape"
    )]
    Length {
        /// Items announced.
        items: usize,
        /// Shape of an item.
        shape: Vec<usize>,
        /// Values given.
        got: usize,
    },
    /// The input holds something that is no number.
    #[error("input: value {index} of item {item} is {value}; clean the data")]
    NotFinite {
        /// The item.
        item: usize,
        /// The value within it.
        index: usize,
        /// NaN or an infinity, as text.
        value: String,
    },
}

/// What an observer sees after each layer, for some consecutive items.
pub struct Step<'a> {
    /// Index of the layer.
    pub node: usize,
    /// The layer.
    pub layer: &'a Node,
    /// The values that it read, one slice an input.
    pub inputs: Vec<&'a [f32]>,
    /// The values that it computed.
    pub output: &'a [f32],
}

/// Computes a graph in `f32`.
#[derive(Clone, Copy, Debug)]
pub struct Executor<'g> {
    graph: &'g Graph,
}

impl<'g> Executor<'g> {
    /// An executor of `graph`.
    pub fn new(graph: &'g Graph) -> Self {
        Executor { graph }
    }

    /// The outputs of `items` items, in the threads of the current pool.
    pub fn run(&self, items: usize, x: &[f32]) -> Result<Vec<f32>, ExecuteError> {
        check(self.graph, items, x)?;
        let (input, output) = (self.graph.input.len(), self.graph.output_len());
        let mut result = vec![0.0; items * output];
        let chunk = self.chunk_items();
        x.par_chunks(chunk * input).zip(result.par_chunks_mut(chunk * output)).for_each(|(x, out)| {
            out.copy_from_slice(&self.chunk(x, &mut |_| ()));
        });
        Ok(result)
    }

    /// The same in this thread; `observe` is called after each layer for a few items at a time.
    pub fn run_observed(
        &self,
        items: usize,
        x: &[f32],
        mut observe: impl FnMut(Step<'_>),
    ) -> Result<Vec<f32>, ExecuteError> {
        check(self.graph, items, x)?;
        let chunks = x.chunks(self.chunk_items() * self.graph.input.len());
        Ok(chunks.flat_map(|x| self.chunk(x, &mut observe)).collect())
    }

    /// What `observe` makes of the layers of some items at a time, in the order of items, in the threads of the pool.
    pub(crate) fn observe_all<S: Send>(
        &self,
        items: usize,
        x: &[f32],
        start: impl Fn() -> S + Sync,
        observe: impl Fn(&mut S, Step<'_>) + Sync,
    ) -> Result<Vec<S>, ExecuteError> {
        check(self.graph, items, x)?;
        let seen = |x: &[f32]| {
            let mut seen = start();
            self.chunk(x, &mut |step| observe(&mut seen, step));
            seen
        };
        Ok(x.par_chunks(self.chunk_items() * self.graph.input.len()).map(seen).collect())
    }

    fn chunk_items(&self) -> usize {
        let largest = self.graph.nodes.iter().map(Node::len).max().unwrap_or(1).max(1);
        (CHUNK_VALUES / largest).clamp(1, CHUNK)
    }

    fn chunk(&self, x: &[f32], observe: &mut dyn FnMut(Step<'_>)) -> Vec<f32> {
        let items = x.len() / self.graph.input.len();
        let last_use = last_uses(self.graph);
        let mut values: Vec<Option<Vec<f32>>> = vec![Some(x.to_vec())];
        for (index, layer) in self.graph.nodes.iter().enumerate() {
            let inputs: Vec<&[f32]> = layer.inputs.iter().map(|&value| held(&values, value)).collect();
            let mut output = vec![0.0; items * layer.len()];
            compute(layer, items, &inputs, &mut output);
            observe(Step { node: index, layer, inputs, output: &output });
            for &input in layer.inputs.iter().filter(|input| last_use[input.0] == index) {
                values[input.0] = None;
            }
            values.push(Some(output));
        }
        values[self.graph.output.0].take().expect("the output is kept to the end")
    }
}

fn held(values: &[Option<Vec<f32>>], value: ValueId) -> &[f32] {
    values[value.0].as_deref().expect("a value is kept until its last use")
}

/// For every value the layer that reads it last; the output is never let go.
pub(crate) fn last_uses(graph: &Graph) -> Vec<usize> {
    let mut last = vec![usize::MAX; graph.nodes.len() + 1];
    for (index, layer) in graph.nodes.iter().enumerate() {
        layer.inputs.iter().for_each(|input| last[input.0] = index);
    }
    last[graph.output.0] = usize::MAX;
    last
}

/// Checks that `x` holds `items` items of finite values.
pub(crate) fn check(graph: &Graph, items: usize, x: &[f32]) -> Result<(), ExecuteError> {
    let len = graph.input.len();
    if items.checked_mul(len) != Some(x.len()) {
        return Err(ExecuteError::Length { items, shape: graph.input.shape.clone(), got: x.len() });
    }
    match x.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(place) => {
            let value = x[place].to_string();
            Err(ExecuteError::NotFinite { item: place / len, index: place % len, value })
        }
    }
}

fn compute(layer: &Node, items: usize, inputs: &[&[f32]], out: &mut [f32]) {
    let x = inputs[0];
    match &layer.op {
        op @ (Op::Dense(_) | Op::Conv(_)) => {
            let weights = op.weights().expect("linear layers have weights").data();
            linear::apply(op, items, weights, op.bias(), x, out);
        }
        Op::Relu => out.iter_mut().zip(x).for_each(|(out, &x)| *out = x.max(0.0)),
        Op::Clip { lo, hi } => out.iter_mut().zip(x).for_each(|(out, &x)| *out = x.clamp(*lo, *hi)),
        Op::Function(function) => {
            out.iter_mut().zip(x).for_each(|(out, &x)| *out = function.of(f64::from(x)) as f32);
        }
        Op::Softmax(row) => x.chunks(*row).zip(out.chunks_mut(*row)).for_each(|(x, out)| softmax(x, out)),
        Op::MaxPool(pool) => pool.apply(items, x, out, f32::max),
        Op::AvgPool(average) => average.apply(items, x, out, |a, b| a + b, |sum, count| sum / count as f32),
        Op::Arrange(arrange) => arrange.apply(items, inputs, out),
        Op::Add => out.iter_mut().zip(x).zip(inputs[1]).for_each(|((out, a), b)| *out = a + b),
        Op::Reshape | Op::Dropout { .. } => out.copy_from_slice(x),
        Op::BatchNorm(norm) => {
            let (scale, shift) = norm.scale_shift();
            let places = layer.len() / scale.len().max(1);
            let rows = x.chunks_exact(places).zip(out.chunks_exact_mut(places)).enumerate();
            for (row, (x, out)) in rows {
                let (scale, shift) = (scale[row % scale.len()], shift[row % scale.len()]);
                out.iter_mut().zip(x).for_each(|(out, &x)| *out = (f64::from(x) * scale + shift) as f32);
            }
        }
    }
}

fn softmax(x: &[f32], out: &mut [f32]) {
    let greatest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = (x - greatest).exp());
    let sum: f32 = out.iter().sum();
    out.iter_mut().for_each(|out| *out /= sum);
}

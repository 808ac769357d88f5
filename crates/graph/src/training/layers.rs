//! The two passes over the layers of a network: values forwards, gradients backwards.

use ariann_ring::arrange::{Axis, Block};
use ariann_ring::{Arrange, Axes, Bilinear, LinearShape};

use super::builder::Builder;
use super::loss::softmax;
use super::norm::Norm;
use super::recipe::{Recipe, RecipeError};
use super::states::{Parameter, States};
use super::step::StepOp;
use crate::graph::{Conv, Graph, Node, Op, ValueId};
use crate::{AvgPool, Pool};

/// A pass over a graph for a batch.
pub(super) struct Pass<'a> {
    graph: &'a Graph,
    recipe: &'a Recipe,
    pub states: &'a States,
    pub builder: &'a mut Builder,
    pub batch: usize,
    training: bool,
    /// The node of each value of the graph.
    values: Vec<usize>,
    /// The value depends on a parameter that is trained.
    trained: Vec<bool>,
    /// Gradients of each value, to be summed.
    parts: Vec<Vec<usize>>,
    /// What backward steps need of forward ones, one entry a layer.
    norms: Vec<Option<Norm>>,
    patterns: u32,
    /// Gradients of parameters, the last layer's first.
    pub gradients: Vec<ParameterGradient>,
    /// Nodes that move running statistics, to stand at the end.
    pub running: Vec<(String, StepOp, Vec<usize>)>,
}

/// A parameter and the node of its gradient.
pub(super) struct ParameterGradient {
    pub parameter: Parameter,
    pub node: usize,
}

impl<'a> Pass<'a> {
    pub fn new(
        graph: &'a Graph,
        recipe: &'a Recipe,
        states: &'a States,
        builder: &'a mut Builder,
        batch: usize,
        training: bool,
    ) -> Self {
        Pass {
            graph,
            recipe,
            states,
            builder,
            batch,
            training,
            values: Vec::new(),
            trained: vec![false],
            parts: vec![Vec::new(); graph.nodes.len() + 1],
            norms: Vec::new(),
            patterns: 0,
            gradients: Vec::new(),
            running: Vec::new(),
        }
    }

    /// The node of the logits.
    pub fn forward(&mut self) -> Result<usize, RecipeError> {
        let features = self.builder.push("features", StepOp::Features, vec![], self.batch * self.graph.input.len());
        self.values.push(features);
        for (index, layer) in self.graph.nodes.iter().enumerate() {
            let below = layer.inputs.iter().any(|input| self.trained[input.0]);
            self.trained.push(below || self.states.layers[index].trained);
            let value = self.layer(index, layer);
            self.values.push(value);
        }
        let refused: Vec<String> = (0..self.graph.nodes.len()).filter_map(|node| self.refusal(node)).collect();
        if self.training && !refused.is_empty() {
            return Err(RecipeError::Unsupported(refused));
        }
        Ok(self.values[self.graph.output.0])
    }

    pub fn labels(&mut self) -> usize {
        self.builder.push("labels", StepOp::Labels, vec![], self.batch * self.graph.output_len())
    }

    /// Why no gradient goes through a layer that one must go through.
    fn refusal(&self, node: usize) -> Option<String> {
        let layer = &self.graph.nodes[node];
        let through = layer.inputs.iter().any(|input| self.trained[input.0]);
        let reason = match &layer.op {
            Op::BatchNorm(_) if self.states.layers[node].trained && self.terms(node) < 2 => {
                "a batch has one value a channel, which has no variance; train with a greater batch"
            }
            Op::Clip { .. } | Op::Function(_) | Op::Softmax(_) if through => {
                "has no gradient here; freeze all layers before it, or use Relu"
            }
            Op::Arrange(arrange) if through && !reads_once(arrange, &self.lens(layer)) => {
                "reads an element twice; freeze all layers before it"
            }
            _ => return None,
        };
        Some(format!("layer \"{}\" ({}) {reason}", layer.name, layer.op.name()))
    }

    fn lens(&self, layer: &Node) -> Vec<usize> {
        layer.inputs.iter().map(|&input| self.graph.len(input)).collect()
    }

    /// Values of a channel in a batch.
    fn terms(&self, node: usize) -> usize {
        let Op::BatchNorm(norm) = &self.graph.nodes[node].op else { return 0 };
        self.batch * self.graph.nodes[node].len() / norm.gamma.len().max(1)
    }

    fn layer(&mut self, index: usize, layer: &Node) -> usize {
        let x = self.values[layer.inputs[0].0];
        let (name, len) = (&layer.name, self.batch * layer.len());
        let batch = self.batch;
        let mut norm = None;
        let value = match &layer.op {
            Op::Dense(_) | Op::Conv(_) => self.linear(index, layer, x),
            Op::Relu => self.builder.push(name, StepOp::Relu, vec![x], len),
            Op::Clip { lo, hi } => self.builder.push(name, StepOp::Clip { lo: *lo, hi: *hi }, vec![x], len),
            Op::Function(function) => self.builder.function(name, *function, x),
            Op::Softmax(row) => softmax(self.builder, name, len / row, *row, x).probabilities,
            Op::MaxPool(pool) => self.builder.push(name, StepOp::MaxPool(of_batch(pool, batch)), vec![x], len),
            Op::AvgPool(pool) => self.builder.push(name, StepOp::AvgPool(average(pool, batch)), vec![x], len),
            Op::Arrange(arrange) => {
                let lens = self.lens(layer);
                let inputs = layer.inputs.iter().map(|input| self.values[input.0]).collect();
                self.builder.push(name, StepOp::Arrange(arranged(arrange, &lens, batch)), inputs, len)
            }
            Op::Add => {
                let inputs = layer.inputs.iter().map(|input| self.values[input.0]).collect();
                self.builder.add(name, inputs)
            }
            Op::Reshape => x,
            Op::BatchNorm(parameters) => {
                let batch_statistics = self.training && self.states.layers[index].trained;
                let made = Norm::forward(self, index, layer, parameters, x, batch_statistics);
                norm = Some(made.0);
                made.1
            }
            Op::Dropout { ratio } => match self.kept(*ratio) {
                Some(keep) if self.training => {
                    let pattern = self.patterns;
                    self.patterns += 1;
                    self.builder.push(name, StepOp::Dropout { pattern, keep }, vec![x], len)
                }
                _ => x,
            },
        };
        self.norms.push(norm);
        value
    }

    /// Of 256 values, where any are dropped.
    fn kept(&self, ratio: Option<f32>) -> Option<u32> {
        let ratio = ratio.map_or(self.recipe.dropout, f64::from);
        let keep = ((256.0 * (1.0 - ratio)).round() as u32).clamp(1, 256);
        (keep < 256).then_some(keep)
    }

    /// The node of a layer's weights (or γ).
    pub fn weights(&mut self, index: usize) -> usize {
        let parameter = self.states.layers[index].weights.expect("the layer has weights");
        self.parameter(parameter)
    }

    /// The node of a parameter.
    pub fn parameter(&mut self, parameter: Parameter) -> usize {
        self.state(parameter.state)
    }

    /// The node of a state.
    pub fn state(&mut self, state: usize) -> usize {
        let found = &self.states.list[state];
        self.builder.state(&found.name, state, found.len())
    }

    fn linear(&mut self, index: usize, layer: &Node, x: usize) -> usize {
        let (shape, items) = (linear_shape(&layer.op), self.batch);
        let weights = self.weights(index);
        let Some(bias) = self.states.layers[index].bias else {
            return self.builder.product(&layer.name, Bilinear::Forward { shape, items }, x, weights);
        };
        let product = Bilinear::Forward { shape, items };
        let product = self.builder.product(&format!("{}.product", layer.name), product, x, weights);
        let bias = self.parameter(bias);
        let spread = self.builder.spread(&format!("{}.bias.spread", layer.name), self.bias_axes(layer), bias);
        self.builder.add(&layer.name, vec![product, spread])
    }

    /// Where a bias goes: one value a channel, or one an output place.
    fn bias_axes(&self, layer: &Node) -> Axes {
        let kept = layer.op.bias().map_or(1, <[f32]>::len);
        Axes { outer: self.batch, kept, inner: layer.len() / kept }
    }

    /// From the gradient of the logits to those of all parameters that are trained.
    pub fn backward(&mut self, gradient: usize) -> Result<(), RecipeError> {
        self.give(self.graph.output, gradient);
        for (index, layer) in self.graph.nodes.iter().enumerate().rev() {
            let parts = std::mem::take(&mut self.parts[layer.output.0]);
            let gradient = match parts.as_slice() {
                [] => continue,
                [one] => *one,
                _ => self.builder.add(&format!("{}.gradients", layer.name), parts),
            };
            self.layer_back(index, layer, gradient);
        }
        Ok(())
    }

    /// A gradient of a value, where one is needed.
    pub fn give(&mut self, value: ValueId, gradient: usize) {
        if self.trained[value.0] {
            self.parts[value.0].push(gradient);
        }
    }

    fn wanted(&self, layer: &Node) -> bool {
        self.trained[layer.inputs[0].0]
    }

    fn layer_back(&mut self, index: usize, layer: &Node, gradient: usize) {
        let input = layer.inputs[0];
        let name = format!("{}.gradient", layer.name);
        let back = |op: StepOp, pass: &mut Self| {
            let len = pass.batch * pass.graph.len(input);
            let node = pass.builder.push(&name, op, vec![gradient], len);
            pass.give(input, node);
        };
        match &layer.op {
            Op::Dense(_) | Op::Conv(_) => self.linear_back(index, layer, gradient),
            Op::Relu => back(StepOp::ReluBack { relu: self.values[layer.output.0] }, self),
            Op::MaxPool(_) => back(StepOp::MaxBack { pool: self.values[layer.output.0] }, self),
            Op::AvgPool(pool) => back(StepOp::AvgBack(average(pool, self.batch)), self),
            Op::Add => layer.inputs.iter().for_each(|&input| self.give(input, gradient)),
            Op::Reshape => self.give(input, gradient),
            Op::Arrange(arrange) => {
                let lens = self.lens(layer);
                for (source, &input) in layer.inputs.iter().enumerate() {
                    if !self.trained[input.0] {
                        continue;
                    }
                    let op = StepOp::Arrange(arranged_back(arrange, source, lens[source], self.batch));
                    let node = self.builder.push(&name, op, vec![gradient], self.batch * lens[source]);
                    self.give(input, node);
                }
            }
            Op::BatchNorm(_) => {
                let norm = self.norms[index].take().expect("the forward pass computed it");
                let wanted = self.wanted(layer);
                let found = norm.backward(self, layer, gradient, wanted);
                found.into_iter().for_each(|node| self.give(input, node));
            }
            Op::Dropout { ratio } => {
                let forward = self.values[layer.output.0];
                match (self.kept(*ratio), &self.builder.nodes[forward].op) {
                    (Some(_), op @ StepOp::Dropout { .. }) => back(op.clone(), self),
                    _ => self.give(input, gradient),
                }
            }
            Op::Clip { .. } | Op::Function(_) | Op::Softmax(_) => (),
        }
    }

    fn linear_back(&mut self, index: usize, layer: &Node, gradient: usize) {
        let items = self.batch;
        let shape = linear_shape(&layer.op);
        let states = &self.states.layers[index];
        if states.trained {
            let x = self.values[layer.inputs[0].0];
            let product = Bilinear::BackwardWeights { shape: shape.clone(), items };
            let node = self.builder.product(&format!("{}.weights.gradient", layer.name), product, gradient, x);
            let parameter = states.weights.expect("the layer has weights");
            self.gradients.push(ParameterGradient { parameter, node });
            if let Some(parameter) = states.bias {
                let axes = self.bias_axes(layer);
                let node = self.builder.reduce(&format!("{}.bias.gradient", layer.name), axes, gradient);
                self.gradients.push(ParameterGradient { parameter, node });
            }
        }
        if self.wanted(layer) {
            let weights = self.weights(index);
            let product = Bilinear::BackwardInput { shape, items };
            let node = self.builder.product(&format!("{}.gradient", layer.name), product, gradient, weights);
            self.give(layer.inputs[0], node);
        }
    }
}

fn linear_shape(op: &Op) -> LinearShape {
    match op {
        Op::Dense(dense) => LinearShape::Dense { inputs: dense.weights.shape()[1], outputs: dense.weights.shape()[0] },
        Op::Conv(Conv { shape, .. }) => LinearShape::Conv(shape.clone()),
        _ => unreachable!("the layer has no weights"),
    }
}

fn of_batch(pool: &Pool, batch: usize) -> Pool {
    Pool { channels: batch * pool.channels, ..pool.clone() }
}

fn average(average: &AvgPool, batch: usize) -> AvgPool {
    AvgPool { pool: of_batch(&average.pool, batch), counts: average.counts.clone() }
}

/// A rearrangement of one item for all items of a batch.
fn arranged(arrange: &Arrange, lens: &[usize], batch: usize) -> Arrange {
    let block = |block: &Block| with_items(block.clone(), batch, lens[block.source], arrange.len);
    Arrange { len: batch * arrange.len, blocks: arrange.blocks.iter().map(block).collect() }
}

/// Gradients of operand `source` of `len` elements an item, from those of the result.
fn arranged_back(arrange: &Arrange, source: usize, len: usize, batch: usize) -> Arrange {
    let blocks = arrange.blocks.iter().filter(|block| block.source == source);
    let blocks = blocks.map(|block| with_items(swapped(block), batch, arrange.len, len)).collect();
    Arrange { len: batch * len, blocks }
}

fn with_items(mut block: Block, batch: usize, from: usize, to: usize) -> Block {
    block.axes.insert(0, Axis { len: batch, from: from as isize, to: to as isize });
    block
}

fn swapped(block: &Block) -> Block {
    let axes = block.axes.iter().map(|axis| Axis { len: axis.len, from: axis.to, to: axis.from }).collect();
    Block { source: 0, from: block.to, to: block.from, axes }
}

/// No element of an operand goes to two places.
fn reads_once(arrange: &Arrange, lens: &[usize]) -> bool {
    (0..lens.len()).all(|source| arranged_back(arrange, source, lens[source], 1).fits(&[arrange.len]))
}

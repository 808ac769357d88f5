//! Tests of steps: derivatives against differences, formulas, updates by hand.

mod derivatives;
mod normalisation;
mod structure;
mod updates;

use ariann_ring::{ConvShape, Tensor};

use super::execute::Machine;
use super::{Initial, Loss, Recipe, Schedule, StepGraph, training_step};
use crate::graph::{BatchNorm, Conv, Dense, Graph, Input, Node, Op, ValueId};

/// Numbers in [-1, 1) from a seed.
struct Numbers(u64);

impl Numbers {
    fn one(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.one()).collect()
    }
}

/// A network under construction: each layer reads the one before it, unless told otherwise.
struct Net {
    graph: Graph,
    numbers: Numbers,
}

impl Net {
    fn new(shape: &[usize]) -> Self {
        let input = Input { name: "x".into(), shape: shape.to_vec() };
        let (nodes, output) = (vec![], ValueId::INPUT);
        let graph = Graph { name: "made".into(), input, nodes, output, output_name: "y".into(), softmax: false };
        Net { graph, numbers: Numbers(7) }
    }

    fn shape(&self) -> Vec<usize> {
        self.graph.shape(self.graph.output).to_vec()
    }

    fn join(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, shape: Vec<usize>) -> ValueId {
        let output = ValueId(self.graph.nodes.len() + 1);
        self.graph.nodes.push(Node { name: name.into(), op, inputs, output, shape });
        self.graph.output = output;
        output
    }

    fn push(&mut self, name: &str, op: Op, shape: Vec<usize>) -> ValueId {
        let x = self.graph.output;
        self.join(name, op, vec![x], shape)
    }

    fn dense(&mut self, name: &str, outputs: usize, bias: bool) -> ValueId {
        let inputs = self.shape().iter().product();
        if self.shape().len() != 1 {
            self.push(&format!("{name}.flatten"), Op::Reshape, vec![inputs]);
        }
        let weights = Tensor::new(vec![outputs, inputs], self.numbers.many(outputs * inputs)).expect("lengths agree");
        let bias = bias.then(|| self.numbers.many(outputs));
        let (weight_name, bias_name) = (format!("{name}.weight"), Some(format!("{name}.bias")));
        self.push(name, Op::Dense(Dense { weights, bias, weight_name, bias_name }), vec![outputs])
    }

    fn conv(&mut self, name: &str, channels: usize, kernel: [usize; 2], change: impl Fn(&mut ConvShape)) -> ValueId {
        let &[in_channels, in_height, in_width] = self.shape().as_slice() else { panic!("an image") };
        let mut shape = ConvShape {
            in_channels,
            in_height,
            in_width,
            out_channels: channels,
            kernel,
            stride: [1; 2],
            pads: [0; 4],
            dilation: [1; 2],
            groups: 1,
        };
        change(&mut shape);
        shape.validate().expect("a convolution");
        let dims = vec![channels, in_channels / shape.groups, kernel[0], kernel[1]];
        let weights = Tensor::new(dims, self.numbers.many(shape.weight_len())).expect("lengths agree");
        let out = vec![channels, shape.out_height(), shape.out_width()];
        let bias = Some(self.numbers.many(channels));
        let (weight_name, bias_name) = (format!("{name}.weight"), Some(format!("{name}.bias")));
        self.push(name, Op::Conv(Conv { shape, weights, bias, weight_name, bias_name }), out)
    }

    fn relu(&mut self, name: &str) -> ValueId {
        let shape = self.shape();
        self.push(name, Op::Relu, shape)
    }

    fn norm(&mut self, name: &str) -> ValueId {
        let shape = self.shape();
        let channels = shape[0];
        let norm = BatchNorm {
            gamma: self.numbers.many(channels),
            beta: self.numbers.many(channels),
            mean: self.numbers.many(channels),
            variance: self.numbers.many(channels).iter().map(|x| 1.5 + x).collect(),
            epsilon: 1e-3,
            momentum: 0.1,
            names: ["gamma", "beta", "mean", "variance"].map(|part| format!("{name}.{part}")),
        };
        self.push(name, Op::BatchNorm(norm), shape)
    }
}

fn recipe(loss: Loss, batch: usize) -> Recipe {
    Recipe { dropout: 0.25, seed: 5, initial: Initial::Model, ..Recipe::plain(loss, batch, 0.1) }
}

/// Features and labels of a batch.
fn batch(step: &StepGraph, seed: u64) -> (Vec<f64>, Vec<u32>) {
    let mut numbers = Numbers(seed);
    let features = numbers.many(step.batch * step.item_len).into_iter().map(f64::from).collect();
    let labels = (0..step.batch as u32).map(|item| (item * 7 + 1) % step.classes as u32).collect();
    (features, labels)
}

/// The value of a node called `name`, in a step from the initial states.
fn value(step: &StepGraph, name: &str, seed: u64) -> Vec<f64> {
    let (features, labels) = batch(step, seed);
    let mut found = None;
    Machine::<f64>::new(step).run(step, &features, &labels, 0, |node, values| {
        if step.nodes[node].name == name {
            found = Some(values.to_vec());
        }
    });
    found.unwrap_or_else(|| panic!("no node \"{name}\""))
}

/// Every gradient against central differences of the loss.
fn check_gradients(graph: &Graph, recipe: &Recipe) {
    let step = training_step(graph, recipe, 0.0, true).expect("a step");
    let (features, labels) = batch(&step, 11);
    let mut gradients = vec![Vec::new(); step.states.len()];
    let start = Machine::<f64>::new(&step);
    start.clone().run(&step, &features, &labels, 3, |node, values| {
        if let Some(gradient) = step.gradients.iter().find(|gradient| gradient.node == node) {
            gradients[gradient.state] = values.to_vec();
        }
    });
    let loss = |state: usize, element: usize, change: f64| {
        let mut machine = start.clone();
        machine.states[state][element] += change;
        machine.run(&step, &features, &labels, 3, |_, _| ()).0.expect("a loss")
    };
    assert!(!step.gradients.is_empty());
    for gradient in &step.gradients {
        let (state, found) = (&step.states[gradient.state], &gradients[gradient.state]);
        assert_eq!([found.len(), state.initial.len()], [state.len(); 2], "{}", state.name);
        for element in (0..found.len()).step_by(1 + found.len() / 60) {
            let h = 1e-5;
            let difference = (loss(gradient.state, element, h) - loss(gradient.state, element, -h)) / (2.0 * h);
            let slack = 1e-6 * (1.0 + difference.abs());
            let name = &state.name;
            assert!((difference - found[element]).abs() < slack, "{name}[{element}]: {} {difference}", found[element]);
        }
    }
}

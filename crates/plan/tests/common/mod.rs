//! Small networks made by hand.
#![allow(dead_code)]

#[path = "../../../session/tests/common/builder.rs"]
pub mod builder;

use ariann_gates::Receiver;
use ariann_gates::linear::Weights;
use ariann_graph::{Conv, Dense, Graph, Input, Node, NodeRange, Op, Pool, RangeSource, Ranges, ValueId, ValueRange};
use ariann_plan::{Link, Optimize, Options, Plan, Reveal, Revealed, SignChoice, compile};
use ariann_ring::{ConvShape, Tensor};

/// Adds layers one after the other; weights are `weight`, alternating in sign where `mixed`.
pub struct Builder {
    pub graph: Graph,
    pub weight: f32,
    pub mixed: bool,
    pub bias: f32,
}

impl Builder {
    pub fn new(shape: &[usize]) -> Self {
        let input = Input { name: "x".into(), shape: shape.to_vec() };
        let output = ValueId::INPUT;
        let graph = Graph { name: "net".into(), input, nodes: vec![], output, output_name: "y".into(), softmax: false };
        Builder { graph, weight: 0.25, mixed: true, bias: 0.125 }
    }

    fn push(mut self, op: Op, shape: Vec<usize>) -> Self {
        let (input, output) = (self.graph.output, ValueId(self.graph.nodes.len() + 1));
        let name = format!("{}{}", op.name().to_lowercase(), output.0);
        self.graph.nodes.push(Node { name, op, inputs: vec![input], output, shape });
        self.graph.output = output;
        self
    }

    fn weights(&self, shape: Vec<usize>) -> Tensor<f32> {
        let len: usize = shape.iter().product();
        let weight = |i: usize| if self.mixed && i % 3 == 1 { -self.weight } else { self.weight };
        Tensor::new(shape, (0..len).map(weight).collect()).unwrap()
    }

    pub fn dense(self, outputs: usize) -> Self {
        let inputs = self.graph.len(self.graph.output);
        let weights = self.weights(vec![outputs, inputs]);
        let op = Dense { weights, bias: Some(vec![self.bias; outputs]), weight_name: "w".into(), bias_name: None };
        self.push(Op::Dense(op), vec![outputs])
    }

    pub fn conv(self, out_channels: usize, kernel: usize) -> Self {
        let &[in_channels, in_height, in_width] = self.graph.shape(self.graph.output) else { panic!("an image") };
        let (kernel, stride, pads, dilation) = ([kernel; 2], [1; 2], [0; 4], [1; 2]);
        let shape =
            ConvShape { in_channels, in_height, in_width, out_channels, kernel, stride, pads, dilation, groups: 1 };
        let out = vec![out_channels, shape.out_height(), shape.out_width()];
        let weights = self.weights(vec![out_channels, in_channels, kernel[0], kernel[1]]);
        let bias = Some(vec![self.bias; out_channels]);
        self.push(Op::Conv(Conv { shape, weights, bias, weight_name: "w".into(), bias_name: None }), out)
    }

    pub fn relu(self) -> Self {
        let shape = self.graph.shape(self.graph.output).to_vec();
        self.push(Op::Relu, shape)
    }

    pub fn pool(self, kernel: [usize; 2], stride: usize) -> Self {
        let &[channels, in_height, in_width] = self.graph.shape(self.graph.output) else { panic!("an image") };
        let pool = Pool { channels, in_height, in_width, kernel, stride: [stride; 2], pads: [0; 4], dilation: [1; 2] };
        let shape = vec![channels, pool.out_height(), pool.out_width()];
        self.push(Op::MaxPool(pool), shape)
    }

    pub fn flat(self) -> Self {
        let len = self.graph.len(self.graph.output);
        self.push(Op::Reshape, vec![len])
    }
}

/// A network with every kind of gate: conv, pooling, ReLU, dense, dense on dense.
pub fn network() -> Graph {
    let net = Builder::new(&[1, 8, 8]).conv(3, 3).pool([2, 2], 2).relu().flat().dense(7).relu().dense(6).dense(5);
    net.graph
}

/// Ranges as they are when all layers have outputs up to `max_abs` of rms 0.5, and weights of rms 0.25.
pub fn ranges(graph: &Graph, source: RangeSource, max_abs: f64) -> Ranges {
    let layer = |node: &Node| NodeRange {
        name: node.name.clone(),
        output: ValueRange { max_abs, rms: 0.5 },
        weights: if node.op.is_linear() { ValueRange { max_abs: 0.25, rms: 0.25 } } else { ValueRange::default() },
    };
    Ranges { source, input: ValueRange { max_abs: 1.0, rms: 0.5 }, nodes: graph.nodes.iter().map(layer).collect() }
}

/// The values of `count` items, from a seed, in [0, 1].
pub fn numbers(graph: &Graph, count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut one = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..count * graph.input.len()).map(|_| one()).collect()
}

pub fn options(ring: u32, weights: Weights, what: Revealed, to: Receiver) -> Options {
    Options {
        ring,
        weights,
        reveal: Reveal { what, to },
        input_range: [0.0, 1.0],
        pixels: Default::default(),
        scale: 255.0,
        mean: vec![0.5],
        std: vec![0.25],
        optimize: Optimize::Latency,
        sign: SignChoice::Exact,
        link: Link::LOOPBACK,
        items: 1,
    }
}

/// Networks with every kind of layer.
pub fn networks() -> Vec<Graph> {
    vec![network(), builder::branched(), builder::input_first(), builder::curved(true), builder::attentive()]
}

/// A plan for each of these and each of some modes, from ranges observed on random items.
pub fn varied_plans() -> Vec<(Graph, Plan)> {
    let mut plans = Vec::new();
    for graph in networks() {
        let ranges = ariann_graph::calibrate(&graph, 8, &numbers(&graph, 8, 1)).unwrap();
        for (ring, weights) in [(32, Weights::Held), (32, Weights::Shared), (64, Weights::Public), (64, Weights::Held)]
        {
            for (what, to) in [(Revealed::Logits, Receiver::P1), (Revealed::Label, Receiver::Both)] {
                for (optimize, sign) in
                    [(Optimize::Latency, SignChoice::Exact), (Optimize::Material, SignChoice::Coarse)]
                {
                    let options = Options { optimize, sign, ..options(ring, weights, what, to) };
                    let plan = compile(&graph, &ranges, &options).unwrap();
                    plans.push((graph.clone(), plan));
                }
            }
        }
    }
    plans
}

/// Plans of the network in every mode.
pub fn plans() -> Vec<Plan> {
    let graph = network();
    let mut plans = Vec::new();
    for ring in [32, 64] {
        for weights in [Weights::Held, Weights::Shared, Weights::Public] {
            for what in [Revealed::Logits, Revealed::Label] {
                for to in [Receiver::P0, Receiver::P1, Receiver::Both, Receiver::Client] {
                    let ranges = ranges(&graph, RangeSource::Calibrated { items: 10 }, 6.0);
                    plans.push(compile(&graph, &ranges, &options(ring, weights, what, to)).unwrap());
                }
            }
        }
    }
    plans
}

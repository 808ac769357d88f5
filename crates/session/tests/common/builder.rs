//! Networks with branches, made by hand: every kind of layer, small.
#![allow(dead_code)]

use ariann_graph::{AvgPool, Conv, Dense, Function, Graph, Input, Node, Op, Pool, ValueId};
use ariann_ring::arrange::{Arrange, Axis, Block};
use ariann_ring::{ConvShape, Tensor};

/// Adds layers of seeded weights whose sums stay about as large as their operands.
pub struct Builder {
    /// The network so far; its output is the last layer.
    pub graph: Graph,
    state: u32,
}

impl Builder {
    /// A network without layers.
    pub fn new(name: &str, shape: &[usize], seed: u32) -> Self {
        let input = Input { name: "x".into(), shape: shape.to_vec() };
        let output = ValueId::INPUT;
        let graph = Graph { name: name.into(), input, nodes: vec![], output, output_name: "y".into(), softmax: false };
        Builder { graph, state: seed }
    }

    fn numbers(&mut self, len: usize, greatest: f32) -> Vec<f32> {
        let mut one = || {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((self.state >> 8) as f32 / (1 << 23) as f32 - 1.0) * greatest
        };
        (0..len).map(|_| one()).collect()
    }

    fn push(&mut self, op: Op, inputs: Vec<ValueId>, shape: Vec<usize>) -> ValueId {
        let output = ValueId(self.graph.nodes.len() + 1);
        let name = format!("{}{}", op.name().to_lowercase(), output.0);
        self.graph.nodes.push(Node { name, op, inputs, output, shape });
        self.graph.output = output;
        output
    }

    fn image(&self, x: ValueId) -> [usize; 3] {
        self.graph.shape(x).try_into().expect("an image")
    }

    /// A convolution; `kernel`, `stride` and `pad` on both axes.
    pub fn conv(&mut self, x: ValueId, out: usize, [kernel, stride, pad]: [usize; 3], groups: usize) -> ValueId {
        let [in_channels, in_height, in_width] = self.image(x);
        let shape = ConvShape {
            in_channels,
            in_height,
            in_width,
            out_channels: out,
            kernel: [kernel; 2],
            stride: [stride; 2],
            pads: [pad; 4],
            dilation: [1; 2],
            groups,
        };
        let fan_in = in_channels / groups * kernel * kernel;
        let weights = self.numbers(shape.weight_len(), (3.0 / fan_in as f32).sqrt());
        let weights = Tensor::new(vec![out, in_channels / groups, kernel, kernel], weights).unwrap();
        let bias = Some(self.numbers(out, 0.25));
        let places = vec![out, shape.out_height(), shape.out_width()];
        let conv = Conv { shape, weights, bias, weight_name: "w".into(), bias_name: None };
        self.push(Op::Conv(conv), vec![x], places)
    }

    /// A dense layer on all values of `x`.
    pub fn dense(&mut self, mut x: ValueId, outputs: usize) -> ValueId {
        let inputs = self.graph.len(x);
        if self.graph.shape(x).len() != 1 {
            x = self.push(Op::Reshape, vec![x], vec![inputs]);
        }
        let weights = self.numbers(outputs * inputs, (3.0 / inputs as f32).sqrt());
        let weights = Tensor::new(vec![outputs, inputs], weights).unwrap();
        let bias = Some(self.numbers(outputs, 0.25));
        self.push(Op::Dense(Dense { weights, bias, weight_name: "w".into(), bias_name: None }), vec![x], vec![outputs])
    }

    /// An operation on each value.
    pub fn each(&mut self, x: ValueId, op: Op) -> ValueId {
        let shape = self.graph.shape(x).to_vec();
        self.push(op, vec![x], shape)
    }

    /// max(x, 0).
    pub fn relu(&mut self, x: ValueId) -> ValueId {
        self.each(x, Op::Relu)
    }

    /// The sum of two values.
    pub fn add(&mut self, x: ValueId, y: ValueId) -> ValueId {
        let shape = self.graph.shape(x).to_vec();
        self.push(Op::Add, vec![x, y], shape)
    }

    fn windows(&self, x: ValueId, [kernel, stride, pad]: [usize; 3]) -> Pool {
        let [channels, in_height, in_width] = self.image(x);
        let (kernel, stride, pads) = ([kernel; 2], [stride; 2], [pad; 4]);
        Pool { channels, in_height, in_width, kernel, stride, pads, dilation: [1; 2] }
    }

    /// The maximum over windows.
    pub fn max(&mut self, x: ValueId, sizes: [usize; 3]) -> ValueId {
        let pool = self.windows(x, sizes);
        let shape = vec![pool.channels, pool.out_height(), pool.out_width()];
        self.push(Op::MaxPool(pool), vec![x], shape)
    }

    /// The average over windows; `padding` tells whether the places of the padding are counted.
    pub fn average(&mut self, x: ValueId, sizes: [usize; 3], padding: bool) -> ValueId {
        let pool = self.windows(x, sizes);
        let outputs = [pool.out_height(), pool.out_width()];
        let count = |axis: usize, at| if padding { pool.kernel[axis] } else { pool.places(axis, at).count() } as u32;
        let counts = [0, 1].map(|axis| (0..outputs[axis]).map(|at| count(axis, at)).collect());
        let shape = vec![pool.channels, outputs[0], outputs[1]];
        self.push(Op::AvgPool(AvgPool { pool, counts }), vec![x], shape)
    }

    /// The average over the whole image.
    pub fn global(&mut self, x: ValueId) -> ValueId {
        let [channels, height, width] = self.image(x);
        self.push(Op::AvgPool(AvgPool::global(channels, height, width)), vec![x], vec![channels, 1, 1])
    }

    /// Values one after the other, along the channels.
    pub fn concat(&mut self, values: &[ValueId]) -> ValueId {
        let [_, height, width] = self.image(values[0]);
        let mut blocks = Vec::new();
        let mut to = 0;
        for (source, value) in values.iter().enumerate() {
            let len = self.graph.len(*value);
            blocks.push(Block { source, from: 0, to, axes: vec![Axis { len, from: 1, to: 1 }] });
            to += len;
        }
        let shape = vec![to / (height * width), height, width];
        self.push(Op::Arrange(Arrange { len: to, blocks }), values.to_vec(), shape)
    }

    /// All channels from `first` on but every second one only, with a frame of one zero.
    pub fn slice_and_pad(&mut self, x: ValueId, first: usize) -> ValueId {
        let [channels, height, width] = self.image(x);
        let (kept, wide) = ((channels - first).div_ceil(2), width + 2);
        let axes = vec![
            Axis { len: kept, from: (2 * height * width) as isize, to: ((height + 2) * wide) as isize },
            Axis { len: height, from: width as isize, to: wide as isize },
            Axis { len: width, from: 1, to: 1 },
        ];
        let block = Block { source: 0, from: first * height * width, to: wide + 1, axes };
        let arrange = Arrange { len: kept * (height + 2) * wide, blocks: vec![block] };
        self.push(Op::Arrange(arrange), vec![x], vec![kept, height + 2, wide])
    }
}

/// Branches of every form: residual sums with and without a convolution on the way, values that several layers read,
/// concatenations of wires and of shares, averages of wires, of shares and of the input with padding counted and not,
/// overlapping maxima with padding, grouped and depthwise convolutions; 4 classes.
pub fn branched() -> Graph {
    let mut net = Builder::new("branched", &[2, 9, 9], 5);
    let x = ValueId::INPUT;
    let conv = net.conv(x, 4, [3, 1, 1], 2);
    let stem = net.relu(conv);
    // A residual block whose other branch is a convolution, and one whose other branch is the value itself.
    let main = net.conv(stem, 6, [3, 2, 1], 1);
    let main = net.relu(main);
    let main = net.conv(main, 6, [3, 1, 1], 1);
    let other = net.conv(stem, 6, [1, 2, 0], 1);
    let sum = net.add(main, other);
    let block = net.relu(sum);
    let depthwise = net.conv(block, 6, [3, 1, 1], 6);
    let sum = net.add(depthwise, block);
    let second = net.relu(sum);
    // Wires side by side, then their averages.
    let grouped = net.conv(second, 4, [3, 1, 1], 2);
    let grouped = net.relu(grouped);
    let joined = net.concat(&[second, grouped]);
    let averaged = net.average(joined, [3, 1, 1], false);
    let mixed = net.conv(averaged, 5, [1, 1, 0], 1);
    // Maxima that overlap and reach over the edge, read by a layer, a sum and a ReLU.
    let pooled = net.max(mixed, [3, 2, 1]);
    let rectified = net.relu(pooled);
    let signed = net.conv(pooled, 5, [1, 1, 0], 1);
    let sum = net.add(signed, pooled);
    let sum = net.add(sum, rectified);
    // Averages of a share with its padding counted; shares side by side; every second channel in a frame.
    let averaged = net.average(sum, [2, 1, 1], true);
    let averaged = net.max(averaged, [2, 1, 0]);
    let moved = net.concat(&[averaged, signed, rectified]);
    let framed = net.slice_and_pad(moved, 1);
    let last = net.conv(framed, 3, [3, 1, 0], 1);
    let last = net.relu(last);
    // The input once more: its average and its own values in sums.
    let small = net.average(x, [3, 3, 0], true);
    let small = net.conv(small, 3, [1, 1, 0], 1);
    let small = net.add(small, last);
    let last = net.relu(small);
    let last = net.global(last);
    net.dense(last, 4);
    net.graph
}

/// The input compared and summed as it is: an owner's values that get a mask of both first.
pub fn input_first() -> Graph {
    let mut net = Builder::new("input first", &[2, 4, 4], 6);
    let pooled = net.max(ValueId::INPUT, [2, 1, 0]);
    let rectified = net.relu(ValueId::INPUT);
    let twice = net.add(ValueId::INPUT, rectified);
    let framed = net.slice_and_pad(ValueId::INPUT, 1);
    let framed = net.relu(framed);
    let framed = net.max(framed, [2, 1, 0]);
    let twice = net.conv(twice, 2, [2, 1, 0], 1);
    let framed = net.conv(framed, 2, [3, 1, 0], 1);
    let joined = net.concat(&[pooled, twice, framed]);
    net.dense(joined, 3);
    net.graph
}

/// Clips at 0 and 6 and at other bounds, and functions by lookup, of shares and of wires.
pub fn curved(functions: bool) -> Graph {
    let mut net = Builder::new("curved", &[1, 6, 6], 8);
    let x = net.conv(ValueId::INPUT, 3, [3, 1, 1], 1);
    let clipped = net.each(x, Op::Clip { lo: 0.0, hi: 0.75 });
    let x = net.conv(clipped, 3, [3, 1, 1], 3);
    let x = net.each(x, Op::Clip { lo: -0.25, hi: 0.5 });
    let mut x = net.add(x, clipped);
    if functions {
        let sigmoid = net.each(x, Op::Function(Function::Sigmoid));
        let tanh = net.each(sigmoid, Op::Function(Function::Tanh));
        let gelu = net.each(x, Op::Function(Function::Gelu));
        x = net.concat(&[tanh, gelu]);
    }
    let x = net.average(x, [2, 2, 0], true);
    net.dense(x, 3);
    net.graph
}

/// A softmax within, of rows of five values.
pub fn attentive() -> Graph {
    let mut net = Builder::new("attentive", &[1, 3, 5], 9);
    let x = net.conv(ValueId::INPUT, 2, [1, 1, 0], 1);
    let weights = net.each(x, Op::Softmax(5));
    let weighed = net.conv(weights, 2, [1, 1, 0], 1);
    let sum = net.add(weighed, x);
    let ends = net.dense(sum, 4);
    let ends = net.relu(ends);
    net.dense(ends, 3);
    net.graph
}

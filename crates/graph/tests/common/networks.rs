//! Small random networks, made by hand rather than imported.

use ariann_graph::{Conv, Dense, Graph, Input, Node, Op, Pool, ValueId};
use ariann_ring::{ConvShape, Tensor};
use proptest::prelude::*;

/// Weights and biases in [-1, 1] from a seed.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn one(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    pub fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.one()).collect()
    }
}

/// Adds layers one after the other.
pub struct Builder {
    pub graph: Graph,
    numbers: Numbers,
}

impl Builder {
    pub fn new(shape: &[usize], seed: u64) -> Self {
        let input = Input { name: "x".into(), shape: shape.to_vec() };
        let output = ValueId::INPUT;
        let graph =
            Graph { name: "made".into(), input, nodes: vec![], output, output_name: "y".into(), softmax: false };
        Builder { graph, numbers: Numbers(seed) }
    }

    pub fn push(&mut self, op: Op, inputs: Vec<ValueId>, shape: Vec<usize>) -> ValueId {
        let output = ValueId(self.graph.nodes.len() + 1);
        let name = format!("layer{}", output.0);
        self.graph.nodes.push(Node { name, op, inputs, output, shape });
        self.graph.output = output;
        output
    }

    pub fn conv(&mut self, shape: ConvShape, bias: bool) -> ValueId {
        let weight_shape = vec![shape.out_channels, shape.in_channels / shape.groups, shape.kernel[0], shape.kernel[1]];
        let weights = Tensor::new(weight_shape, self.numbers.many(shape.weight_len())).expect("lengths agree");
        let out = vec![shape.out_channels, shape.out_height(), shape.out_width()];
        let bias = bias.then(|| self.numbers.many(shape.out_channels));
        let op = Conv { shape, weights, bias, weight_name: "w".into(), bias_name: None };
        let x = self.graph.output;
        self.push(Op::Conv(op), vec![x], out)
    }

    pub fn pool(&mut self, kernel: usize, stride: usize, pad: usize) -> ValueId {
        let x = self.graph.output;
        let &[channels, in_height, in_width] = self.graph.shape(x) else { panic!("pooling needs an image") };
        let pool = Pool {
            channels,
            in_height,
            in_width,
            kernel: [kernel; 2],
            stride: [stride; 2],
            pads: [pad; 4],
            dilation: [1; 2],
        };
        let out = vec![channels, pool.out_height(), pool.out_width()];
        self.push(Op::MaxPool(pool), vec![x], out)
    }

    pub fn relu(&mut self) -> ValueId {
        let x = self.graph.output;
        let shape = self.graph.shape(x).to_vec();
        self.push(Op::Relu, vec![x], shape)
    }

    pub fn add(&mut self, other: ValueId) -> ValueId {
        let x = self.graph.output;
        let shape = self.graph.shape(x).to_vec();
        self.push(Op::Add, vec![x, other], shape)
    }

    pub fn dense(&mut self, outputs: usize, bias: bool) -> ValueId {
        let mut x = self.graph.output;
        let inputs = self.graph.len(x);
        if self.graph.shape(x).len() != 1 {
            x = self.push(Op::Reshape, vec![x], vec![inputs]);
        }
        let weights = Tensor::new(vec![outputs, inputs], self.numbers.many(outputs * inputs)).expect("lengths agree");
        let bias = bias.then(|| self.numbers.many(outputs));
        let op = Dense { weights, bias, weight_name: "w".into(), bias_name: None };
        self.push(Op::Dense(op), vec![x], vec![outputs])
    }
}

/// A convolution of one kernel size that keeps or halves the image.
pub fn conv_shape(channels: usize, size: usize, out: usize, kernel: usize, stride: usize, pad: usize) -> ConvShape {
    ConvShape {
        in_channels: channels,
        in_height: size,
        in_width: size,
        out_channels: out,
        kernel: [kernel; 2],
        stride: [stride; 2],
        pads: [pad; 4],
        dilation: [1; 2],
        groups: 1,
    }
}

/// A residual block, a pooling and two dense layers, of random sizes.
pub fn networks() -> impl Strategy<Value = Graph> {
    (1usize..4, 5usize..9, 1usize..5, 0usize..2, 2usize..4, any::<bool>(), any::<u64>()).prop_map(
        |(channels, size, out, pad, window, bias, seed)| {
            let mut builder = Builder::new(&[channels, size, size], seed);
            builder.conv(conv_shape(channels, size, out, 3, 1, pad), bias);
            let size = size + 2 * pad - 2;
            let before = builder.relu();
            builder.conv(conv_shape(out, size, out, 3, 1, 1), !bias);
            builder.add(before);
            builder.pool(window, 2, 1);
            builder.relu();
            builder.dense(4, bias);
            builder.relu();
            builder.dense(3, true);
            builder.graph
        },
    )
}

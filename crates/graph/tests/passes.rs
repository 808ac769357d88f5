//! Rewriting passes keep what a graph computes, on random graphs; bounds hold for every kind of layer.

#[allow(dead_code)]
#[path = "common/networks.rs"]
mod networks;

use ariann_graph::{AvgPool, Executor, Function, Graph, Op, Pool, ValueId, interval, passes};
use ariann_ring::arrange::{Arrange, Axis, Block};
use networks::{Builder, Numbers, conv_shape};
use proptest::prelude::*;

/// A layer to be added, where the value before it allows it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Conv { out: usize, kernel: usize, pad: usize, bias: bool },
    Scaling { bias: bool, positive: bool },
    Relu,
    Clip { lo: f32, hi: f32 },
    Function(Function),
    MaxPool { kernel: usize, stride: usize, pad: usize },
    AvgPool { kernel: usize, padded: bool },
    Concat { back: usize, twice: bool },
    Slice,
    Pad,
    Add { back: usize },
    ReshapeTwice,
}

fn step() -> impl Strategy<Value = Step> {
    let function = prop_oneof![
        Just(Function::Sigmoid),
        Just(Function::Tanh),
        Just(Function::Gelu),
        Just(Function::GeluTanh),
        Just(Function::Exp)
    ];
    prop_oneof![
        3 => (1usize..4, 1usize..4, 0usize..2, any::<bool>())
            .prop_map(|(out, kernel, pad, bias)| Step::Conv { out, kernel, pad, bias }),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(bias, positive)| Step::Scaling { bias, positive }),
        4 => Just(Step::Relu),
        1 => (-1f32..0.5, 0.6f32..2.0).prop_map(|(lo, hi)| Step::Clip { lo, hi }),
        1 => function.prop_map(Step::Function),
        3 => (1usize..4, 1usize..3, 0usize..2)
            .prop_map(|(kernel, stride, pad)| Step::MaxPool { kernel, stride, pad: pad.min(kernel - 1) }),
        2 => (1usize..3, any::<bool>()).prop_map(|(kernel, padded)| Step::AvgPool { kernel, padded }),
        2 => (0usize..4, any::<bool>()).prop_map(|(back, twice)| Step::Concat { back, twice }),
        1 => Just(Step::Slice),
        1 => Just(Step::Pad),
        1 => (0usize..4).prop_map(|back| Step::Add { back }),
        1 => Just(Step::ReshapeTwice),
    ]
}

/// Elements of `sources` one after the other.
fn joined(lens: &[usize]) -> Arrange {
    let mut to = 0;
    let blocks = lens.iter().enumerate().map(|(source, &len)| {
        let block = Block { source, from: 0, to, axes: vec![Axis { len, from: 1, to: 1 }] };
        to += len;
        block
    });
    let blocks = blocks.collect();
    Arrange { len: to, blocks }
}

fn apply(builder: &mut Builder, step: Step, numbers: &mut Numbers) {
    let x = builder.graph.output;
    let &[channels, height, width] = builder.graph.shape(x) else { unreachable!("values are images") };
    let shape = vec![channels, height, width];
    let square = |kernel: usize| kernel <= height.min(width) && height == width;
    // A value of the same size some layers before.
    let earlier = |back: usize, graph: &Graph| {
        let place = x.0.saturating_sub(back + 1);
        (graph.shape(ValueId(place))[1..] == shape[1..]).then_some(ValueId(place))
    };
    match step {
        Step::Conv { out, kernel, pad, bias } if square(kernel) => {
            builder.conv(conv_shape(channels, height, out, kernel, 1, pad), bias);
        }
        Step::Scaling { bias, positive } => {
            let mut scaling = conv_shape(channels, height, channels, 1, 1, 0);
            (scaling.in_width, scaling.groups) = (width, channels);
            let value = builder.conv(scaling, bias);
            let Op::Conv(conv) = &mut builder.graph.nodes[value.0 - 1].op else { unreachable!() };
            if positive {
                conv.weights.data_mut().iter_mut().for_each(|w| *w = w.abs() + 0.1);
            }
        }
        Step::Relu => {
            builder.relu();
        }
        Step::Clip { lo, hi } => {
            builder.push(Op::Clip { lo, hi }, vec![x], shape);
        }
        Step::Function(function) => {
            builder.push(Op::Function(function), vec![x], shape);
        }
        Step::MaxPool { kernel, stride, pad } if kernel <= height.min(width) => {
            builder.pool(kernel, stride, pad);
        }
        Step::AvgPool { kernel, padded } if kernel <= height.min(width) => {
            let pads = [0, 0, usize::from(padded && kernel > 1), 0];
            let (kernel, stride) = ([kernel; 2], [1; 2]);
            let pool = Pool { channels, in_height: height, in_width: width, kernel, stride, pads, dilation: [1; 2] };
            let out = vec![channels, pool.out_height(), pool.out_width()];
            let inside = |axis: usize, window: usize| pool.places(axis, window).count() as u32;
            let whole = numbers.one() < 0.0;
            let counts = [0, 1].map(|axis| {
                let count = |window| if whole { kernel[axis] as u32 } else { inside(axis, window) };
                (0..out[axis + 1]).map(count).collect()
            });
            builder.push(Op::AvgPool(AvgPool { pool, counts }), vec![x], out);
        }
        Step::Concat { back, twice } => {
            if let Some(other) = earlier(back, &builder.graph) {
                let inputs = if twice { vec![x, other, x] } else { vec![other, x] };
                let lens: Vec<usize> = inputs.iter().map(|&input| builder.graph.len(input)).collect();
                let total = inputs.iter().map(|&input| builder.graph.shape(input)[0]).sum();
                builder.push(Op::Arrange(joined(&lens)), inputs, vec![total, height, width]);
            }
        }
        Step::Slice if width > 1 => {
            let axes = vec![
                Axis { len: channels * height, from: width as isize, to: width as isize - 1 },
                Axis { len: width - 1, from: 1, to: 1 },
            ];
            let blocks = vec![Block { source: 0, from: 1, to: 0, axes }];
            let arrange = Arrange { len: channels * height * (width - 1), blocks };
            builder.push(Op::Arrange(arrange), vec![x], vec![channels, height, width - 1]);
        }
        Step::Pad => {
            let axes = vec![Axis { len: channels * height * width, from: 1, to: 1 }];
            let blocks = vec![Block { source: 0, from: 0, to: height * width, axes }];
            let arrange = Arrange { len: (channels + 1) * height * width, blocks };
            builder.push(Op::Arrange(arrange), vec![x], vec![channels + 1, height, width]);
        }
        Step::Add { back } => {
            if let Some(other) = earlier(back, &builder.graph)
                .filter(|&other| builder.graph.len(other) == shape.iter().product::<usize>())
            {
                builder.add(other);
            }
        }
        Step::ReshapeTwice => {
            let flat = builder.push(Op::Reshape, vec![x], vec![channels * height * width]);
            builder.push(Op::Reshape, vec![flat], shape);
        }
        _ => (),
    }
}

fn graphs() -> impl Strategy<Value = (Graph, u64)> {
    (1usize..4, 3usize..7, prop::collection::vec(step(), 1..12), any::<bool>(), any::<u64>()).prop_map(
        |(channels, size, steps, dense, seed)| {
            let mut builder = Builder::new(&[channels, size, size], seed);
            let mut numbers = Numbers(seed ^ 1);
            builder.relu();
            for step in steps {
                apply(&mut builder, step, &mut numbers);
            }
            if dense {
                builder.dense(3, true);
            }
            (builder.graph, seed)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn passes_keep_what_a_graph_computes((graph, seed) in graphs()) {
        let mut passed = graph.clone();
        passes::run(&mut passed);
        let x = Numbers(seed ^ 2).many(3 * graph.input.len());
        let wanted = Executor::new(&graph).run(3, &x).expect("the items fit");
        let got = Executor::new(&passed).run(3, &x).expect("the items fit");
        prop_assert_eq!(wanted.len(), got.len());
        let scale = wanted.iter().fold(1f32, |scale, value| scale.max(value.abs()));
        for (wanted, got) in wanted.iter().zip(&got) {
            let same = (wanted - got).abs() <= 1e-4 * scale || !wanted.is_finite();
            prop_assert!(same, "{} became {}\n{:#?}\n{:#?}", wanted, got, kinds(&graph), kinds(&passed));
        }
        let signs = |graph: &Graph| -> usize {
            graph.nodes.iter().filter(|node| matches!(node.op, Op::Relu | Op::Clip { .. })).map(|node| node.len()).sum()
        };
        prop_assert!(signs(&passed) <= signs(&graph), "more signs are decided\n{:#?}\n{:#?}", kinds(&graph), kinds(&passed));
        let mut twice = passed.clone();
        passes::run(&mut twice);
        prop_assert_eq!(kinds(&twice).len(), kinds(&passed).len(), "a second time nothing is left to do");
    }

    #[test]
    fn bounds_hold_for_every_kind_of_layer((graph, seed) in graphs(), lo in -2f32..0.5, width in 0f32..2.0) {
        let Ok(ranges) = interval(&graph, lo, lo + width) else {
            // e^e^x and the like.
            return Ok(());
        };
        let mut numbers = Numbers(seed ^ 3);
        let inside = |number: f32| (lo + (number + 1.0) / 2.0 * width).clamp(lo, lo + width);
        let x: Vec<f32> = (0..8 * graph.input.len()).map(|_| inside(numbers.one())).collect();
        let mut outside = None;
        Executor::new(&graph).run_observed(8, &x, |step| {
            let found = step.output.iter().fold(0f64, |max, &value| max.max(f64::from(value).abs()));
            // The rounding of a function's f32 result.
            if found > ranges.nodes[step.node].output.max_abs * (1.0 + 1e-6) {
                outside = Some((step.layer.name.clone(), found, ranges.nodes[step.node].output.max_abs));
            }
        }).expect("the items fit");
        prop_assert_eq!(outside, None);
    }
}

fn kinds(graph: &Graph) -> Vec<String> {
    graph.nodes.iter().map(|node| format!("{} {:?} {:?}", node.op.name(), node.inputs, node.shape)).collect()
}

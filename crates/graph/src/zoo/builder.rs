//! Layers one after the other, as ONNX.

use crate::onnx::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

use super::random::Random;
use super::spread::Spread;

/// A message of protobuf holds less than 2 GB.
const MOST_PARAMETERS: u64 = 500_000_000;

/// Sides and channels beyond this are a slip of the pen.
pub(super) const MOST_SIZE: usize = 1 << 16;

/// Images have fewer channels than this, inner layers more.
const FEW_CHANNELS: usize = 8;

const FLOAT: i32 = 1;

/// What went wrong, to be followed by what fits.
pub(super) type Built<T = ()> = Result<T, String>;

/// The network so far, and the value that the next layer reads.
pub(super) struct Builder {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// None while only sizes are computed.
    random: Option<Random>,
    tip: Tip,
    common: f32,
    pub parameters: u64,
    pub multiply_adds: u64,
}

/// A value: where a branch begins or ends.
#[derive(Clone)]
pub(super) struct Tip {
    name: String,
    /// Channels, height and width.
    shape: [usize; 3],
    spread: Spread,
    /// It has one axis beside that of the batch.
    flat: bool,
}

/// Windows of a convolution or pooling.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
}

impl Windows {
    pub const fn new(kernel: usize, stride: usize, pad: usize) -> Self {
        Windows { kernel, stride, pad }
    }

    /// Of all three, or why there is no window.
    fn output(self, name: &str, size: usize) -> Built<usize> {
        let padded = size + 2 * self.pad;
        match padded.checked_sub(self.kernel) {
            Some(rest) => Ok(rest / self.stride + 1),
            None => Err(format!(
                "{name} has windows of {k}x{k} and {padded} pixels are left, padding counted",
                k = self.kernel
            )),
        }
    }

    /// How many pixels of a row or column a window sees on average, padding apart; at least one.
    fn seen(self, size: usize, output: usize) -> f32 {
        let inside = |start: usize| {
            (start..start + self.kernel).filter(|&place| (self.pad..self.pad + size).contains(&place)).count()
        };
        let all: usize = (0..output).map(|window| inside(window * self.stride)).sum();
        (all as f32 / output as f32).max(1.0)
    }

    fn attributes(self) -> Vec<AttributeProto> {
        let pair = |value: usize| vec![value as i64; 2];
        vec![
            ints("kernel_shape", pair(self.kernel)),
            ints("strides", pair(self.stride)),
            ints("pads", vec![self.pad as i64; 4]),
        ]
    }
}

impl Builder {
    /// An empty network that reads `input`.
    pub fn new(input: [usize; 3], seed: u64) -> Self {
        let tip = Tip { name: "input".into(), shape: input, spread: Spread::INPUT, flat: false };
        Builder {
            nodes: Vec::new(),
            initializers: Vec::new(),
            random: Some(Random::new(seed)),
            tip,
            common: 0.0,
            parameters: 0,
            multiply_adds: 0,
        }
    }

    /// One that checks and counts, and draws no weights.
    pub fn sizes_only(input: [usize; 3]) -> Self {
        Builder { random: None, ..Builder::new(input, 0) }
    }

    /// How much of what all activations have in common the next layers let through. Without it, differences grow by a fifth a
    /// layer: inputs are told apart, and so are roundings. A deep network without normalisation wants less of that.
    pub fn let_through(&mut self, common: f32) {
        self.common = common;
    }

    /// The value that the next layer reads.
    pub fn tip(&self) -> Tip {
        self.tip.clone()
    }

    /// Goes on from another value.
    pub fn go_on(&mut self, tip: Tip) -> Tip {
        std::mem::replace(&mut self.tip, tip)
    }

    /// A convolution with `channels` outputs.
    pub fn conv(&mut self, name: &str, channels: usize, windows: Windows, bias: bool) -> Built {
        let [inputs, height, width] = self.tip.shape;
        let shape = [channels, windows.output(name, height)?, windows.output(name, width)?];
        let dims = [channels, inputs, windows.kernel, windows.kernel];
        let seen = inputs as f32 * windows.seen(height, shape[1]) * windows.seen(width, shape[2]);
        let weights = self.weights(name, &dims, bias, seen, &shape[1..])?;
        self.push(name, "Conv", weights, windows.attributes());
        (self.tip.shape, self.tip.spread) = (shape, Spread::UNIT);
        Ok(())
    }

    /// A dense layer; the value is flattened beforehand.
    pub fn dense(&mut self, name: &str, outputs: usize) -> Built {
        let inputs = product(&self.tip.shape)? as usize;
        if !std::mem::replace(&mut self.tip.flat, true) {
            self.push(&format!("{name}.flatten"), "Flatten", Vec::new(), vec![int("axis", 1)]);
        }
        let weights = self.weights(name, &[outputs, inputs], true, inputs as f32, &[])?;
        self.push(name, "Gemm", weights, vec![int("transB", 1)]);
        (self.tip.shape, self.tip.spread) = ([outputs, 1, 1], Spread::UNIT);
        Ok(())
    }

    /// Weights of that shape, and a bias on request, for so many positions; returns their names.
    fn weights(
        &mut self,
        name: &str,
        dims: &[usize],
        bias: bool,
        seen: f32,
        positions: &[usize],
    ) -> Built<Vec<String>> {
        if !(1..=MOST_SIZE).contains(&dims[0]) {
            return Err(format!("{name} would have {} outputs; sizes go from 1 to {MOST_SIZE}", dims[0]));
        }
        let (weights, positions) = (product(dims)?, product(positions)?);
        self.parameters += weights + if bias { dims[0] as u64 } else { 0 };
        if self.parameters > MOST_PARAMETERS {
            return Err(format!("up to {name} it has {} parameters, and an ONNX file holds 2 GB", self.parameters));
        }
        self.multiply_adds += weights * positions;
        let mut inputs = vec![format!("{name}.weight")];
        let Spread { mean, variance } = self.tip.spread;
        let (common, power) = (self.common, variance + (self.common * mean).powi(2));
        self.initializer(&inputs[0], dims, |random| weights_of(random, dims, seen, power, common));
        if bias {
            inputs.push(format!("{name}.bias"));
            self.initializer(&inputs[1], &dims[..1], |random| drawn(dims[0], || 0.02 * random.normal()));
        }
        Ok(inputs)
    }

    /// Batch normalisation with running statistics near those expected; its output has the deviation `scale`.
    pub fn batch_norm(&mut self, name: &str, scale: f32) {
        let channels = self.tip.shape[0];
        let Spread { mean, variance } = self.tip.spread;
        let deviation = variance.sqrt();
        let mut part = |part: &str, from: &dyn Fn(&mut Random) -> f32| {
            let name = format!("{name}.{part}");
            self.initializer(&name, &[channels], |random| drawn(channels, || from(random)));
            name
        };
        let inputs = vec![
            part("weight", &|random| scale * (0.8 + 0.4 * random.uniform())),
            part("bias", &|random| 0.05 * scale * random.normal()),
            part("running_mean", &|random| mean + 0.05 * deviation * random.normal()),
            part("running_var", &|random| variance * (0.8 + 0.4 * random.uniform())),
        ];
        self.parameters += 2 * channels as u64;
        self.push(name, "BatchNormalization", inputs, vec![float("epsilon", 1e-5)]);
        self.tip.spread = Spread { mean: 0.0, variance: scale * scale };
    }

    /// max(x, 0).
    pub fn relu(&mut self, name: &str) {
        self.push(name, "Relu", Vec::new(), Vec::new());
        self.tip.spread = self.tip.spread.relu();
    }

    /// Maxima of windows.
    pub fn max_pool(&mut self, name: &str, windows: Windows) -> Built {
        let [channels, height, width] = self.tip.shape;
        let shape = [channels, windows.output(name, height)?, windows.output(name, width)?];
        self.push(name, "MaxPool", Vec::new(), windows.attributes());
        (self.tip.shape, self.tip.spread) = (shape, self.tip.spread.pooled(windows.kernel));
        Ok(())
    }

    /// The mean of each channel.
    pub fn global_average(&mut self, name: &str) {
        self.push(name, "GlobalAveragePool", Vec::new(), Vec::new());
        let [channels, height, width] = self.tip.shape;
        self.tip.shape = [channels, 1, 1];
        // Neighbours are alike: as if a quarter of them were independent.
        self.tip.spread.variance *= (4.0 / (height * width) as f32).min(1.0);
    }

    /// The sum with another value.
    pub fn add(&mut self, name: &str, other: &Tip) {
        debug_assert_eq!(self.tip.shape, other.shape, "{name}");
        let spread = self.tip.spread.plus(other.spread);
        self.push(name, "Add", vec![other.name.clone()], Vec::new());
        self.tip.spread = spread;
    }

    fn push(&mut self, name: &str, operator: &str, more: Vec<String>, attribute: Vec<AttributeProto>) {
        let output = format!("{name}.out");
        let input = std::iter::once(std::mem::replace(&mut self.tip.name, output.clone())).chain(more).collect();
        self.nodes.push(NodeProto {
            input,
            output: vec![output],
            name: Some(name.into()),
            op_type: Some(operator.into()),
            attribute,
            domain: None,
        });
    }

    fn initializer(&mut self, name: &str, dims: &[usize], values: impl FnOnce(&mut Random) -> Vec<f32>) {
        let Some(random) = &mut self.random else { return };
        self.initializers.push(TensorProto {
            dims: dims.iter().map(|&size| size as i64).collect(),
            data_type: Some(FLOAT),
            name: Some(name.into()),
            raw_data: Some(values(random).into_iter().flat_map(f32::to_le_bytes).collect()),
            ..TensorProto::default()
        });
    }

    /// The model; its last value is called `logits`.
    pub fn finish(mut self, name: &str, input: [usize; 3], classes: usize) -> ModelProto {
        if let Some(last) = self.nodes.last_mut() {
            last.output = vec!["logits".into()];
        }
        let graph = GraphProto {
            node: self.nodes,
            name: Some(name.into()),
            initializer: self.initializers,
            input: vec![value_info("input", &input)],
            output: vec![value_info("logits", &[classes])],
        };
        ModelProto {
            ir_version: Some(7),
            producer_name: Some("ariann".into()),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(13) }],
            functions: Vec::new(),
        }
    }
}

fn drawn(count: usize, from: impl FnMut() -> f32) -> Vec<f32> {
    std::iter::repeat_with(from).take(count).collect()
}

/// Weights, row-major as `dims` says, that make outputs of variance one from inputs of variance `variance`, `seen` of which
/// reach an output.
///
/// Of what all activations have in common the part `common` reaches an output. For none of it the weights of the input channels
/// sum to zero at every tap; where channels are few, all weights of an output do.
fn weights_of(random: &mut Random, dims: &[usize], seen: f32, variance: f32, common: f32) -> Vec<f32> {
    let deviation = (1.0 / (seen * variance)).sqrt();
    let fan_in: usize = dims[1..].iter().product();
    let taps = if dims[1] < FEW_CHANNELS { 1 } else { fan_in / dims[1] };
    let mut weights = drawn(dims[0] * fan_in, || deviation * random.normal());
    // The sum of a single weight would be the weight itself.
    if fan_in > taps {
        for row in weights.chunks_exact_mut(fan_in) {
            for tap in 0..taps {
                let sum: f64 = row[tap..].iter().step_by(taps).map(|&weight| f64::from(weight)).sum();
                let mean = (f64::from(1.0 - common) * sum * taps as f64 / fan_in as f64) as f32;
                row[tap..].iter_mut().step_by(taps).for_each(|weight| *weight -= mean);
            }
        }
    }
    weights
}

fn product(sizes: &[usize]) -> Built<u64> {
    let product = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64));
    product.filter(|&product| product <= 1 << 40).ok_or_else(|| format!("sizes {sizes:?} are too large together"))
}

fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { name: Some(name.into()), ints, r#type: Some(7), ..AttributeProto::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(i), r#type: Some(2), ..AttributeProto::default() }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), f: Some(f), r#type: Some(1), ..AttributeProto::default() }
}

/// A tensor of floats with a free batch axis.
fn value_info(name: &str, shape: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { dim_value: None, dim_param: Some("N".into()) };
    let size = |&size: &usize| DimensionProto { dim_value: Some(size as i64), dim_param: None };
    let shape = TensorShapeProto { dim: std::iter::once(batch).chain(shape.iter().map(size)).collect() };
    let tensor_type = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(shape) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

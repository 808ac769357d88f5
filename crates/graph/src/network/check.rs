//! A network of a file is checked layer by layer: its numbers first, then what is computed from them.

use std::collections::HashSet;

use ariann_ring::Arrange;

use super::{Layer, Network, Operator, Weights, Windows};
use crate::Function;
use crate::import::{MAX_BLOCKS, MAX_VALUES};

/// Layers at most.
const LAYERS: usize = 1 << 14;
/// Values that all layers read at most.
const READS: usize = 4 * LAYERS;
/// Axes of an item at most.
const AXES: usize = 32;
/// Bytes of a name at most.
const NAME: usize = 1 << 10;
/// Parameters of all layers at most, and values of one item of all layers.
const TOTAL: usize = 1 << 28;
/// The greatest number that is added to a variance.
const EPSILON: f64 = 1e6;

/// Why a network was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// A layer.
    #[error("the network's layer {index} ({name:?}): {reason}; ask for a file that is made from an imported model")]
    Layer {
        /// Its place, counted from 0.
        index: usize,
        /// Its name, or the beginning of it.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Something else of it.
    #[error("the network: {0}; ask for a file that is made from an imported model")]
    Whole(String),
}

type Checked<T> = Result<T, String>;

pub(super) fn check(network: &Network) -> Result<(), NetworkError> {
    whole(network).map_err(NetworkError::Whole)?;
    let (mut names, mut parameters, mut values) = (HashSet::new(), 0, 0);
    for (index, layer) in network.layers.iter().enumerate() {
        let checked = checked(network, index, layer).and_then(|(own_parameters, own_values)| {
            ensure(names.insert(&layer.name), || "its name is that of a layer before it".into())?;
            parameters += own_parameters;
            values += own_values;
            ensure(parameters <= TOTAL && values <= TOTAL, || format!("the network is larger than {TOTAL} numbers"))
        });
        let name = || layer.name.chars().take(60).collect();
        checked.map_err(|reason| NetworkError::Layer { index, name: name(), reason })?;
    }
    Ok(())
}

fn whole(network: &Network) -> Checked<()> {
    let layers = network.layers.len();
    ensure((1..=LAYERS).contains(&layers), || format!("{layers} layers, 1 to {LAYERS} can be read"))?;
    let reads = network.layers.iter().map(|layer| layer.inputs.len()).sum::<usize>();
    ensure(reads <= READS, || format!("its layers read {reads} values, at most {READS} can be read"))?;
    let output = network.output;
    ensure((1..=layers).contains(&output), || format!("its output is value {output} of {layers}"))?;
    for name in [&network.name, &network.input_name, &network.output_name] {
        short(name)?;
    }
    ensure(!network.input_shape.is_empty(), || "its input has no axis".into())?;
    len(&network.input_shape).map(|_| ())
}

/// Parameters of the layer, and values of one item of its output.
fn checked(network: &Network, index: usize, layer: &Layer) -> Checked<(usize, usize)> {
    named(&layer.name)?;
    let arity = match layer.op {
        Operator::Add => 2..=2,
        Operator::Arrange(_) => 1..=MAX_BLOCKS,
        _ => 1..=1,
    };
    let count = layer.inputs.len();
    ensure(arity.contains(&count), || format!("it reads {count} values"))?;
    let late = layer.inputs.iter().find(|&&input| input > index);
    late.map_or(Ok(()), |late| Err(format!("it reads value {late}, which is not computed before it")))?;
    // Those of layers before it, so they have passed.
    let inputs: Vec<&[usize]> = layer.inputs.iter().map(|&input| network.shape(input)).collect();
    let values = len(&layer.shape)?;
    let (shape, parameters) = result(&layer.op, &inputs, &layer.shape)?;
    ensure(shape == layer.shape, || format!("it gives {shape:?}, not {:?}", layer.shape))?;
    Ok((parameters, values))
}

/// Shape of the output and number of parameters. Where the operator does not tell the shape, it is the one `declared`.
fn result(op: &Operator, inputs: &[&[usize]], declared: &[usize]) -> Checked<(Vec<usize>, usize)> {
    let input = inputs[0];
    let same = || Ok((input.to_vec(), 0));
    match op {
        Operator::Dense { outputs, weights } => {
            let &[features] = input else { return Err(format!("it reads items {input:?}")) };
            let shape = vec![*outputs];
            let parameters = len(&[*outputs, features])?;
            Ok((shape, parameters + weights.bias_of(&[*outputs])?))
        }
        Operator::Conv { channels, groups, windows, weights } => {
            convolution(input, *channels, *groups, windows, weights)
        }
        Operator::Relu => same(),
        Operator::Function(function) => {
            ensure(is_layer(*function), || format!("{} is no layer of a model", function.name()))?;
            same()
        }
        Operator::Clip { lo, hi } => {
            ensure(lo.is_finite() && hi.is_finite() && lo < hi, || format!("its limits are {lo} and {hi}"))?;
            same()
        }
        Operator::Softmax { row } => {
            let whole = *row > 0 && len(input)?.is_multiple_of(*row);
            ensure(whole, || format!("items {input:?} have no rows of {row}"))?;
            same()
        }
        Operator::MaxPool(windows) => Ok((pooled(input, windows)?, 0)),
        Operator::AvgPool { windows, counts } => Ok((averaged(input, windows, counts)?, 0)),
        Operator::Arrange(arrange) => {
            arranged(arrange, inputs, len(declared)?)?;
            Ok((declared.to_vec(), 0))
        }
        Operator::Add => {
            ensure(inputs[0] == inputs[1], || format!("it adds {:?} to {:?}", inputs[1], inputs[0]))?;
            same()
        }
        Operator::Reshape => {
            ensure(len(input)? == len(declared)?, || format!("it reshapes {input:?} to {declared:?}"))?;
            Ok((declared.to_vec(), 0))
        }
        Operator::BatchNorm { epsilon, momentum, names } => {
            let &[channels, ..] = input else { return Err("its input has no channels".into()) };
            ensure((0.0..=EPSILON).contains(epsilon), || format!("its epsilon is {epsilon}"))?;
            ensure((0.0..=1.0).contains(momentum), || format!("its momentum is {momentum}"))?;
            names.iter().try_for_each(|name| named(name))?;
            Ok((input.to_vec(), 4 * channels))
        }
        Operator::Dropout { ratio } => {
            let right = ratio.is_none_or(|ratio| (0.0..1.0).contains(&ratio));
            ensure(right, || format!("its ratio is {ratio:?}"))?;
            same()
        }
    }
}

fn convolution(
    image: &[usize],
    channels: usize,
    groups: usize,
    windows: &Windows,
    weights: &Weights,
) -> Checked<(Vec<usize>, usize)> {
    windows.bounded(image)?;
    let shape = windows.conv(image, channels, groups);
    shape.validate().map_err(|error| error.to_string())?;
    let [top, left, bottom, right] = shape.pads;
    len(&[shape.in_channels, shape.in_height + top + bottom, shape.in_width + left + right])?;
    let out = vec![channels, shape.out_height(), shape.out_width()];
    len(&out)?;
    let parameters = len(&[channels, shape.in_channels / groups, shape.kernel[0], shape.kernel[1]])?;
    Ok((out.clone(), parameters + weights.bias_of(&out)?))
}

/// Shape of the output of a pooling, of which every window has a place inside the image.
fn pooled(image: &[usize], windows: &Windows) -> Checked<Vec<usize>> {
    windows.bounded(image)?;
    len(&windows.kernel)?;
    let mut shape = vec![image[0]];
    for axis in 0..2 {
        let (size, kernel) = (image[axis + 1], windows.kernel[axis]);
        let room = (size + windows.pads[axis] + windows.pads[axis + 2])
            .checked_sub((kernel - 1) * windows.dilation[axis] + 1)
            .ok_or("its window is larger than its input")?;
        let count = room / windows.stride[axis] + 1;
        shape.push(count);
        len(&shape)?;
        len(&[count, kernel])?;
        let right = (0..count).all(|window| windows.inside(axis, size, window) > 0);
        ensure(right, || "a window lies in the padding altogether".into())?;
    }
    Ok(shape)
}

/// A divisor counts the places inside the image, or padding as well.
fn averaged(image: &[usize], windows: &Windows, counts: &[Vec<u32>; 2]) -> Checked<Vec<usize>> {
    let shape = pooled(image, windows)?;
    for (axis, counts) in counts.iter().enumerate() {
        let (size, kernel) = (image[axis + 1], windows.kernel[axis]);
        let fits =
            |(window, count): (usize, &u32)| (windows.inside(axis, size, window)..=kernel).contains(&(*count as usize));
        let right = counts.len() == shape[axis + 1] && counts.iter().enumerate().all(fits);
        ensure(right, || "its divisors do not fit its windows".into())?;
    }
    Ok(shape)
}

fn arranged(arrange: &Arrange, inputs: &[&[usize]], values: usize) -> Checked<()> {
    ensure(arrange.len == values, || format!("it arranges {} values to {values}", arrange.len))?;
    let (blocks, limit) = (&arrange.blocks, MAX_VALUES as isize);
    ensure(blocks.len() <= MAX_BLOCKS, || format!("it has more than {MAX_BLOCKS} pieces"))?;
    // An axis of one place may have any stride where nothing else bounds it.
    let bounded = |stride: isize| (-limit..=limit).contains(&stride);
    let axes = |block: &ariann_ring::arrange::Block| {
        block.axes.len() <= AXES && block.axes.iter().all(|axis| axis.len > 0 && bounded(axis.from) && bounded(axis.to))
    };
    let lens = inputs.iter().map(|shape| len(shape)).collect::<Checked<Vec<_>>>()?;
    let right = blocks.iter().all(axes) && arrange.fits(&lens);
    ensure(right, || "it arranges elements that it does not have, or two to one place".into())
}

/// Those of an importer; others are parts of layers and losses.
fn is_layer(function: Function) -> bool {
    matches!(function, Function::Sigmoid | Function::Tanh | Function::Gelu | Function::GeluTanh | Function::Exp)
}

impl Windows {
    /// Over an image, with numbers of which sums and products of two do not overflow, and no size zero.
    fn bounded(&self, image: &[usize]) -> Checked<()> {
        ensure(image.len() == 3, || format!("it reads items {image:?}, not images"))?;
        let Windows { kernel, stride, pads, dilation } = self;
        let sizes = kernel.iter().chain(stride).chain(dilation);
        let right = sizes.clone().all(|&size| size > 0) && sizes.chain(pads).all(|&size| size <= MAX_VALUES);
        ensure(right, || "a size of its windows is zero or too large".into())
    }

    /// Places of a window that lie inside an image of `size` rows or columns: taps from the first inside to the first behind it.
    fn inside(&self, axis: usize, size: usize, window: usize) -> usize {
        let (before, start) = (self.pads[axis], window * self.stride[axis]);
        let tap = |place: usize| place.saturating_sub(start).div_ceil(self.dilation[axis]).min(self.kernel[axis]);
        tap(before + size) - tap(before)
    }
}

impl Weights {
    /// Values of the bias, of a layer with such items: one a channel, the first axis, or one a value.
    fn bias_of(&self, shape: &[usize]) -> Checked<usize> {
        named(&self.name)?;
        self.bias_name.as_ref().map_or(Ok(()), |name| named(name))?;
        let bias = self.bias.unwrap_or(0);
        let right = self.bias.is_none_or(|bias| bias == shape[0] || len(shape) == Ok(bias));
        ensure(right, || format!("its bias has {bias} values for items {shape:?}"))?;
        Ok(bias)
    }
}

/// Values of an item or a tensor; refuses none, and too many.
fn len(shape: &[usize]) -> Checked<usize> {
    let product = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
    let right = product.filter(|len| shape.len() <= AXES && (1..=MAX_VALUES).contains(len));
    right.ok_or_else(|| format!("a shape has more than {AXES} axes, or does not hold 1 to {MAX_VALUES} values"))
}

fn named(name: &str) -> Checked<()> {
    ensure(!name.is_empty(), || "a name is empty".into())?;
    short(name)
}

fn short(name: &str) -> Checked<()> {
    ensure(name.len() <= NAME, || format!("a name is longer than {NAME} bytes"))
}

fn ensure(right: bool, reason: impl FnOnce() -> String) -> Checked<()> {
    if right { Ok(()) } else { Err(reason()) }
}

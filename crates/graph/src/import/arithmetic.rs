//! Arithmetic with constants and batch normalisation: scalings, which [`crate::passes`] folds into neighbours.

use std::rc::Rc;

use ariann_ring::{ConvShape, Tensor};

use super::constant::Constant;
use super::error::{ImportError, Refusal};
use super::shape::checked_len;
use super::{Call, Importer, Purpose, Value, curve, evaluate};
use crate::graph::{BatchNorm, Conv, Op, ValueId};

/// Factors or summands of an item's elements.
#[derive(Clone, PartialEq)]
pub(super) enum Spread {
    /// One for all.
    One(f32),
    /// One a channel, the first axis of an item.
    Channel(Vec<f32>),
    /// One an element.
    Element(Vec<f32>),
}

impl Spread {
    fn values(&self) -> &[f32] {
        match self {
            Spread::One(value) => std::slice::from_ref(value),
            Spread::Channel(values) | Spread::Element(values) => values,
        }
    }

    pub fn map(self, f: impl Fn(f32) -> f32) -> Spread {
        match self {
            Spread::One(value) => Spread::One(f(value)),
            Spread::Channel(values) => Spread::Channel(values.into_iter().map(f).collect()),
            Spread::Element(values) => Spread::Element(values.into_iter().map(f).collect()),
        }
    }

    fn all(&self, wanted: f32) -> bool {
        self.values().iter().all(|&value| value == wanted)
    }

    /// One value for each of `channels`, or for each element where there is one.
    fn spread(&self, channels: usize) -> Vec<f32> {
        match self {
            Spread::One(value) => vec![*value; channels],
            Spread::Channel(values) if values.len() != channels => {
                let each = channels / values.len();
                (0..channels).map(|element| values[element / each]).collect()
            }
            Spread::Channel(values) | Spread::Element(values) => values.clone(),
        }
    }
}

/// Most values that a constant is spread to beyond its own.
const MAX_SPREAD: usize = 1 << 24;

/// A constant broadcast over items: axes are aligned at the end, and the batch axis has one value.
pub(super) fn broadcast(call: &Call<'_>, constant: &Constant, item: &[usize]) -> Result<Spread, Refusal> {
    let values = call.floats(constant)?;
    if let &[value] = values
        && constant.shape.len() <= item.len() + 1
    {
        return Ok(Spread::One(value));
    }
    let refuse = || {
        let reason = format!("its constant {:?} does not spread over items {item:?}", constant.shape);
        Refusal::unsupported(
            reason,
            "constants must have size 1 or that of the item along each axis, 1 along the batch",
        )
    };
    let mut sizes = vec![1; (item.len() + 1).checked_sub(constant.shape.len()).ok_or_else(refuse)?];
    sizes.extend(&constant.shape);
    let fits = sizes[1..].iter().zip(item).all(|(&size, &axis)| size == 1 || size == axis);
    if sizes[0] != 1 || !fits || values.is_empty() {
        return Err(refuse());
    }
    if sizes[2..].iter().all(|&size| size == 1) {
        return Ok(Spread::Channel(values.to_vec()));
    }
    let len: usize = item.iter().product();
    bounded(call, len, values.len())?;
    let at = |element: usize| {
        let (mut rest, mut place, mut step) = (element, 0, 1);
        for (&size, &axis) in sizes[1..].iter().zip(item).rev() {
            place += if size == 1 { 0 } else { rest % axis * step };
            step *= size;
            rest /= axis;
        }
        values[place]
    };
    Ok(Spread::Element((0..len).map(at).collect()))
}

/// Refuses to make `len` values of `held` ones where that is far more than the file holds.
pub(super) fn bounded(call: &Call<'_>, len: usize, held: usize) -> Result<(), ImportError> {
    let limit = MAX_SPREAD.max(held);
    let what = || format!("the constants of \"{}\", spread out,", call.name);
    if len <= limit { Ok(()) } else { Err(ImportError::Overflow { what: what(), limit }) }
}

/// Names of a scaling's constants.
pub(super) struct Names<'a> {
    pub scale: Option<&'a str>,
    pub shift: Option<&'a str>,
}

/// y = scale · x + shift as a depthwise convolution of single places, between reshapes where items are no images.
pub(super) fn scale_shift(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    (scale, shift): (Spread, Spread),
    names: Names<'_>,
) -> Result<Value, Refusal> {
    if let Some(value) = scale.values().iter().chain(shift.values()).find(|value| !value.is_finite()) {
        return Err(call.attributes.invalid(format!("it scales or shifts by {value}")).into());
    }
    if scale.all(1.0) && shift.all(0.0) {
        return Ok(Value::Data(x));
    }
    let item = importer.shape(x).to_vec();
    let len: usize = item.iter().product();
    let (channels, in_height, in_width) = match (&scale, item.as_slice()) {
        (Spread::Element(_), _) => (len, 1, 1),
        (_, []) => (1, 1, 1),
        // One scale and one shift for all: one channel holds them.
        (Spread::One(_), other) if other.len() != 3 && matches!(shift, Spread::One(_)) => (1, 1, len),
        (_, &[channels]) => (channels, 1, 1),
        (_, &[channels, ref between @ .., width]) => (channels, between.iter().product(), width),
    };
    bounded(call, channels, scale.values().len().max(shift.values().len()))?;
    let weights = scale.spread(channels);
    let bias = (!shift.all(0.0)).then(|| shift.spread(channels));
    let shape = ConvShape {
        in_channels: channels,
        in_height,
        in_width,
        out_channels: channels,
        kernel: [1, 1],
        stride: [1, 1],
        pads: [0; 4],
        dilation: [1, 1],
        groups: channels,
    };
    shape.validate().map_err(|e| call.attributes.invalid(e.to_string()))?;
    let weights = Tensor::new(vec![channels, 1, 1, 1], weights).map_err(|e| call.attributes.invalid(e.to_string()))?;
    let weight_name = names.scale.map_or_else(|| format!("{}.scale", call.name), String::from);
    let bias_name = bias.is_some().then(|| names.shift.map_or_else(|| format!("{}.shift", call.name), String::from));
    let op = Op::Conv(Conv { shape, weights, bias, weight_name, bias_name });
    let image = vec![channels, in_height, in_width];
    let inner = if image == item { x } else { importer.push_id(&call.name, Op::Reshape, vec![x], image.clone())? };
    let scaled = importer.push_id(&call.name, op, vec![inner], image.clone())?;
    let value =
        if image == item { Value::Data(scaled) } else { importer.push(&call.name, Op::Reshape, vec![scaled], item)? };
    if let (Spread::One(scale), Spread::One(shift)) = (&scale, &shift) {
        importer.remember_line(&value, x, *scale, *shift);
    }
    Ok(value)
}

pub(super) fn add(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    if let Some(value) = curve::binary(importer, call, false, |a, b| a + b)? {
        return Ok(value);
    }
    match (call.needed(0)?, call.needed(1)?) {
        (Value::Constant(a), Value::Constant(b)) => evaluate::binary(call, a, b),
        (Value::Constant(constant), Value::Data(x)) | (Value::Data(x), Value::Constant(constant)) => {
            shifted(importer, call, *x, 1.0, constant, 1.0)
        }
        _ => {
            let (a, b) = (call.data(0)?, call.data(1)?);
            add_values(importer, call, a, b)
        }
    }
}

pub(super) fn sub(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    if let Some(value) = curve::binary(importer, call, false, |a, b| a - b)? {
        return Ok(value);
    }
    match (call.needed(0)?, call.needed(1)?) {
        (Value::Constant(a), Value::Constant(b)) => evaluate::binary(call, a, b),
        (Value::Data(x), Value::Constant(constant)) => shifted(importer, call, *x, 1.0, constant, -1.0),
        (Value::Constant(constant), Value::Data(x)) => shifted(importer, call, *x, -1.0, constant, 1.0),
        _ => {
            let (a, b) = (call.data(0)?, call.data(1)?);
            equal_shapes(importer, a, b)?;
            let none = Names { scale: None, shift: None };
            match scale_shift(importer, call, b, (Spread::One(-1.0), Spread::One(0.0)), none)? {
                Value::Data(negative) => add_values(importer, call, a, negative),
                _ => unreachable!("a scaling is a layer"),
            }
        }
    }
}

/// scale · x + sign · constant.
fn shifted(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    scale: f32,
    constant: &Constant,
    sign: f32,
) -> Result<Value, Refusal> {
    let shift = broadcast(call, constant, importer.shape(x))?.map(|value| sign * value);
    scale_shift(importer, call, x, (Spread::One(scale), shift), Names { scale: None, shift: Some(&constant.name) })
}

fn equal_shapes(importer: &Importer<'_>, a: ValueId, b: ValueId) -> Result<(), Refusal> {
    let (a, b) = (importer.shape(a), importer.shape(b));
    if a == b {
        return Ok(());
    }
    let reason = format!("it joins values of shapes {a:?} and {b:?}");
    Err(Refusal::unsupported(reason, "only values of equal shape are added or subtracted"))
}

pub(super) fn add_values(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    a: ValueId,
    b: ValueId,
) -> Result<Value, Refusal> {
    equal_shapes(importer, a, b)?;
    let shape = importer.shape(a).to_vec();
    Ok(importer.push(&call.name, Op::Add, vec![a, b], shape)?)
}

/// Sum of any number of values.
pub(super) fn sum(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let mut total = call.data(0)?;
    for index in 1..call.inputs.len() {
        let next = call.data(index)?;
        match add_values(importer, call, total, next)? {
            Value::Data(value) => total = value,
            _ => unreachable!("a sum is a layer"),
        }
    }
    Ok(Value::Data(total))
}

pub(super) fn mul(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    if let Some(value) = curve::binary(importer, call, true, |a, b| a * b)? {
        return Ok(value);
    }
    match (call.needed(0)?, call.needed(1)?) {
        (Value::Constant(a), Value::Constant(b)) => evaluate::binary(call, a, b),
        (Value::Constant(constant), _) => {
            let x = call.data(1)?;
            scaled(importer, call, x, constant, |value| value)
        }
        (_, Value::Constant(constant)) => {
            let x = call.data(0)?;
            scaled(importer, call, x, constant, |value| value)
        }
        _ => Err(call.data(0).and(call.data(1)).expect_err("two values of the input were taken before")),
    }
}

pub(super) fn div(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    if let Some(value) = curve::binary(importer, call, true, |a, b| a / b)? {
        return Ok(value);
    }
    if let (Value::Constant(a), Value::Constant(b)) = (call.needed(0)?, call.needed(1)?) {
        return evaluate::binary(call, a, b);
    }
    let constant = call.constant(1, "divisor")?;
    let x = call.data(0)?;
    if constant.floats().is_some_and(|values| values.contains(&0.0)) {
        return Err(call.attributes.invalid("it divides by 0").into());
    }
    scaled(importer, call, x, &constant, |value| (1.0 / f64::from(value)) as f32)
}

pub(super) fn neg(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let none = Names { scale: None, shift: None };
    scale_shift(importer, call, x, (Spread::One(-1.0), Spread::One(0.0)), none)
}

fn scaled(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    constant: &Rc<Constant>,
    of: fn(f32) -> f32,
) -> Result<Value, Refusal> {
    let scale = broadcast(call, constant, importer.shape(x))?.map(of);
    let names = Names { scale: Some(&constant.name), shift: None };
    scale_shift(importer, call, x, (scale, Spread::One(0.0)), names)
}

pub(super) fn batch_normalization(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let training = importer.purpose == Purpose::Training;
    if call.attributes.flag("training_mode", false)? && !training {
        return Err(Refusal::unsupported("it is in training mode", "export the model in evaluation mode"));
    }
    let item = importer.shape(x).to_vec();
    let spatial = call.attributes.flag("spatial", true)?;
    let wanted = if spatial { item[..item.len().min(1)].to_vec() } else { item.clone() };
    let count = checked_len(&wanted, || format!("the statistics of \"{}\"", call.name))?;
    let parameter = |index: usize, what: &str| {
        let constant = call.constant(index, what)?;
        let fits = call.floats(&constant)?.len() == count;
        let wrong = || call.attributes.invalid(format!("its {what} {:?} does not fit items {item:?}", constant.shape));
        if fits { Ok(constant.clone()) } else { Err(Refusal::from(wrong())) }
    };
    let [gamma, beta, mean, variance] =
        [parameter(1, "scale")?, parameter(2, "bias")?, parameter(3, "mean")?, parameter(4, "variance")?];
    let epsilon = f64::from(call.attributes.float("epsilon", 1e-5)?);
    let [g, b, m, v] = [&gamma, &beta, &mean, &variance].map(|constant| constant.floats().unwrap_or(&[]));
    if v.iter().any(|&v| f64::from(v) + epsilon <= 0.0) {
        return Err(call.attributes.invalid("a variance is not positive").into());
    }
    if training {
        let channels = item.first().copied().unwrap_or(1);
        if count != channels {
            let reason = format!("it normalises {count} values of items {item:?} each alone");
            return Err(Refusal::unsupported(reason, "train with one factor a channel: spatial = 1"));
        }
        // Six decimal places: what a float32 near 0.9 says of 0.1.
        let momentum = (1e6 * (1.0 - f64::from(call.attributes.float("momentum", 0.9)?))).round() / 1e6;
        if !(0.0..=1.0).contains(&momentum) {
            return Err(call.attributes.invalid("its momentum is not within 0 and 1").into());
        }
        let names = [&gamma, &beta, &mean, &variance].map(|constant| constant.name.clone());
        let [gamma, beta, mean, variance] = [g, b, m, v].map(<[f32]>::to_vec);
        let norm = BatchNorm { gamma, beta, mean, variance, epsilon, momentum, names };
        return Ok(importer.push(&call.name, Op::BatchNorm(norm), vec![x], item)?);
    }
    let scale: Vec<f64> = g.iter().zip(v).map(|(&g, &v)| f64::from(g) / (f64::from(v) + epsilon).sqrt()).collect();
    let shift = b.iter().zip(m).zip(&scale).map(|((&b, &m), s)| (f64::from(b) - f64::from(m) * s) as f32).collect();
    let scale = scale.iter().map(|&s| s as f32).collect();
    let of = |values| if spatial { Spread::Channel(values) } else { Spread::Element(values) };
    let names = Names { scale: Some(&gamma.name), shift: Some(&beta.name) };
    scale_shift(importer, call, x, (of(scale), of(shift)), names)
}

//! Functions of each value: ReLU and its relatives, lookups, Softmax.

use super::arithmetic::{Names, Spread, add_values, broadcast, scale_shift};
use super::error::Refusal;
use super::{Call, Importer, Value, curve, layout};
use crate::function::Function;
use crate::graph::{Op, ValueId};

/// Limits beyond this are how exporters write that there is none.
const NO_LIMIT: f32 = 3e38;

fn same_shape(importer: &mut Importer<'_>, call: &Call<'_>, x: ValueId, op: Op) -> Result<Value, Refusal> {
    let shape = importer.shape(x).to_vec();
    Ok(importer.push(&call.name, op, vec![x], shape)?)
}

pub(super) fn relu(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    same_shape(importer, call, x, Op::Relu)
}

/// scale · x + shift, the same for all values.
fn line(importer: &mut Importer<'_>, call: &Call<'_>, x: ValueId, scale: f32, shift: f32) -> Result<ValueId, Refusal> {
    let none = Names { scale: None, shift: None };
    id(scale_shift(importer, call, x, (Spread::One(scale), Spread::One(shift)), none)?)
}

fn id(value: Value) -> Result<ValueId, Refusal> {
    match value {
        Value::Data(value) => Ok(value),
        _ => unreachable!("a layer has a value"),
    }
}

pub(super) fn clip(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let lo = call.number(1, "min")?.filter(|&lo| lo > -NO_LIMIT);
    let hi = call.number(2, "max")?.filter(|&hi| hi < NO_LIMIT);
    match (lo, hi) {
        (None, None) => Ok(Value::Data(x)),
        (Some(lo), Some(hi)) if lo < hi => same_shape(importer, call, x, Op::Clip { lo, hi }),
        (Some(lo), Some(hi)) => {
            let reason = format!("its limits {lo} and {hi} leave one value");
            Err(Refusal::unsupported(reason, "a layer that computes a constant has no use"))
        }
        (Some(lo), None) => {
            let x = line(importer, call, x, 1.0, -lo)?;
            let cut = id(same_shape(importer, call, x, Op::Relu)?)?;
            line(importer, call, cut, 1.0, lo).map(Value::Data)
        }
        (None, Some(hi)) => {
            let x = line(importer, call, x, -1.0, hi)?;
            let cut = id(same_shape(importer, call, x, Op::Relu)?)?;
            line(importer, call, cut, -1.0, hi).map(Value::Data)
        }
    }
}

pub(super) fn hard_sigmoid(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let (alpha, beta) = (call.attributes.float("alpha", 0.2)?, call.attributes.float("beta", 0.5)?);
    let x = line(importer, call, x, alpha, beta)?;
    same_shape(importer, call, x, Op::Clip { lo: 0.0, hi: 1.0 })
}

pub(super) fn leaky_relu(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let slope = call.attributes.float("alpha", 0.01)?;
    leaky(importer, call, x, Spread::One(slope), None)
}

pub(super) fn prelu(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let slope = call.constant(1, "slope")?;
    let spread = broadcast(call, &slope, importer.shape(x))?;
    leaky(importer, call, x, spread, Some(&slope.name))
}

/// slope · x + (1 - slope) · ReLU(x): the slopes are weights, known to the model owner alone.
fn leaky(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    slope: Spread,
    name: Option<&str>,
) -> Result<Value, Refusal> {
    let names = || Names { scale: name, shift: None };
    let cut = id(same_shape(importer, call, x, Op::Relu)?)?;
    let rest = slope.clone().map(|slope| 1.0 - slope);
    let cut = id(scale_shift(importer, call, cut, (rest, Spread::One(0.0)), names())?)?;
    let whole = id(scale_shift(importer, call, x, (slope, Spread::One(0.0)), names())?)?;
    add_values(importer, call, cut, whole)
}

fn function(importer: &mut Importer<'_>, call: &Call<'_>, function: Function) -> Result<Value, Refusal> {
    if let Some(value) = curve::unary(importer, call, false, |x| function.of(x))? {
        return Ok(value);
    }
    let x = call.data(0)?;
    same_shape(importer, call, x, Op::Function(function))
}

pub(super) fn sigmoid(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    function(importer, call, Function::Sigmoid)
}

pub(super) fn tanh(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    function(importer, call, Function::Tanh)
}

pub(super) fn exp(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    function(importer, call, Function::Exp)
}

pub(super) fn gelu(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    match call.attributes.string("approximate", "none")?.as_str() {
        "none" => function(importer, call, Function::Gelu),
        "tanh" => function(importer, call, Function::GeluTanh),
        other => Err(call.attributes.invalid(format!("approximation \"{other}\" does not exist")).into()),
    }
}

/// The axes that Softmax runs over: the last ones (`Rows` of so many values), or one that has to be moved there.
enum Over {
    Rows(usize),
    Axis(usize),
}

fn over(importer: &Importer<'_>, call: &Call<'_>, item: &[usize]) -> Result<Over, Refusal> {
    let flattens = importer.opset < 13;
    let axis = call.item_axis(call.attributes.int("axis", if flattens { 1 } else { -1 })?, item.len())?;
    let behind: usize = item[axis..].iter().product();
    Ok(if flattens || behind == item[axis] { Over::Rows(behind) } else { Over::Axis(axis) })
}

pub(super) fn softmax(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let item = importer.shape(x).to_vec();
    match over(importer, call, &item)? {
        Over::Rows(row) => same_shape(importer, call, x, Op::Softmax(row)),
        Over::Axis(axis) => {
            let moved = layout::axis_last(importer, call, x, axis, false)?;
            let softmax = id(same_shape(importer, call, moved, Op::Softmax(item[axis]))?)?;
            layout::axis_last(importer, call, softmax, axis, true).map(Value::Data)
        }
    }
}

pub(super) fn log_softmax(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let item = importer.shape(x);
    match over(importer, call, item)? {
        Over::Rows(row) if row == item.iter().product::<usize>() => Ok(Value::LogSoftmax(x)),
        _ => {
            let reason = "it does not run over all logits of an item";
            Err(Refusal::unsupported(reason, "LogSoftmax is supported over the logits [N, classes] at the end only"))
        }
    }
}

//! Values that do not depend on the input, computed at once: constants, shapes, and what exporters do with them.

use std::rc::Rc;

use super::constant::{self, Constant, Numbers};
use super::error::Refusal;
use super::shape::checked_len;
use super::{Call, Importer, Value, arithmetic};

/// The size of the batch axis in the shape of a value where the model leaves it open. No size is negative, and no
/// arithmetic is done with it.
pub(super) const BATCH: i64 = i64::MIN;

pub(super) fn constant_node(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let attributes = &call.attributes;
    let name = call.output();
    let of = |shape: Vec<usize>, numbers| Constant { name: name.into(), shape, numbers };
    let value = if let Some(attribute) = attributes.get("value") {
        let missing = || attributes.invalid("attribute \"value\" is no tensor");
        constant::constant(attribute.t.as_ref().ok_or_else(missing)?, name, importer.folder)?
    } else if attributes.get("value_float").is_some() {
        of(vec![], Numbers::Float(vec![attributes.float("value_float", 0.0)?]))
    } else if attributes.get("value_int").is_some() {
        of(vec![], Numbers::Int(vec![attributes.int("value_int", 0)?]))
    } else if let Some(ints) = attributes.ints("value_ints")? {
        of(vec![ints.len()], Numbers::Int(ints.to_vec()))
    } else if let Some(floats) = attributes.get("value_floats") {
        of(vec![floats.floats.len()], Numbers::Float(floats.floats.clone()))
    } else {
        return Err(attributes.invalid("it holds no value").into());
    };
    value.check_finite()?;
    Ok(Value::Constant(Rc::new(value)))
}

/// The shape of a value, its batch axis open where the model leaves it so.
pub(super) fn shape(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let whole: Vec<i64> = match call.needed(0)? {
        Value::Constant(constant) => constant.shape.iter().map(|&size| size as i64).collect(),
        _ => {
            let item = importer.shape(call.data(0)?);
            let batch = importer.batch.map_or(BATCH, |batch| batch as i64);
            std::iter::once(batch).chain(item.iter().map(|&size| size as i64)).collect()
        }
    };
    let rank = whole.len() as i64;
    let end = |name: &str, default: i64| -> Result<usize, Refusal> {
        let place = call.attributes.int(name, default)?;
        let place = if place < 0 { place.saturating_add(rank) } else { place };
        Ok(place.clamp(0, rank) as usize)
    };
    let (start, end) = (end("start", 0)?, end("end", rank)?);
    let sizes = whole.get(start..end).unwrap_or(&[]).to_vec();
    Ok(integers(call, vec![sizes.len()], sizes))
}

pub(super) fn cast(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    const FLOATS: [i64; 2] = [1, 11];
    const INTEGERS: [i64; 2] = [6, 7];
    let to = call.attributes.int("to", 1)?;
    match call.needed(0)? {
        Value::Constant(constant) if FLOATS.contains(&to) => as_float(call, constant),
        Value::Constant(constant) if INTEGERS.contains(&to) => {
            let numbers = match &constant.numbers {
                Numbers::Float(values) => Numbers::Int(values.iter().map(|&value| value as i64).collect()),
                numbers => numbers.clone(),
            };
            Ok(Value::Constant(Rc::new(Constant { numbers, ..(**constant).clone() })))
        }
        Value::Data(value) if to == 1 => Ok(Value::Data(*value)),
        _ => {
            let reason = format!("it converts to {}", constant::type_name(i32::try_from(to).unwrap_or(0)));
            Err(Refusal::unsupported(reason, "values are float32, shapes are integers"))
        }
    }
}

/// Every value of the input is float32, so that only constants change.
pub(super) fn cast_like(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let integers = matches!(call.needed(1)?, Value::Constant(like) if like.integers().is_some());
    match call.needed(0)? {
        Value::Constant(constant) if integers == constant.integers().is_some() => Ok(Value::Constant(constant.clone())),
        Value::Constant(constant) if !integers => as_float(call, constant),
        Value::Data(value) if !integers => Ok(Value::Data(*value)),
        _ => Err(Refusal::unsupported("it converts to integers", "values are float32")),
    }
}

fn as_float(call: &Call<'_>, constant: &Constant) -> Result<Value, Refusal> {
    let numbers = match &constant.numbers {
        Numbers::Int(values) => {
            no_batch(call, values)?;
            Numbers::Float(values.iter().map(|&value| value as f32).collect())
        }
        numbers => numbers.clone(),
    };
    Ok(Value::Constant(Rc::new(Constant { numbers, ..constant.clone() })))
}

/// Sum, difference, product or quotient of two constants, broadcast.
pub(super) fn binary(call: &Call<'_>, a: &Constant, b: &Constant) -> Result<Value, Refusal> {
    let rank = a.shape.len().max(b.shape.len());
    let axis = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |place| shape[place]);
    let size = |index: usize| match (axis(&a.shape, index), axis(&b.shape, index)) {
        (1, size) | (size, 1) => Some(size),
        (x, y) => (x == y).then_some(x),
    };
    let mismatch = || call.attributes.invalid(format!("shapes {:?} and {:?} do not fit", a.shape, b.shape));
    let shape: Vec<usize> = (0..rank).map(size).collect::<Option<_>>().ok_or_else(mismatch)?;
    let len = checked_len(&shape, || format!("the output of \"{}\"", call.name))?;
    arithmetic::bounded(call, len, a.numbers.len().max(b.numbers.len()))?;
    let place = |operand: &Constant, element: usize| {
        let (mut rest, mut place, mut step) = (element, 0, 1);
        for index in (0..rank).rev() {
            let size = axis(&operand.shape, index);
            place += if size == 1 { 0 } else { rest % shape[index] * step };
            step *= size;
            rest /= shape[index];
        }
        place
    };
    let operator = call.proto.op_type();
    let numbers = match (&a.numbers, &b.numbers) {
        (Numbers::Float(x), Numbers::Float(y)) => {
            let of = |x: f32, y: f32| match operator {
                "Add" => x + y,
                "Sub" => x - y,
                "Mul" => x * y,
                _ => x / y,
            };
            Numbers::Float((0..len).map(|i| of(x[place(a, i)], y[place(b, i)])).collect())
        }
        (Numbers::Int(x), Numbers::Int(y)) => {
            no_batch(call, x)?;
            no_batch(call, y)?;
            let of = |x: i64, y: i64| match operator {
                "Add" => x.checked_add(y),
                "Sub" => x.checked_sub(y),
                "Mul" => x.checked_mul(y),
                _ => x.checked_div(y),
            };
            let values = (0..len).map(|i| of(x[place(a, i)], y[place(b, i)])).collect::<Option<Vec<_>>>();
            Numbers::Int(values.ok_or_else(|| call.attributes.invalid("its integers overflow or divide by 0"))?)
        }
        _ => return Err(call.attributes.invalid("it mixes integers and floats").into()),
    };
    let value = Constant { name: call.output().into(), shape, numbers };
    value.check_finite()?;
    Ok(Value::Constant(Rc::new(value)))
}

fn no_batch(call: &Call<'_>, values: &[i64]) -> Result<(), Refusal> {
    if !values.contains(&BATCH) {
        return Ok(());
    }
    let reason = format!("{} computes with the open size of the batch", call.proto.op_type());
    Err(Refusal::unsupported(reason, "export with reshapes to [-1, ...] or [0, ...], or with a fixed batch"))
}

fn integers(call: &Call<'_>, shape: Vec<usize>, values: Vec<i64>) -> Value {
    let name = call.output().to_string();
    Value::Constant(Rc::new(Constant { name, shape, numbers: Numbers::Int(values) }))
}

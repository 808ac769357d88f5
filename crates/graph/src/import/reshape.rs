//! Other shapes of the same values, and what vanishes in inference.

use super::constant::Constant;
use super::error::Refusal;
use super::layout::Operand;
use super::shape::reshape;
use super::{Call, Importer, Purpose, Value};
use crate::graph::Op;

pub(super) fn flatten(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let axis = call.attributes.int("axis", 1)?;
    let operand = call.operand(0)?;
    if let Operand::Constant(constant) = &operand {
        let rank = constant.shape.len();
        let axis = if axis < 0 { axis + rank as i64 } else { axis };
        let axis = usize::try_from(axis).ok().filter(|&axis| axis <= rank);
        let axis = axis.ok_or_else(|| call.attributes.invalid("its axis does not exist"))?;
        let (outer, inner) = constant.shape.split_at(axis);
        // Beside an axis of size 0 the others may be of any size.
        let product = |axes: &[usize]| axes.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        let shape = product(outer).zip(product(inner)).map(|(outer, inner)| vec![outer, inner]);
        let shape = shape.ok_or_else(|| call.attributes.invalid("the shape overflows"))?;
        return operand.reshaped(importer, call, shape);
    }
    let item = operand.shape(importer);
    if axis != 1 && axis != -(item.len() as i64) {
        let reason = format!("axis {axis} mixes items of a batch or leaves several axes");
        return Err(Refusal::unsupported(reason, "flatten from axis 1"));
    }
    operand.reshaped(importer, call, vec![item.iter().product()])
}

pub(super) fn reshape_node(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let missing = || call.attributes.invalid("it is given no shape");
    let target = call.integers(1, "shape")?.ok_or_else(missing)?;
    let allow_zero = call.attributes.flag("allowzero", false)?;
    let operand = call.operand(0)?;
    let shape = match &operand {
        Operand::Constant(constant) => {
            // A constant has no batch axis: the rule is used with an axis of one put before both shapes.
            let whole: Vec<i64> = std::iter::once(1).chain(target).collect();
            let shape = reshape(&constant.shape, &whole, Some(1), allow_zero);
            shape.map_err(|reason| call.attributes.invalid(reason))?
        }
        Operand::Data(value) => {
            let shape = reshape(importer.shape(*value), &target, importer.batch, allow_zero);
            let hint = "reshape to [-1, ...] or [0, ...], so that items stay apart";
            shape.map_err(|reason| Refusal::unsupported(reason, hint))?
        }
    };
    operand.reshaped(importer, call, shape)
}

pub(super) fn squeeze(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let operand = call.operand(0)?;
    let mut shape = operand.shape(importer);
    match call.integers(1, "axes")? {
        Some(axes) => {
            let axes = axes.iter().map(|&axis| operand.axis(importer, call, axis)).collect::<Result<Vec<_>, _>>()?;
            if let Some(axis) = axes.iter().find(|&&axis| shape[axis] != 1) {
                return Err(call.attributes.invalid(format!("it drops an axis of size {}", shape[*axis])).into());
            }
            let mut axis = 0..;
            shape.retain(|_| !axis.next().is_some_and(|axis| axes.contains(&axis)));
        }
        None if matches!(operand, Operand::Data(_)) && importer.batch == Some(1) => {
            return Err(Refusal::unsupported("it drops the batch axis", "give the axes that are dropped"));
        }
        None => shape.retain(|&size| size != 1),
    }
    operand.reshaped(importer, call, shape)
}

pub(super) fn unsqueeze(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let operand = call.operand(0)?;
    let mut shape = operand.shape(importer);
    let axes = call.integers(1, "axes")?.ok_or_else(|| call.attributes.invalid("it is given no axes"))?;
    if axes.len() > 8 {
        return Err(call.attributes.invalid(format!("it adds {} axes", axes.len())).into());
    }
    let rank = shape.len() + axes.len();
    let place = |&axis: &i64| match &operand {
        Operand::Data(_) => call.item_axis(axis, rank),
        Operand::Constant(_) => call.axis(axis, rank),
    };
    let mut places = axes.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(call.attributes.invalid("it adds an axis twice").into());
    }
    places.into_iter().for_each(|place| shape.insert(place, 1));
    operand.reshaped(importer, call, shape)
}

/// Dropout and Identity in inference.
pub(super) fn identity(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    Ok(call.needed(0)?.clone())
}

pub(super) fn dropout(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    if let (Purpose::Training, Value::Data(x)) = (importer.purpose, call.needed(0)?) {
        let ratio = call.number(1, "ratio")?;
        if ratio.is_some_and(|ratio| !(0.0..1.0).contains(&ratio)) {
            return Err(call.attributes.invalid("its ratio is not within 0 and 1").into());
        }
        let shape = importer.shape(*x).to_vec();
        return Ok(importer.push(&call.name, Op::Dropout { ratio }, vec![*x], shape)?);
    }
    let is_false = |mode: &Constant| mode.integers().is_some_and(|values| values.iter().all(|&value| value == 0));
    if call.optional(2).is_some_and(|mode| !matches!(mode, Value::Constant(mode) if is_false(mode))) {
        return Err(Refusal::unsupported("it is in training mode", "export the model in evaluation mode"));
    }
    Ok(call.needed(0)?.clone())
}

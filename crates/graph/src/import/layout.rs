//! Values and constants rearranged by the same rules.

use std::rc::Rc;

use ariann_ring::arrange::{Arrange, Block};

use super::boxes::{self, Run};
use super::constant::{Constant, Numbers};
use super::error::Refusal;
use super::shape::checked_len;
use super::{Call, Importer, Value, arithmetic};
use crate::graph::{Op, ValueId};

/// Boxes of one rearrangement: a hostile list of places must not become as many boxes.
pub(crate) const MAX_BLOCKS: usize = 1 << 12;

/// Constants and values of the input by the same rules; the shape of a value is that of an item.
#[derive(Clone)]
pub(super) enum Operand {
    Data(ValueId),
    Constant(Rc<Constant>),
}

impl Operand {
    pub fn shape(&self, importer: &Importer<'_>) -> Vec<usize> {
        match self {
            Operand::Data(value) => importer.shape(*value).to_vec(),
            Operand::Constant(constant) => constant.shape.clone(),
        }
    }

    pub fn axis(&self, importer: &Importer<'_>, call: &Call<'_>, axis: i64) -> Result<usize, Refusal> {
        match self {
            Operand::Data(value) => call.item_axis(axis, importer.shape(*value).len()),
            Operand::Constant(constant) => call.axis(axis, constant.shape.len()),
        }
    }

    /// The same elements in another shape.
    pub fn reshaped(&self, importer: &mut Importer<'_>, call: &Call<'_>, shape: Vec<usize>) -> Result<Value, Refusal> {
        match self {
            Operand::Data(value) if importer.shape(*value) == shape => Ok(Value::Data(*value)),
            Operand::Data(value) => Ok(importer.push(&call.name, Op::Reshape, vec![*value], shape)?),
            Operand::Constant(constant) => Ok(Value::Constant(Rc::new(Constant { shape, ..(**constant).clone() }))),
        }
    }
}

impl Call<'_> {
    pub fn operand(&self, index: usize) -> Result<Operand, Refusal> {
        match self.needed(index)? {
            Value::Constant(constant) => Ok(Operand::Constant(constant.clone())),
            _ => Ok(Operand::Data(self.data(index)?)),
        }
    }
}

/// Rearranges operands, all values or all constants.
pub(super) fn arranged(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    operands: &[Operand],
    arrange: Arrange,
    shape: Vec<usize>,
) -> Result<Value, Refusal> {
    if let Operand::Constant(_) = operands[0] {
        let constants: Vec<&Constant> = operands.iter().filter_map(constant).collect();
        let numbers = if let Some(values) = constants.iter().map(|c| c.floats()).collect::<Option<Vec<_>>>() {
            let mut out = vec![0.0; arrange.len];
            arrange.apply(1, &values, &mut out);
            Numbers::Float(out)
        } else if let Some(values) = constants.iter().map(|c| c.integers()).collect::<Option<Vec<_>>>() {
            let mut out = vec![0; arrange.len];
            arrange.apply(1, &values, &mut out);
            Numbers::Int(out)
        } else {
            return Err(call.attributes.invalid("it mixes integers and floats").into());
        };
        return Ok(Value::Constant(Rc::new(Constant { name: call.output().into(), shape, numbers })));
    }
    if arrange.len == 0 {
        return Err(Refusal::unsupported("its output holds no values", "remove the layer and what reads it"));
    }
    let inputs: Vec<ValueId> = operands.iter().filter_map(data).collect();
    let identity = |block: &Block| {
        block.from == 0 && block.len() == arrange.len && block.axes.iter().all(|axis| axis.from == 1 && axis.to == 1)
    };
    if let ([block], [_]) = (arrange.blocks.as_slice(), operands)
        && block.axes.len() <= 1
        && identity(block)
        && importer.shape(inputs[0]).iter().product::<usize>() == arrange.len
    {
        return operands[0].reshaped(importer, call, shape);
    }
    Ok(importer.push(&call.name, Op::Arrange(arrange), inputs, shape)?)
}

pub(super) fn constant(operand: &Operand) -> Option<&Constant> {
    match operand {
        Operand::Constant(constant) => Some(constant),
        Operand::Data(_) => None,
    }
}

fn data(operand: &Operand) -> Option<ValueId> {
    match operand {
        Operand::Data(value) => Some(*value),
        Operand::Constant(_) => None,
    }
}

/// Takes runs of places along each axis of one operand.
pub(super) fn taken(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    operand: &Operand,
    runs: &[Vec<Run>],
    shape: Vec<usize>,
) -> Result<Value, Refusal> {
    let len = checked_len(&shape, || format!("the output of layer \"{}\"", call.name))?;
    if let Operand::Constant(constant) = operand {
        arithmetic::bounded(call, len, constant.numbers.len())?;
    }
    let count = runs.iter().try_fold(1usize, |count, runs| count.checked_mul(runs.len()));
    if count.is_none_or(|count| count > MAX_BLOCKS) {
        let reason = format!("it rearranges in more than {MAX_BLOCKS} pieces");
        return Err(Refusal::unsupported(reason, "use slices with fixed steps"));
    }
    let blocks = boxes::blocks(0, &operand.shape(importer), &shape, runs);
    arranged(importer, call, std::slice::from_ref(operand), Arrange { len, blocks }, shape)
}

/// A value with these axes of its items moved to the end, the others before them in their order.
pub(super) fn axes_last(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    axes: &[usize],
) -> Result<ValueId, Refusal> {
    let others = (0..importer.shape(x).len()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = others.chain(axes.iter().copied()).collect();
    match permuted(importer, call, &Operand::Data(x), &order)? {
        Value::Data(value) => Ok(value),
        _ => unreachable!("a value stays one"),
    }
}

pub(super) fn permuted(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    operand: &Operand,
    order: &[usize],
) -> Result<Value, Refusal> {
    let shape = operand.shape(importer);
    if let Operand::Constant(constant) = operand {
        return Ok(Value::Constant(Rc::new(constant.transposed(order))));
    }
    let out = order.iter().map(|&axis| shape[axis]).collect();
    arranged(importer, call, std::slice::from_ref(operand), boxes::transposed(&shape, order), out)
}

/// A value with axis `axis` of its items moved to the end, or back from there.
pub(super) fn axis_last(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    axis: usize,
    back: bool,
) -> Result<ValueId, Refusal> {
    let last = importer.shape(x).len() - 1;
    let mut order: Vec<usize> = (0..=last).collect();
    if back {
        order[axis..].rotate_right(1)
    } else {
        order[axis..].rotate_left(1)
    }
    match permuted(importer, call, &Operand::Data(x), &order)? {
        Value::Data(value) => Ok(value),
        _ => unreachable!("a value stays one"),
    }
}

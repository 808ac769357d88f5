//! Layers that compute nothing: other shapes, and elements in other places.

use std::rc::Rc;

use ariann_ring::arrange::{Arrange, Block};

use super::boxes::{self, Run};
use super::constant::{Constant, Numbers};
use super::error::Refusal;
use super::shape::{MAX_VALUES, checked_len, reshape};
use super::{Call, Importer, Value, arithmetic};
use crate::graph::{Op, ValueId};

/// Boxes of one rearrangement: a hostile list of places must not become as many boxes.
const MAX_BLOCKS: usize = 1 << 12;

/// Constants and values of the input by the same rules; the shape of a value is that of an item.
#[derive(Clone)]
enum Operand {
    Data(ValueId),
    Constant(Rc<Constant>),
}

impl Call<'_> {
    fn operand(&self, index: usize) -> Result<Operand, Refusal> {
        match self.needed(index)? {
            Value::Constant(constant) => Ok(Operand::Constant(constant.clone())),
            _ => Ok(Operand::Data(self.data(index)?)),
        }
    }
}

impl Operand {
    fn shape(&self, importer: &Importer<'_>) -> Vec<usize> {
        match self {
            Operand::Data(value) => importer.shape(*value).to_vec(),
            Operand::Constant(constant) => constant.shape.clone(),
        }
    }

    fn axis(&self, importer: &Importer<'_>, call: &Call<'_>, axis: i64) -> Result<usize, Refusal> {
        match self {
            Operand::Data(value) => call.item_axis(axis, importer.shape(*value).len()),
            Operand::Constant(constant) => call.axis(axis, constant.shape.len()),
        }
    }

    /// The same elements in another shape.
    fn reshaped(&self, importer: &mut Importer<'_>, call: &Call<'_>, shape: Vec<usize>) -> Result<Value, Refusal> {
        match self {
            Operand::Data(value) if importer.shape(*value) == shape => Ok(Value::Data(*value)),
            Operand::Data(value) => Ok(importer.push(&call.name, Op::Reshape, vec![*value], shape)?),
            Operand::Constant(constant) => Ok(Value::Constant(Rc::new(Constant { shape, ..(**constant).clone() }))),
        }
    }
}

/// Rearranges operands, all values or all constants.
fn arranged(
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

fn constant(operand: &Operand) -> Option<&Constant> {
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
fn taken(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    operand: &Operand,
    runs: &[Vec<Run>],
    shape: Vec<usize>,
) -> Result<Value, Refusal> {
    let len = checked_len(&shape, || format!("the output of layer \"{}\"", call.name))?;
    let count = runs.iter().try_fold(1usize, |count, runs| count.checked_mul(runs.len()));
    if count.is_none_or(|count| count > MAX_BLOCKS) {
        let reason = format!("it rearranges in more than {MAX_BLOCKS} pieces");
        return Err(Refusal::unsupported(reason, "use slices with fixed steps"));
    }
    let blocks = boxes::blocks(0, &operand.shape(importer), &shape, runs);
    arranged(importer, call, std::slice::from_ref(operand), Arrange { len, blocks }, shape)
}

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

pub(super) fn transpose(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let operand = call.operand(0)?;
    let shape = operand.shape(importer);
    let batch = usize::from(matches!(operand, Operand::Data(_)));
    let rank = shape.len() + batch;
    let order: Vec<usize> = match call.attributes.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) => perm.iter().map(|&axis| usize::try_from(axis).unwrap_or(rank)).collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(call.attributes.invalid("its order of axes is no permutation").into());
    }
    if batch == 1 && order[0] != 0 {
        return Err(Refusal::unsupported("it moves the batch axis", "the batch axis must stay the first"));
    }
    let order: Vec<usize> = order[batch..].iter().map(|axis| axis - batch).collect();
    permuted(importer, call, &operand, &order)
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

fn permuted(
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

pub(super) fn concat(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let operands = (0..call.inputs.len()).map(|index| call.operand(index)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = operands.first() else { return Err(call.attributes.invalid("it has no inputs").into()) };
    let constants = operands.iter().filter(|operand| constant(operand).is_some()).count();
    if constants != 0 && constants != operands.len() {
        let hint = "only values of the input are joined, or only constants";
        return Err(Refusal::unsupported("it joins constants to values of the input", hint));
    }
    let default = if importer.opset < 4 { 1 } else { 0 };
    let axis = first.axis(importer, call, call.attributes.int("axis", default)?)?;
    let shapes: Vec<Vec<usize>> = operands.iter().map(|operand| operand.shape(importer)).collect();
    let beside = |shape: &[usize]| {
        shape.len() == shapes[0].len() && (0..shape.len()).all(|a| a == axis || shape[a] == shapes[0][a])
    };
    if let Some(other) = shapes.iter().find(|shape| !beside(shape)) {
        return Err(call.attributes.invalid(format!("it joins shapes {:?} and {other:?}", shapes[0])).into());
    }
    let mut shape = shapes[0].clone();
    let total = shapes.iter().try_fold(0usize, |total, shape| total.checked_add(shape[axis]));
    shape[axis] = total.filter(|&total| total <= MAX_VALUES).unwrap_or(MAX_VALUES + 1);
    let len = checked_len(&shape, || format!("the output of layer \"{}\"", call.name))?;
    let (mut blocks, mut to) = (Vec::new(), 0);
    for (source, from) in shapes.iter().enumerate() {
        let mut runs: Vec<Vec<Run>> = from.iter().map(|&size| vec![Run::all(size)]).collect();
        runs[axis][0].to = to;
        to += from[axis];
        blocks.extend(boxes::blocks(source, from, &shape, &runs));
    }
    arranged(importer, call, &operands, Arrange { len, blocks }, shape)
}

pub(super) fn slice(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let operand = call.operand(0)?;
    let mut shape = operand.shape(importer);
    let missing = |what: &str| call.attributes.invalid(format!("it is given no {what}"));
    let starts = call.integers(1, "starts")?.ok_or_else(|| missing("starts"))?;
    let ends = call.integers(2, "ends")?.ok_or_else(|| missing("ends"))?;
    let axes = call.integers(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.integers(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(call.attributes.invalid("its starts, ends, axes and steps differ in number").into());
    }
    let mut runs: Vec<Vec<Run>> = shape.iter().map(|&size| vec![Run::all(size)]).collect();
    let mut seen = Vec::new();
    for (index, &axis) in axes.iter().enumerate() {
        let (start, end, step) = (starts[index], ends[index], steps[index]);
        let whole_batch = matches!(axis, 0) && matches!(operand, Operand::Data(_));
        if whole_batch && start == 0 && step == 1 && end >= importer.batch.map_or(i32::MAX.into(), |n| n as i64) {
            continue;
        }
        let axis = operand.axis(importer, call, axis)?;
        if seen.contains(&axis) {
            return Err(call.attributes.invalid("it names an axis twice").into());
        }
        seen.push(axis);
        runs[axis] =
            vec![slice_run(shape[axis], start, end, step).ok_or_else(|| call.attributes.invalid("a step is 0"))?];
        shape[axis] = runs[axis][0].len;
    }
    taken(importer, call, &operand, &runs, shape)
}

/// Places of an axis of `size` from `start` to before `end`, which count from the end where negative and are cut to the
/// axis; none for step 0.
fn slice_run(size: usize, start: i64, end: i64, step: i64) -> Option<Run> {
    let signed = size as i64;
    let place = |place: i64, least: i64, most: i64| {
        (if place < 0 { place.saturating_add(signed) } else { place }).clamp(least, most.max(least))
    };
    let (start, len) = match step {
        0 => return None,
        1.. => {
            let (start, end) = (place(start, 0, signed), place(end, 0, signed));
            (start, (end - start).max(0).unsigned_abs().div_ceil(step.unsigned_abs()))
        }
        _ => {
            let (start, end) = (place(start, -1, signed - 1), place(end, -1, signed - 1));
            (start, (start - end).max(0).unsigned_abs().div_ceil(step.unsigned_abs()))
        }
    };
    let step = step.clamp(-signed - 1, signed + 1) as isize;
    Some(Run { start: start.max(0) as usize, step, len: len as usize, to: 0 })
}

pub(super) fn split(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let operand = call.operand(0)?;
    let shape = operand.shape(importer);
    let axis = operand.axis(importer, call, call.attributes.int("axis", 0)?)?;
    let count = call.proto.output.len();
    let parts = match call.integers(1, "split")? {
        Some(parts) => {
            let sizes: Option<Vec<usize>> = parts.iter().map(|&size| usize::try_from(size).ok()).collect();
            sizes.filter(|sizes| sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)) == Some(shape[axis]))
        }
        None => {
            let each = shape[axis].div_ceil(count.max(1));
            let sizes = (0..count).map(|part| each.min(shape[axis].saturating_sub(part * each)));
            Some(sizes.collect())
        }
    };
    let parts = parts.filter(|parts| parts.len() == count);
    let parts = parts.ok_or_else(|| call.attributes.invalid(format!("it splits {} places wrongly", shape[axis])))?;
    let mut start = 0;
    let mut values = Vec::new();
    for size in parts {
        let mut runs: Vec<Vec<Run>> = shape.iter().map(|&size| vec![Run::all(size)]).collect();
        runs[axis] = vec![Run { start, step: 1, len: size, to: 0 }];
        let mut part = shape.clone();
        part[axis] = size;
        values.push(taken(importer, call, &operand, &runs, part)?);
        start += size;
    }
    Ok(Value::Several(values))
}

/// Elements along one axis by a constant list of places.
pub(super) fn gather(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let operand = call.operand(0)?;
    let shape = operand.shape(importer);
    let axis = operand.axis(importer, call, call.attributes.int("axis", 0)?)?;
    let list = call.constant(1, "list of places")?;
    let places = list.integers().ok_or_else(|| call.attributes.invalid("its places are no integers"))?;
    let places = places.iter().map(|&place| call.axis(place, shape[axis])).collect::<Result<Vec<_>, _>>()?;
    let mut runs: Vec<Vec<Run>> = shape.iter().map(|&size| vec![Run::all(size)]).collect();
    runs[axis] = Run::of_places(&places);
    let mut flat = shape.clone();
    flat[axis] = places.len();
    let value = taken(importer, call, &operand, &runs, flat)?;
    let mut out = shape;
    out.splice(axis..=axis, list.shape.iter().copied());
    let operand = match value {
        Value::Constant(constant) => Operand::Constant(constant),
        Value::Data(value) => Operand::Data(value),
        _ => unreachable!("places are taken of values and constants"),
    };
    operand.reshaped(importer, call, out)
}

/// Padding: zeros, another number, or places of the item again.
pub(super) fn pad(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let item = importer.shape(x).to_vec();
    let missing = || call.attributes.invalid("it is given no pads");
    let pads = call.integers(1, "pads")?.ok_or_else(missing)?;
    let rank = item.len() + 1;
    let axes = match call.integers(3, "axes")? {
        None => (0..rank).collect(),
        Some(axes) => axes.iter().map(|&axis| call.axis(axis, rank)).collect::<Result<Vec<_>, _>>()?,
    };
    if pads.len() != 2 * axes.len() {
        return Err(call.attributes.invalid(format!("it has {} pads for {} axes", pads.len(), axes.len())).into());
    }
    let mut around = vec![[0i64; 2]; rank];
    for (index, &axis) in axes.iter().enumerate() {
        around[axis] = [pads[index], pads[index + axes.len()]];
    }
    if around[0] != [0, 0] {
        return Err(Refusal::unsupported("it pads the batch axis", "only axes of an item can be padded"));
    }
    let mode = call.attributes.string("mode", "constant")?;
    let mut runs = Vec::new();
    let mut shape = Vec::new();
    for (&size, &[before, after]) in item.iter().zip(&around[1..]) {
        let padded = (size as i64).checked_add(before).and_then(|sum| sum.checked_add(after));
        let padded = padded.and_then(|padded| usize::try_from(padded).ok()).filter(|&padded| padded > 0);
        let bad = || call.attributes.invalid(format!("pads {before} and {after} of {size} places"));
        shape.push(padded.ok_or_else(bad)?);
        runs.push((size, before, after));
    }
    checked_len(&shape, || format!("the output of layer \"{}\"", call.name))?;
    let runs = runs.iter().map(|&(size, before, after)| pad_runs(&mode, size, before, after));
    let runs = runs.collect::<Option<Vec<_>>>().ok_or_else(|| {
        let reason = format!("mode \"{mode}\" with pads {pads:?}");
        Refusal::unsupported(reason, "supported are constant, edge, and reflect by less than the size")
    })?;
    let value = taken(importer, call, &Operand::Data(x), &runs, shape.clone())?;
    let filler = match call.number(2, "value")? {
        Some(filler) if mode == "constant" => filler,
        _ => 0.0,
    };
    let Value::Data(padded) = value else { return Ok(value) };
    if filler != 0.0 {
        let covered = boxes::blocks(0, &item, &shape, &runs);
        return filled(importer, call, padded, filler, item.iter().product(), covered);
    }
    if let (3, [[0, 0], [top, bottom], [left, right]], "constant") = (item.len(), &around[1..], mode.as_str()) {
        let sizes = [*top, *left, *bottom, *right].map(usize::try_from);
        if let [Ok(top), Ok(left), Ok(bottom), Ok(right)] = sizes {
            importer.padded.insert(padded, (x, [top, left, bottom, right]));
        }
    }
    Ok(Value::Data(padded))
}

/// Runs of places of one axis in the padded axis; none for a mode that is not known, or a reflection beyond the axis.
fn pad_runs(mode: &str, size: usize, before: i64, after: i64) -> Option<Vec<Run>> {
    let (crop_before, crop_after) = ((-before).max(0) as usize, (-after).max(0) as usize);
    let (before, after) = (before.max(0) as usize, after.max(0) as usize);
    let len = size.saturating_sub(crop_before).saturating_sub(crop_after);
    let middle = Run { start: crop_before, step: 1, len, to: before };
    let behind = before + len;
    match mode {
        "constant" => Some(vec![middle]),
        "edge" if len > 0 => Some(vec![
            Run { start: crop_before, step: 0, len: before, to: 0 },
            middle,
            Run { start: crop_before + len - 1, step: 0, len: after, to: behind },
        ]),
        "reflect" if before < len && after < len => Some(vec![
            Run { start: crop_before + before, step: -1, len: before, to: 0 },
            middle,
            Run { start: (crop_before + len).saturating_sub(2), step: -1, len: after, to: behind },
        ]),
        _ => None,
    }
}

/// Adds `filler` where none of the boxes, which copy from `inner` elements, lies.
fn filled(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    filler: f32,
    inner: usize,
    blocks: Vec<Block>,
) -> Result<Value, Refusal> {
    let len: usize = importer.shape(x).iter().product();
    arithmetic::bounded(call, len)?;
    let arrange = Arrange { len, blocks };
    let ones = vec![1.0; inner];
    let mut inside = vec![0.0; len];
    arrange.apply(1, &[&ones], &mut inside);
    let shift = inside.iter().map(|inside| (1.0 - inside) * filler).collect();
    let (scale, shift) = (arithmetic::Spread::One(1.0), arithmetic::Spread::Element(shift));
    let none = arithmetic::Names { scale: None, shift: None };
    arithmetic::scale_shift(importer, call, x, (scale, shift), none)
}

/// Dropout and Identity in inference.
pub(super) fn identity(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    Ok(call.needed(0)?.clone())
}

pub(super) fn dropout(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let is_false = |mode: &Constant| mode.integers().is_some_and(|values| values.iter().all(|&value| value == 0));
    if call.optional(2).is_some_and(|mode| !matches!(mode, Value::Constant(mode) if is_false(mode))) {
        return Err(Refusal::unsupported("it is in training mode", "export the model in evaluation mode"));
    }
    Ok(call.needed(0)?.clone())
}

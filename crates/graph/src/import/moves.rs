//! Elements in other places: Concat, Slice, Split, Gather, Transpose.

use ariann_ring::arrange::Arrange;

use super::boxes::{self, Run};
use super::error::Refusal;
use super::layout::{Operand, arranged, constant, permuted, taken};
use super::shape::{MAX_VALUES, checked_len};
use super::{Call, Importer, Value};

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

//! Pad: zeros, another number, or places of the item again.

use ariann_ring::arrange::{Arrange, Block};

use super::boxes::{self, Run};
use super::error::Refusal;
use super::layout::{Operand, taken};
use super::shape::checked_len;
use super::{Call, Importer, Value, arithmetic};
use crate::graph::ValueId;

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
    arithmetic::bounded(call, len, 1)?;
    let arrange = Arrange { len, blocks };
    let ones = vec![1.0; inner];
    let mut inside = vec![0.0; len];
    arrange.apply(1, &[&ones], &mut inside);
    let shift = inside.iter().map(|inside| (1.0 - inside) * filler).collect();
    let (scale, shift) = (arithmetic::Spread::One(1.0), arithmetic::Spread::Element(shift));
    let none = arithmetic::Names { scale: None, shift: None };
    arithmetic::scale_shift(importer, call, x, (scale, shift), none)
}

//! Maxima and averages over windows, images and axes.

use super::call::not_an_image;
use super::error::Refusal;
use super::shape::{AutoPad, Windows, checked_len};
use super::{Call, Importer, Value, layout};
use crate::average::AvgPool;
use crate::graph::{Op, ValueId};
use crate::pool::Pool;

pub(super) fn max_pool(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let (pool, _) = windows(importer, call, x)?;
    push(importer, call, x, pool, Op::MaxPool)
}

pub(super) fn average_pool(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let (pool, given) = windows(importer, call, x)?;
    let with_padding = call.attributes.flag("count_include_pad", false)?;
    let sizes = [pool.in_height, pool.in_width];
    let count = |axis: usize, window: usize| {
        if !with_padding {
            return pool.places(axis, window).count() as u32;
        }
        // Padding that only rounding up added holds nothing to be counted.
        let end = sizes[axis] + given[axis] + given[axis + 2];
        let start = window * pool.stride[axis];
        (0..pool.kernel[axis]).filter(|tap| start + tap * pool.dilation[axis] < end).count() as u32
    };
    let counts = [0, 1].map(|axis| {
        let windows = [pool.out_height(), pool.out_width()][axis];
        (0..windows).map(|window| count(axis, window)).collect()
    });
    push(importer, call, x, pool, |pool| Op::AvgPool(AvgPool { pool, counts }))
}

fn push(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    pool: Pool,
    op: impl FnOnce(Pool) -> Op,
) -> Result<Value, Refusal> {
    let shape = vec![pool.channels, pool.out_height(), pool.out_width()];
    Ok(importer.push(&call.name, op(pool), vec![x], shape)?)
}

/// The windows of a pooling, and its padding without what rounding up adds.
fn windows(importer: &Importer<'_>, call: &Call<'_>, x: ValueId) -> Result<(Pool, [usize; 4]), Refusal> {
    let &[channels, in_height, in_width] = importer.shape(x) else {
        return Err(not_an_image(importer.shape(x)));
    };
    let attributes = &call.attributes;
    if attributes.get("kernel_shape").is_none() {
        return Err(attributes.invalid("attribute \"kernel_shape\" is missing").into());
    }
    let kernel: [usize; 2] = attributes.sizes("kernel_shape", 1, 1)?;
    let (stride, dilation) = (attributes.sizes("strides", 1, 1)?, attributes.sizes("dilations", 1, 1)?);
    let (auto, given) = call.padding()?;
    let ceil = attributes.flag("ceil_mode", false)?;
    if ceil && auto == AutoPad::Valid {
        return Err(Refusal::unsupported("ceil_mode with auto_pad VALID", "set pads instead of auto_pad"));
    }
    let (mut pads, mut without_ceil) = ([0; 4], [0; 4]);
    for (axis, size) in [in_height, in_width].into_iter().enumerate() {
        let windows = Windows { size, kernel: kernel[axis], stride: stride[axis], dilation: dilation[axis] };
        let given = [given[axis], given[axis + 2]];
        let resolved = windows.resolve(auto, given, ceil);
        let (around, count) = resolved.ok_or_else(|| attributes.invalid("its window is larger than its input"))?;
        checked_len(&[count, kernel[axis]], || format!("the windows of layer \"{}\"", call.name))?;
        checked_len(&[channels, count], || format!("the output of layer \"{}\"", call.name))?;
        if !windows.all_inside(around[0], count) {
            return Err(attributes.invalid("a window lies in the padding altogether").into());
        }
        (pads[axis], pads[axis + 2]) = (around[0], around[1]);
        let plain = if auto == AutoPad::NotSet { given } else { around };
        (without_ceil[axis], without_ceil[axis + 2]) = (plain[0], plain[1]);
    }
    let pool = Pool { channels, in_height, in_width, kernel, stride, pads, dilation };
    checked_len(&[kernel[0], kernel[1]], || format!("a window of layer \"{}\"", call.name))?;
    Ok((pool, without_ceil))
}

pub(super) fn global_average_pool(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let &[channels, height, width] = importer.shape(x) else { return Err(not_an_image(importer.shape(x))) };
    Ok(importer.push(
        &call.name,
        Op::AvgPool(AvgPool::global(channels, height, width)),
        vec![x],
        vec![channels, 1, 1],
    )?)
}

pub(super) fn global_max_pool(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let &[channels, height, width] = importer.shape(x) else { return Err(not_an_image(importer.shape(x))) };
    let pool = AvgPool::global(channels, height, width).pool;
    Ok(importer.push(&call.name, Op::MaxPool(pool), vec![x], vec![channels, 1, 1])?)
}

pub(super) fn reduce_mean(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    reduce(importer, call, Op::AvgPool)
}

pub(super) fn reduce_max(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    reduce(importer, call, |average| Op::MaxPool(average.pool))
}

/// Over any axes of an item, as a pooling of whole images.
fn reduce(importer: &mut Importer<'_>, call: &Call<'_>, op: fn(AvgPool) -> Op) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let item = importer.shape(x).to_vec();
    let mut axes = match call.integers(1, "axes")?.filter(|axes| !axes.is_empty()) {
        Some(axes) => axes.iter().map(|&axis| call.item_axis(axis, item.len())).collect::<Result<Vec<_>, _>>()?,
        None if call.attributes.flag("noop_with_empty_axes", false)? => return Ok(Value::Data(x)),
        None => return Err(Refusal::unsupported("it runs over the batch axis", "give axes of an item")),
    };
    axes.sort_unstable();
    axes.dedup();
    let keep = call.attributes.flag("keepdims", true)?;
    let sizes = item.iter().enumerate();
    let shape: Vec<usize> = sizes
        .filter(|(axis, _)| keep || !axes.contains(axis))
        .map(|(axis, &size)| if axes.contains(&axis) { 1 } else { size })
        .collect();
    let outer: usize = item.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, size)| size).product();
    let (height, width) = match *axes.as_slice() {
        [height, width] => (item[height], item[width]),
        _ => (1, axes.iter().map(|&axis| item[axis]).product()),
    };
    let x = layout::axes_last(importer, call, x, &axes)?;
    let (image, pooled) = (vec![outer, height, width], vec![outer, 1, 1]);
    let x = if importer.shape(x) == image { x } else { importer.push_id(&call.name, Op::Reshape, vec![x], image)? };
    let op = op(AvgPool::global(outer, height, width));
    let value = importer.push_id(&call.name, op, vec![x], pooled.clone())?;
    if pooled == shape {
        Ok(Value::Data(value))
    } else {
        Ok(importer.push(&call.name, Op::Reshape, vec![value], shape)?)
    }
}

//! Layers with weights: Gemm, MatMul, Conv.

use ariann_ring::{ConvShape, Tensor};

use super::call::not_an_image;
use super::constant::Constant;
use super::error::Refusal;
use super::shape::{Windows, checked_len};
use super::{Call, Importer, Value};
use crate::graph::{Conv, Dense, Op, ValueId};

pub(super) fn gemm(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let weights = call.constant(1, "weight matrix")?;
    let attributes = &call.attributes;
    if attributes.flag("transA", false)? {
        let hint = "put the items in rows: transA = 0";
        return Err(Refusal::unsupported("transA mixes the batch axis with features", hint));
    }
    let (alpha, beta) = (attributes.float("alpha", 1.0)?, attributes.float("beta", 1.0)?);
    let weights = if attributes.flag("transB", false)? { (*weights).clone() } else { matrix(call, &weights)? };
    let mut dense = dense(importer, call, x, weights, alpha)?;
    if call.optional(2).is_some() {
        let bias = call.constant(2, "bias")?;
        let outputs = dense.weights.shape()[0];
        let mut values = dense_bias(call, &bias, outputs)?;
        values.iter_mut().for_each(|value| *value *= beta);
        (dense.bias, dense.bias_name) = (Some(values), Some(bias.name.clone()));
    }
    push_dense(importer, call, x, dense)
}

pub(super) fn matmul(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    if let (Value::Constant(_), Value::Data(_)) = (call.needed(0)?, call.needed(1)?) {
        let reason = "the constant stands on the left and mixes the batch axis";
        return Err(Refusal::unsupported(reason, "put the items in rows: x · W"));
    }
    let x = call.data(0)?;
    let weights = call.constant(1, "weight matrix")?;
    let dense = dense(importer, call, x, matrix(call, &weights)?, 1.0)?;
    push_dense(importer, call, x, dense)
}

/// `[inputs, outputs]` as `[outputs, inputs]`.
fn matrix(call: &Call<'_>, weights: &Constant) -> Result<Constant, Refusal> {
    match weights.shape.len() {
        2 => Ok(weights.transposed(&[1, 0])),
        rank => Err(weights_rank(call, rank, 2)),
    }
}

fn weights_rank(call: &Call<'_>, rank: usize, wanted: usize) -> Refusal {
    let operator = call.proto.op_type();
    Refusal::unsupported(format!("its weights have {rank} axes"), format!("{operator} is supported with {wanted}"))
}

/// `weights` is `[outputs, inputs]`.
fn dense(
    importer: &Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    weights: Constant,
    alpha: f32,
) -> Result<Dense, Refusal> {
    let &[outputs, inputs] = weights.shape.as_slice() else {
        return Err(weights_rank(call, weights.shape.len(), 2));
    };
    let &[features] = importer.shape(x) else {
        let axes = importer.shape(x).len();
        let reason = format!("its input has {axes} axes besides the batch");
        return Err(Refusal::unsupported(reason, "flatten to [N, features] before it"));
    };
    if features != inputs || outputs == 0 {
        let reason = format!("weights [{outputs}, {inputs}] do not fit {features} features");
        return Err(call.attributes.invalid(reason).into());
    }
    let mut values = call.floats(&weights)?.to_vec();
    if alpha != 1.0 {
        values.iter_mut().for_each(|value| *value *= alpha);
    }
    let tensor = tensor(call, vec![outputs, inputs], values)?;
    Ok(Dense { weights: tensor, bias: None, weight_name: weights.name, bias_name: None })
}

fn push_dense(importer: &mut Importer<'_>, call: &Call<'_>, x: ValueId, dense: Dense) -> Result<Value, Refusal> {
    let shape = vec![dense.weights.shape()[0]];
    push_linear(importer, call, x, Op::Dense(dense), shape)
}

pub(super) fn conv(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let weights = call.constant(1, "weights")?;
    let &[in_channels, in_height, in_width] = importer.shape(x) else {
        return Err(not_an_image(importer.shape(x)));
    };
    let &[out_channels, group_channels, kernel_height, kernel_width] = weights.shape.as_slice() else {
        return Err(weights_rank(call, weights.shape.len(), 4));
    };
    let attributes = &call.attributes;
    let kernel = [kernel_height, kernel_width];
    if weights.shape.contains(&0) {
        return Err(attributes.invalid("its weights are empty").into());
    }
    if attributes.get("kernel_shape").is_some() && attributes.sizes("kernel_shape", 1, 1)? != kernel {
        return Err(attributes.invalid("kernel_shape differs from the shape of the weights").into());
    }
    let groups = attributes.int("group", 1)?;
    let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0 && out_channels.is_multiple_of(groups));
    let groups = groups.filter(|&groups| group_channels.checked_mul(groups) == Some(in_channels)).ok_or_else(|| {
        attributes.invalid(format!("weights {:?} do not fit {in_channels} channels in its groups", weights.shape))
    })?;
    let (stride, dilation) = (attributes.sizes("strides", 1, 1)?, attributes.sizes("dilations", 1, 1)?);
    let (auto, given) = call.padding()?;
    let (mut pads, mut out) = ([0; 4], [0; 2]);
    for (axis, size) in [in_height, in_width].into_iter().enumerate() {
        let windows = Windows { size, kernel: kernel[axis], stride: stride[axis], dilation: dilation[axis] };
        let resolved = windows.resolve(auto, [given[axis], given[axis + 2]], false);
        let (around, count) = resolved.ok_or_else(|| attributes.invalid("its kernel is larger than its input"))?;
        (pads[axis], pads[axis + 2], out[axis]) = (around[0], around[1], count);
    }
    // Before the shape's own products are taken.
    checked_len(&[out_channels, out[0], out[1]], || format!("the output of layer \"{}\"", call.name))?;
    // Zeros that a Pad before it put there are padding of the convolution.
    let (x, in_height, in_width) = match importer.padded.get(&x) {
        None => (x, in_height, in_width),
        Some(&(inner, around)) => {
            pads.iter_mut().zip(around).for_each(|(pad, more)| *pad += more);
            (inner, in_height - around[0] - around[2], in_width - around[1] - around[3])
        }
    };
    let shape = ConvShape { in_channels, in_height, in_width, out_channels, kernel, stride, pads, dilation, groups };
    shape.validate().map_err(|e| attributes.invalid(e.to_string()))?;
    let bias = match call.optional(2) {
        None => None,
        Some(_) => Some(call.constant(2, "bias")?),
    };
    if let Some(bias) = bias.as_ref().filter(|bias| bias.shape != [out_channels]) {
        let reason = format!("bias {:?} does not fit {out_channels} channels", bias.shape);
        return Err(attributes.invalid(reason).into());
    }
    let bias_values = bias.as_ref().map(|bias| call.floats(bias).map(<[f32]>::to_vec)).transpose()?;
    let op = Op::Conv(Conv {
        shape,
        weights: tensor(call, weights.shape.clone(), call.floats(&weights)?.to_vec())?,
        bias: bias_values,
        weight_name: weights.name.clone(),
        bias_name: bias.map(|bias| bias.name.clone()),
    });
    push_linear(importer, call, x, op, vec![out_channels, out[0], out[1]])
}

fn push_linear(
    importer: &mut Importer<'_>,
    call: &Call<'_>,
    x: ValueId,
    op: Op,
    shape: Vec<usize>,
) -> Result<Value, Refusal> {
    check_finite(call, &op)?;
    Ok(importer.push(&call.name, op, vec![x], shape)?)
}

/// Scaling by alpha or beta, or a sum of biases, may have left the range of `f32`.
fn check_finite(call: &Call<'_>, op: &Op) -> Result<(), Refusal> {
    let weights = op.weights().map_or(&[][..], Tensor::data);
    if weights.iter().chain(op.bias().unwrap_or(&[])).all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(call.attributes.invalid("its scaled weights or biases exceed the range of float32").into())
}

/// A bias of a dense layer, one value for each output or one for all, as ONNX broadcasts it.
fn dense_bias(call: &Call<'_>, constant: &Constant, outputs: usize) -> Result<Vec<f32>, Refusal> {
    match (call.floats(constant)?, constant.shape.as_slice()) {
        (&[value], [] | [1] | [1, 1]) => Ok(vec![value; outputs]),
        (values, &[count] | &[1, count]) if count == outputs => Ok(values.to_vec()),
        (_, shape) => {
            let reason = format!("it adds a bias {shape:?} to {outputs} outputs");
            Err(Refusal::unsupported(reason, "only one constant an output is supported"))
        }
    }
}

fn tensor(call: &Call<'_>, shape: Vec<usize>, values: Vec<f32>) -> Result<Tensor<f32>, Refusal> {
    Tensor::new(shape, values).map_err(|e| Refusal::Fatal(call.attributes.invalid(e.to_string())))
}

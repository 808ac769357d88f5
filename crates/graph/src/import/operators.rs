//! The supported operators: one table, from which documentation is made, and the conversions without weights.

use std::rc::Rc;

use super::constant::{self, Constant, Numbers};
use super::error::Refusal;
use super::shape::{AutoPad, Windows, checked_len, reshape};
use super::{Call, Importer, Value, linear};
use crate::graph::{Op, ValueId};
use crate::onnx::{ModelProto, NodeProto};
use crate::pool::Pool;

type Convert = fn(&mut Importer<'_>, &Call<'_>) -> Result<Value, Refusal>;

/// One row of the table of operators.
pub(super) struct Operator {
    name: &'static str,
    pub attributes: &'static [&'static str],
    notes: &'static str,
    pub convert: Convert,
}

/// An operator that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedOperator {
    /// ONNX's name.
    pub name: &'static str,
    /// The attributes that are read.
    pub attributes: &'static [&'static str],
    /// What becomes of it, and where it ends.
    pub notes: &'static str,
}

/// Every operator that can be imported.
pub fn supported_operators() -> Vec<SupportedOperator> {
    let row = |o: &Operator| SupportedOperator { name: o.name, attributes: o.attributes, notes: o.notes };
    OPERATORS.iter().map(row).collect()
}

const OPERATORS: &[Operator] = &[
    Operator {
        name: "Add",
        attributes: &[],
        notes: "a constant per output after a linear layer becomes its bias; two values of equal shape are summed",
        convert: linear::add,
    },
    Operator {
        name: "Constant",
        attributes: &["value", "value_float", "value_floats", "value_int", "value_ints"],
        notes: "folded",
        convert: constant_node,
    },
    Operator {
        name: "Conv",
        attributes: &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
        notes: "two-dimensional, constant weights",
        convert: linear::conv,
    },
    Operator { name: "Dropout", attributes: &["ratio", "seed"], notes: "inference: vanishes", convert: dropout },
    Operator { name: "Flatten", attributes: &["axis"], notes: "axis 1; of constants: folded", convert: flatten },
    Operator {
        name: "Gemm",
        attributes: &["alpha", "beta", "transA", "transB"],
        notes: "constant weights and bias; transA = 0",
        convert: linear::gemm,
    },
    Operator { name: "Identity", attributes: &[], notes: "vanishes", convert: identity },
    Operator {
        name: "LogSoftmax",
        attributes: &["axis"],
        notes: "at the end: left to the receiver of the logits",
        convert: softmax,
    },
    Operator { name: "MatMul", attributes: &[], notes: "[N, features] by constant weights", convert: linear::matmul },
    Operator {
        name: "MaxPool",
        attributes: &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        notes: "two-dimensional, any window; moved before a ReLU; no indices",
        convert: max_pool,
    },
    Operator { name: "Relu", attributes: &[], notes: "", convert: relu },
    Operator {
        name: "Reshape",
        attributes: &["allowzero"],
        notes: "constant shape that keeps the batch axis first; of constants: folded",
        convert: reshape_node,
    },
    Operator {
        name: "Softmax",
        attributes: &["axis"],
        notes: "at the end: left to the receiver of the logits",
        convert: softmax,
    },
    Operator { name: "Transpose", attributes: &["perm"], notes: "of constants: folded", convert: transpose },
];

/// The table's row of a node.
pub(super) fn find(proto: &NodeProto, model: &ModelProto) -> Result<&'static Operator, Refusal> {
    if !matches!(proto.domain(), "" | "ai.onnx") {
        let local = model.functions.iter().any(|f| f.domain() == proto.domain() && f.name() == proto.op_type());
        let hint = if local {
            "inline the model's functions when exporting"
        } else {
            "export with the operators of ONNX itself"
        };
        return Err(Refusal::unsupported(format!("domain \"{}\" is not supported", proto.domain()), hint));
    }
    let row = OPERATORS.iter().find(|operator| operator.name == proto.op_type());
    row.ok_or_else(|| Refusal::unsupported("operator is not supported", hint(proto.op_type())))
}

fn hint(operator: &str) -> &'static str {
    match operator {
        "BatchNormalization" => "fold it into the layer before it: export the model in evaluation mode",
        "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "LpPool" => "use MaxPool or a strided convolution",
        "Clip" | "LeakyRelu" | "PRelu" | "Elu" | "Selu" | "Gelu" | "Sigmoid" | "Tanh" | "HardSwish" | "HardSigmoid" => {
            "train the model with Relu"
        }
        "Shape" | "Gather" | "Concat" | "Slice" | "Squeeze" | "Unsqueeze" | "Cast" => {
            "simplify the model before exporting: fixed shapes, and Flatten where it flattens"
        }
        "Pad" => "give the padding to the convolution or pooling after it",
        "Sub" | "Mul" | "Div" => "fold normalisation of the input into the preprocessing, constants into the weights",
        "ConvTranspose" | "LSTM" | "GRU" | "RNN" | "Attention" => "choose a network of convolutions and dense layers",
        "If" | "Loop" | "Scan" => "export without control flow",
        "QuantizeLinear" | "DequantizeLinear" | "QLinearConv" | "ConvInteger" | "MatMulInteger" => {
            "export the float32 model, it is quantised here"
        }
        _ => "see the table of supported operators",
    }
}

impl Call<'_> {
    /// Input number `index`, which the operator needs.
    pub fn needed(&self, index: usize) -> Result<&Value, Refusal> {
        let missing = || Refusal::Fatal(self.attributes.invalid(format!("input {index} is missing")));
        self.inputs.get(index).and_then(Option::as_ref).ok_or_else(missing)
    }

    /// Input number `index`, if it is given.
    pub fn optional(&self, index: usize) -> Option<&Value> {
        self.inputs.get(index).and_then(Option::as_ref)
    }

    /// An input that depends on the graph's input.
    pub fn data(&self, index: usize) -> Result<ValueId, Refusal> {
        match self.needed(index)? {
            Value::Data(value) => Ok(*value),
            Value::Softmax(_) => Err(Refusal::unsupported(
                "it follows a Softmax",
                "Softmax is supported at the end of the model only, where the receiver computes it",
            )),
            Value::Constant(_) | Value::Unknown => Err(Refusal::unsupported(
                "all its inputs are constants",
                "fold constants before exporting (do_constant_folding)",
            )),
        }
    }

    /// An input that is a constant.
    pub fn constant(&self, index: usize, what: &str) -> Result<Rc<Constant>, Refusal> {
        match self.needed(index)? {
            Value::Constant(constant) => Ok(constant.clone()),
            _ => Err(Refusal::unsupported(
                format!("its {what} depends on the input of the model"),
                "only constants of the file can stand there",
            )),
        }
    }
}

fn relu(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let shape = importer.shape(x).to_vec();
    Ok(importer.push(&call.name, Op::Relu, vec![x], shape)?)
}

fn identity(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    Ok(call.needed(0)?.clone())
}

fn dropout(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    if call.optional(2).is_some_and(|mode| !matches!(mode, Value::Constant(c) if is_false(c))) {
        return Err(Refusal::unsupported("it is in training mode", "export the model in evaluation mode"));
    }
    Ok(call.needed(0)?.clone())
}

fn is_false(mode: &Constant) -> bool {
    matches!(&mode.numbers, Numbers::Int(values) if values.iter().all(|&value| value == 0))
}

fn softmax(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let rank = importer.shape(x).len() as i64 + 1;
    let axis = call.attributes.int("axis", if importer.opset < 13 { 1 } else { -1 })?;
    if rank != 2 || !matches!(axis, 1 | -1) {
        let reason = format!("it runs over axis {axis} of {rank}");
        return Err(Refusal::unsupported(reason, "it is supported over the logits [N, classes] at the end only"));
    }
    Ok(Value::Softmax(x))
}

fn max_pool(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let x = call.data(0)?;
    let &[channels, in_height, in_width] = importer.shape(x) else {
        return Err(not_an_image(importer.shape(x)));
    };
    let attributes = &call.attributes;
    if attributes.get("kernel_shape").is_none() {
        return Err(attributes.invalid("attribute \"kernel_shape\" is missing").into());
    }
    let kernel: [usize; 2] = attributes.sizes("kernel_shape", 1, 1)?;
    let (stride, dilation) = (attributes.sizes("strides", 1, 1)?, attributes.sizes("dilations", 1, 1)?);
    let (auto, given) = padding(call)?;
    let ceil = attributes.flag("ceil_mode", false)?;
    if ceil && auto == AutoPad::Valid {
        return Err(Refusal::unsupported("ceil_mode with auto_pad VALID", "set pads instead of auto_pad"));
    }
    let mut pads = [0; 4];
    for (axis, size) in [in_height, in_width].into_iter().enumerate() {
        let windows = Windows { size, kernel: kernel[axis], stride: stride[axis], dilation: dilation[axis] };
        let resolved = windows.resolve(auto, [given[axis], given[axis + 2]], ceil);
        let (around, count) = resolved.ok_or_else(|| attributes.invalid("its window is larger than its input"))?;
        checked_len(&[count], || format!("the output of layer \"{}\"", call.name))?;
        if !windows.all_inside(around[0], count) {
            return Err(attributes.invalid("a window lies in the padding altogether").into());
        }
        (pads[axis], pads[axis + 2]) = (around[0], around[1]);
    }
    let pool = Pool { channels, in_height, in_width, kernel, stride, pads, dilation };
    let shape = vec![channels, pool.out_height(), pool.out_width()];
    Ok(importer.push(&call.name, Op::MaxPool(pool), vec![x], shape)?)
}

/// Padding as convolutions and poolings give it: top, left, bottom, right.
pub(super) fn padding(call: &Call<'_>) -> Result<(AutoPad, [usize; 4]), Refusal> {
    let auto = match call.attributes.string("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" | "" => AutoPad::NotSet,
        "SAME_UPPER" => AutoPad::SameUpper,
        "SAME_LOWER" => AutoPad::SameLower,
        "VALID" => AutoPad::Valid,
        other => {
            return Err(call.attributes.invalid(format!("auto_pad \"{other}\" does not exist")).into());
        }
    };
    if call.attributes.ints("pads")?.is_some_and(|pads| pads.iter().any(|&pad| pad < 0)) {
        return Err(Refusal::unsupported("negative padding", "crop the images before the model"));
    }
    Ok((auto, call.attributes.sizes("pads", 0, 0)?))
}

/// The refusal of an input without channels, height and width.
pub(super) fn not_an_image(shape: &[usize]) -> Refusal {
    let reason = format!("its input has {} axes besides the batch, not channels, height, width", shape.len());
    Refusal::unsupported(reason, "only two-dimensional images are supported")
}

fn constant_node(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let attributes = &call.attributes;
    let name = call.proto.output.first().map_or("", String::as_str);
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

fn flatten(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let axis = call.attributes.int("axis", 1)?;
    if let Value::Constant(constant) = call.needed(0)? {
        let rank = constant.shape.len();
        let axis = if axis < 0 { axis + rank as i64 } else { axis };
        let axis = usize::try_from(axis).ok().filter(|&axis| axis <= rank);
        let axis = axis.ok_or_else(|| call.attributes.invalid("its axis does not exist"))?;
        let (outer, inner) = constant.shape.split_at(axis);
        // Beside an axis of size 0 the others may be of any size.
        let product = |axes: &[usize]| axes.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        let shape = product(outer).zip(product(inner)).map(|(outer, inner)| vec![outer, inner]);
        let shape = shape.ok_or_else(|| call.attributes.invalid("the shape overflows"))?;
        return Ok(Value::Constant(Rc::new(Constant { shape, ..(**constant).clone() })));
    }
    let x = call.data(0)?;
    let item = importer.shape(x);
    if axis != 1 && axis != -(item.len() as i64) {
        let reason = format!("axis {axis} mixes items of a batch or leaves several axes");
        return Err(Refusal::unsupported(reason, "flatten from axis 1"));
    }
    let shape = vec![item.iter().product()];
    reshaped(importer, call, x, shape)
}

fn reshape_node(importer: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let target = call.constant(1, "shape")?;
    let target = target.integers().ok_or_else(|| call.attributes.invalid("its shape is not made of integers"))?;
    let allow_zero = call.attributes.flag("allowzero", false)?;
    if let Value::Constant(constant) = call.needed(0)? {
        // A constant has no batch axis: the rule is used with an axis of one put before both shapes.
        let whole: Vec<i64> = std::iter::once(1).chain(target.iter().copied()).collect();
        let shape = reshape(&constant.shape, &whole, Some(1), allow_zero);
        let shape = shape.map_err(|reason| call.attributes.invalid(reason))?;
        return Ok(Value::Constant(Rc::new(Constant { shape, ..(**constant).clone() })));
    }
    let x = call.data(0)?;
    let shape = reshape(importer.shape(x), target, importer.batch, allow_zero)
        .map_err(|reason| Refusal::unsupported(reason, "reshape to [-1, ...] or [0, ...], so that items stay apart"))?;
    reshaped(importer, call, x, shape)
}

fn reshaped(importer: &mut Importer<'_>, call: &Call<'_>, x: ValueId, shape: Vec<usize>) -> Result<Value, Refusal> {
    if importer.shape(x) == shape {
        return Ok(Value::Data(x));
    }
    Ok(importer.push(&call.name, Op::Reshape, vec![x], shape)?)
}

fn transpose(_: &mut Importer<'_>, call: &Call<'_>) -> Result<Value, Refusal> {
    let Value::Constant(constant) = call.needed(0)? else {
        let hint = "keep the layout [N, channels, height, width] throughout";
        return Err(Refusal::unsupported("it transposes a value that depends on the input", hint));
    };
    let rank = constant.shape.len();
    let order: Vec<usize> = match call.attributes.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) => perm.iter().map(|&axis| usize::try_from(axis).unwrap_or(rank)).collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(call.attributes.invalid("its order of axes is no permutation").into());
    }
    Ok(Value::Constant(Rc::new(constant.transposed(&order))))
}

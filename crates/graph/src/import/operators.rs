//! The supported operators: one table, from which documentation is made.

use super::activations::{clip, exp, gelu, hard_sigmoid, leaky_relu, log_softmax, prelu, relu, sigmoid, softmax, tanh};
use super::arithmetic::{add, batch_normalization, div, mul, neg, sub, sum};
use super::curve::{erf_node, pow};
use super::error::Refusal;
use super::evaluate::{cast, cast_like, constant_node, shape};
use super::linear::{conv, gemm, matmul};
use super::moves::{concat, gather, slice, split, transpose};
use super::padding::pad;
use super::pooling::{average_pool, global_average_pool, global_max_pool, max_pool, reduce_max, reduce_mean};
use super::reshape::{dropout, flatten, identity, reshape_node, squeeze, unsqueeze};
use super::{Call, Importer, Value};
use crate::onnx::{ModelProto, NodeProto};

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

const fn row(
    name: &'static str,
    attributes: &'static [&'static str],
    notes: &'static str,
    convert: Convert,
) -> Operator {
    Operator { name, attributes, notes, convert }
}

const POOLING: &[&str] =
    &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "storage_order", "strides"];

const SCALING: &str =
    "a constant spread over items: folded into a neighbour with weights, else a depthwise convolution";

const OPERATORS: &[Operator] = &[
    row("Add", &[], "two values of equal shape, or a constant spread over items, which is folded as a bias", add),
    row("AveragePool", POOLING, "two-dimensional, any window, padding counted or not", average_pool),
    row(
        "BatchNormalization",
        &["epsilon", "momentum", "spatial", "training_mode"],
        "prediction: folded into the layer with weights before or after it, else a depthwise convolution; training: stays",
        batch_normalization,
    ),
    row("Cast", &["saturate", "to"], "constants between float32, float64 and integers; values to float32 only", cast),
    row("CastLike", &["saturate"], "as Cast", cast_like),
    row("Clip", &["max", "min"], "constant limits; one limit alone is a shifted ReLU", clip),
    row("Concat", &["axis"], "any axis but the batch", concat),
    row(
        "Constant",
        &["value", "value_float", "value_floats", "value_int", "value_ints"],
        "computed when the model is read",
        constant_node,
    ),
    row(
        "Conv",
        &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
        "two-dimensional, constant weights, any groups",
        conv,
    ),
    row("Div", &[], "by a constant spread over items, folded as Mul", div),
    row("Dropout", &["ratio", "seed"], "prediction: vanishes; training: stays", dropout),
    row("Erf", &[], "only as a part of Gelu written out", erf_node),
    row("Exp", &[], "by lookup", exp),
    row("Flatten", &["axis"], "axis 1; of constants: any", flatten),
    row("Gather", &["axis"], "constant places along any axis but the batch", gather),
    row("Gelu", &["approximate"], "by lookup; also recognised where Erf, Tanh, Pow and Mul write it out", gelu),
    row("Gemm", &["alpha", "beta", "transA", "transB"], "constant weights and bias; transA = 0", gemm),
    row("GlobalAveragePool", &[], "two-dimensional", global_average_pool),
    row("GlobalMaxPool", &[], "two-dimensional", global_max_pool),
    row("HardSigmoid", &["alpha", "beta"], "a scaling and a clip", hard_sigmoid),
    row("Identity", &[], "vanishes", identity),
    row("LeakyRelu", &["alpha"], "a·x + (1-a)·ReLU(x), the slope a weight", leaky_relu),
    row("LogSoftmax", &["axis"], "at the end, over all logits: left to their receiver", log_softmax),
    row("MatMul", &[], "[N, features] by constant weights", matmul),
    row("MaxPool", POOLING, "two-dimensional, any window; moved before a ReLU or Clip; no indices", max_pool),
    row("Mul", &[], SCALING, mul),
    row("Neg", &[], "folded as Mul", neg),
    row("PRelu", &[], "a·x + (1-a)·ReLU(x), constant slopes, which are weights", prelu),
    row("Pad", &["mode", "pads", "value"], "constant, edge and reflect; zeros become padding of a convolution", pad),
    row("Pow", &[], "only as a part of Gelu written out", pow),
    row("ReduceMax", &["axes", "keepdims", "noop_with_empty_axes"], "over axes of an item", reduce_max),
    row("ReduceMean", &["axes", "keepdims", "noop_with_empty_axes"], "over axes of an item", reduce_mean),
    row("Relu", &[], "one behind a Concat instead of one for each part", relu),
    row("Reshape", &["allowzero"], "a shape that keeps the batch axis first", reshape_node),
    row("Shape", &["end", "start"], "computed when the model is read, the batch axis may be open", shape),
    row("Sigmoid", &[], "by lookup", sigmoid),
    row("Slice", &["axes", "ends", "starts"], "any axis but the batch, constant places, any step", slice),
    row("Softmax", &["axis"], "over all logits at the end: left to their receiver; elsewhere by lookup", softmax),
    row("Split", &["axis", "num_outputs", "split"], "any axis but the batch", split),
    row("Squeeze", &["axes"], "any axis but the batch", squeeze),
    row("Sub", &[], "two values of equal shape, or a constant, folded as a bias", sub),
    row("Sum", &[], "values of equal shape", sum),
    row("Tanh", &[], "by lookup", tanh),
    row("Transpose", &["perm"], "any order that keeps the batch axis first", transpose),
    row("Unsqueeze", &["axes"], "any axis but the batch", unsqueeze),
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
        "LpPool" | "GlobalLpPool" => "use maximum or average pooling",
        "Elu" | "Selu" | "Celu" | "Softplus" | "Softsign" | "ThresholdedRelu" | "Swish" | "HardSwish" | "Mish" => {
            "use Relu, Clip (ReLU6), LeakyRelu, PRelu, Gelu, Sigmoid or Tanh"
        }
        "InstanceNormalization" | "LayerNormalization" | "GroupNormalization" | "LRN" => {
            "use BatchNormalization, which vanishes in inference"
        }
        "ConstantOfShape" | "Expand" | "Range" | "Where" | "Equal" | "Tile" | "NonZero" => {
            "simplify the model before exporting: fixed shapes, and Flatten where it flattens"
        }
        "Resize" | "Upsample" => "resize the images before the model",
        "ConvTranspose" | "LSTM" | "GRU" | "RNN" | "Attention" => "choose a network of convolutions and dense layers",
        "If" | "Loop" | "Scan" => "export without control flow",
        "QuantizeLinear" | "DequantizeLinear" | "QLinearConv" | "ConvInteger" | "MatMulInteger" => {
            "export the float32 model, it is quantised here"
        }
        _ => "see the table of supported operators",
    }
}

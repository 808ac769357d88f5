#!/usr/bin/env python3
"""Writes fixtures/onnx: small models, one for each operator and variant, with what ONNX Runtime computes for them.

    python3 scripts/operator_fixtures.py            writes the files
    python3 scripts/operator_fixtures.py --check    makes them in memory and compares

Needs numpy, onnx and onnxruntime. NAME.onnx is a model; NAME.f32 holds little-endian floats: the inputs of three items,
then the three outputs. Files invalid-REASON.onnx must be refused for that reason.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "onnx"
ITEMS = 3
FLOAT = TensorProto.FLOAT
node = helper.make_node


class Weights:
    """Seeded weights, one stream a model, so that a new case changes no other file."""

    def __init__(self, name):
        self.rng = np.random.default_rng(list(name.encode()))

    def __call__(self, name, *shape):
        values = self.rng.uniform(-1, 1, shape) / np.sqrt(max(1, np.prod(shape[1:])))
        return numpy_helper.from_array(values.astype(np.float32), name)


def ints(name, values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, weights, item, opset=13, batch="N", inputs=None, outputs=None, name="fixture", ir=8):
    inputs = inputs or [value("x", [batch, *item])]
    outputs = outputs or [value("y", None)]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


VALID = {}
INVALID = {}


def valid(function):
    VALID[function.__name__.replace("_", "-")] = function
    return function


def invalid(function):
    INVALID[function.__name__.replace("_", "-")] = function
    return function


# --- convolutions -------------------------------------------------------------------------------------------------


def conv_case(name, item, weight, bias=True, **attributes):
    def make(w):
        tensors = [w("w", *weight)] + ([w("b", weight[0])] if bias else [])
        return model([node("Conv", ["x", *[t.name for t in tensors]], ["y"], "conv", **attributes)], tensors, item)

    VALID[name] = make


conv_case("conv", (2, 7, 6), (3, 2, 3, 3))
conv_case("conv-without-bias", (1, 5, 5), (2, 1, 3, 3), bias=False, kernel_shape=[3, 3])
conv_case("conv-pads-asymmetric", (2, 5, 6), (3, 2, 3, 2), pads=[0, 1, 2, 1])
conv_case("conv-strides", (2, 9, 8), (3, 2, 3, 3), strides=[2, 3], pads=[1, 1, 1, 1])
conv_case("conv-dilations", (2, 9, 8), (3, 2, 3, 2), dilations=[2, 3], pads=[2, 1, 2, 1])
conv_case("conv-groups", (4, 6, 6), (6, 2, 3, 3), group=2)
conv_case("conv-depthwise", (3, 6, 6), (3, 1, 3, 3), group=3, auto_pad="SAME_UPPER")
conv_case("conv-pointwise-strided", (3, 7, 7), (4, 3, 1, 1), strides=[2, 2])
for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    lower = mode.lower().replace("_", "-")
    conv_case(f"conv-auto-pad-{lower}", (2, 7, 8), (3, 2, 4, 3), auto_pad=mode, strides=[2, 3])
conv_case("conv-auto-pad-same-upper-even", (1, 6, 6), (2, 1, 2, 4), auto_pad="SAME_UPPER")
conv_case("conv-auto-pad-same-lower-even", (1, 6, 6), (2, 1, 2, 4), auto_pad="SAME_LOWER")


# --- dense layers and their biases --------------------------------------------------------------------------------


@valid
def gemm_transposed(w):
    return model([node("Gemm", ["x", "w", "b"], ["y"], "fc", transB=1)], [w("w", 4, 6), w("b", 4)], (6,))


@valid
def gemm_scaled(w):
    tensors = [w("w", 6, 4), w("b", 1, 4)]
    return model([node("Gemm", ["x", "w", "b"], ["y"], "fc", alpha=0.5, beta=-2.0)], tensors, (6,))


@valid
def gemm_without_bias(w):
    return model([node("Gemm", ["x", "w"], ["y"], "fc", transB=1)], [w("w", 4, 6)], (6,))


@valid
def gemm_scalar_bias(w):
    return model([node("Gemm", ["x", "w", "b"], ["y"], "fc")], [w("w", 6, 4), w("b", 1)], (6,))


@valid
def matmul(w):
    return model([node("MatMul", ["x", "w"], ["y"], "fc")], [w("w", 6, 4)], (6,))


@valid
def matmul_add_bias(w):
    nodes = [node("MatMul", ["x", "w"], ["z"], "fc"), node("Add", ["z", "b"], ["y"], "bias")]
    return model(nodes, [w("w", 6, 4), w("b", 4)], (6,))


@valid
def add_bias_on_the_left(w):
    nodes = [node("MatMul", ["x", "w"], ["z"], "fc"), node("Add", ["b", "z"], ["y"], "bias")]
    return model(nodes, [w("w", 6, 4), w("b", 1, 4)], (6,))


@valid
def add_bias_twice(w):
    nodes = [
        node("Gemm", ["x", "w", "b"], ["z"], "fc"),
        node("Add", ["z", "c"], ["u"], "more"),
        node("Add", ["u", "s"], ["y"], "scalar"),
    ]
    return model(nodes, [w("w", 6, 4), w("b", 4), w("c", 4), w("s")], (6,))


@valid
def add_bias_to_conv(w):
    nodes = [node("Conv", ["x", "w"], ["z"], "conv"), node("Add", ["z", "b"], ["y"], "bias")]
    return model(nodes, [w("w", 3, 2, 3, 3), w("b", 3, 1, 1)], (2, 5, 5))


@valid
def add_bias_to_conv_batched(w):
    nodes = [node("Conv", ["x", "w", "c"], ["z"], "conv"), node("Add", ["z", "b"], ["y"], "bias")]
    return model(nodes, [w("w", 3, 2, 3, 3), w("c", 3), w("b", 1, 3, 1, 1)], (2, 5, 5))


@valid
def add_bias_to_a_shared_layer(w):
    nodes = [
        node("MatMul", ["x", "w"], ["z"], "fc"),
        node("Add", ["z", "b"], ["u"], "bias"),
        node("Relu", ["u"], ["r"], "relu"),
        node("Add", ["r", "z"], ["y"], "sum"),
    ]
    return model(nodes, [w("w", 6, 4), w("b", 4)], (6,))


@valid
def add_of_two_branches(w):
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["a"], "conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["r"], "relu1"),
        node("Conv", ["r", "w2", "b2"], ["c"], "conv2", pads=[1, 1, 1, 1]),
        node("Add", ["c", "r"], ["s"], "sum"),
        node("Relu", ["s"], ["y"], "relu2"),
    ]
    return model(nodes, [w("w1", 3, 2, 3, 3), w("b1", 3), w("w2", 3, 3, 3, 3), w("b2", 3)], (2, 5, 5))


@valid
def add_of_a_value_to_itself(w):
    nodes = [node("MatMul", ["x", "w"], ["z"], "fc"), node("Add", ["z", "z"], ["y"], "twice")]
    return model(nodes, [w("w", 6, 4)], (6,))


# --- pooling ------------------------------------------------------------------------------------------------------


def pool_case(name, item, opset=13, **attributes):
    VALID[name] = lambda w: model([node("MaxPool", ["x"], ["y"], "pool", **attributes)], [], item, opset)


pool_case("maxpool-2x2", (2, 6, 6), kernel_shape=[2, 2], strides=[2, 2])
pool_case("maxpool-default-stride", (1, 5, 4), kernel_shape=[2, 3])
pool_case("maxpool-3x3-stride-2", (2, 7, 8), kernel_shape=[3, 3], strides=[2, 2])
pool_case("maxpool-leftover-rows", (1, 7, 8), kernel_shape=[2, 2], strides=[3, 3])
pool_case("maxpool-pads", (2, 6, 5), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 2])
pool_case("maxpool-dilations", (1, 8, 8), kernel_shape=[2, 3], dilations=[3, 2], strides=[2, 1])
pool_case("maxpool-dilations-pads", (1, 7, 7), kernel_shape=[2, 2], dilations=[3, 3], pads=[1, 1, 1, 1])
pool_case("maxpool-ceil", (2, 7, 8), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
pool_case("maxpool-ceil-pads", (1, 6, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1)
pool_case("maxpool-ceil-window-left-out", (1, 5, 5), kernel_shape=[1, 2], strides=[2, 3], pads=[0, 0, 0, 1], ceil_mode=1)
pool_case("maxpool-auto-pad-same-upper", (2, 7, 6), kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER")
pool_case("maxpool-auto-pad-same-lower", (2, 7, 6), kernel_shape=[4, 2], strides=[2, 1], auto_pad="SAME_LOWER")
pool_case("maxpool-auto-pad-valid", (2, 7, 6), kernel_shape=[3, 2], strides=[2, 2], auto_pad="VALID")
pool_case("maxpool-opset-8", (1, 6, 6), opset=8, kernel_shape=[2, 2], strides=[2, 2], storage_order=0)


@valid
def relu_before_maxpool(w):
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], "conv"),
        node("Relu", ["c"], ["r"], "relu"),
        node("MaxPool", ["r"], ["y"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    return model(nodes, [w("w", 3, 1, 3, 3), w("b", 3)], (1, 8, 8))


@valid
def relu_shared_by_maxpool(w):
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Add", ["p", "r"], ["y"], "sum"),
    ]
    return model(nodes, [], (2, 5, 5))


# --- shapes, constants, what vanishes -----------------------------------------------------------------------------


def shaped(target, item=(2, 3, 4), batch="N", opset=13, **attributes):
    def make(w):
        nodes = [
            node("Relu", ["x"], ["r"], "relu"),
            node("Reshape", ["r", "shape"], ["f"], "reshape", **attributes),
            node("MatMul", ["f", "w"], ["y"], "fc"),
        ]
        return model(nodes, [ints("shape", target), w("w", int(np.prod(item)), 3)], item, opset, batch)

    return make


VALID["reshape-open-batch"] = shaped([-1, 24])
VALID["reshape-copied-batch"] = shaped([0, -1])
VALID["reshape-opset-21"] = shaped([0, -1], opset=21, allowzero=0)
VALID["fixed-batch-of-one"] = shaped([1, 24], batch=1)
VALID["fixed-batch-open-features"] = shaped([1, -1], batch=1)
VALID["fixed-batch-of-three"] = shaped([3, 24], batch=3)


@valid
def reshape_to_image_and_back(w):
    nodes = [
        node("Reshape", ["x", "image"], ["i"], "image"),
        node("Conv", ["i", "w"], ["c"], "conv"),
        node("Reshape", ["c", "middle"], ["m"], "middle"),
        node("Flatten", ["m"], ["f"], "flatten"),
        node("Gemm", ["f", "v"], ["y"], "fc"),
    ]
    tensors = [ints("image", [0, 1, 4, 5]), ints("middle", [0, 0, -1]), w("w", 2, 1, 2, 2), w("v", 24, 3)]
    return model(nodes, tensors, (20,))


@valid
def flatten_negative_axis(w):
    nodes = [node("Flatten", ["x"], ["f"], "flatten", axis=-3), node("MatMul", ["f", "w"], ["y"], "fc")]
    return model(nodes, [w("w", 24, 3)], (2, 3, 4))


@valid
def weights_reshaped(w):
    nodes = [
        node("Reshape", ["w", "shape"], ["m"], "weights"),
        node("Flatten", ["x"], ["f"], "flatten"),
        node("MatMul", ["f", "m"], ["y"], "fc"),
    ]
    return model(nodes, [w("w", 2, 3, 4, 5), ints("shape", [24, -1])], (2, 3, 4))


@valid
def weights_transposed(w):
    nodes = [
        node("Transpose", ["w"], ["t"], "weights", perm=[2, 0, 1]),
        node("Flatten", ["t"], ["m"], "matrix", axis=1),
        node("Identity", ["m"], ["i"], "same"),
        node("MatMul", ["x", "i"], ["y"], "fc"),
    ]
    return model(nodes, [w("w", 2, 3, 6)], (6,))


@valid
def identity_and_dropout(w):
    nodes = [
        node("Identity", ["x"], ["i"], "identity"),
        node("MatMul", ["i", "w"], ["z"], "fc"),
        node("Dropout", ["z", "ratio", "mode"], ["d"], "dropout"),
        node("Identity", ["d"], ["y"], "last"),
    ]
    tensors = [w("w", 6, 4), numpy_helper.from_array(np.float32(0.3), "ratio"), ints("unused", [7])]
    mode = node("Constant", [], ["mode"], "mode", value=numpy_helper.from_array(np.array(False), "mode"))
    return model([mode, *nodes], tensors, (6,))


@valid
def dropout_opset_7(w):
    nodes = [node("MatMul", ["x", "w"], ["z"], "fc"), node("Dropout", ["z"], ["y"], "dropout", ratio=0.3)]
    return model(nodes, [w("w", 6, 4)], (6,), opset=7)


@valid
def constants_in_nodes(w):
    nodes = [
        node("Constant", [], ["w"], "weights", value=w("w", 6, 4)),
        node("Constant", [], ["shape"], "shape", value_ints=[-1, 6]),
        node("Constant", [], ["b"], "bias", value_floats=[0.5, -0.5, 0.25, 1.0]),
        node("Constant", [], ["s"], "scalar", value_float=0.125),
        node("Reshape", ["x", "shape"], ["f"], "flatten"),
        node("MatMul", ["f", "w"], ["z"], "fc"),
        node("Add", ["z", "b"], ["u"], "add"),
        node("Add", ["u", "s"], ["y"], "add-scalar"),
    ]
    return model(nodes, [], (2, 3))


@valid
def unnamed_nodes_and_typed_data(w):
    weights = numpy_helper.to_array(w("w", 6, 4)).flatten().tolist()
    tensors = [
        helper.make_tensor("w", FLOAT, [6, 4], weights),
        helper.make_tensor("shape", TensorProto.INT64, [2], [0, 6]),
    ]
    nodes = [node("Reshape", ["x", "shape"], ["f"]), node("MatMul", ["f", "w"], ["z"]), node("Relu", ["z"], ["y"])]
    return model(nodes, tensors, (2, 3))


@valid
def weights_among_inputs(w):
    inputs = [value("x", ["N", 6]), value("w", [6, 4])]
    return model([node("MatMul", ["x", "w"], ["y"], "fc")], [w("w", 6, 4)], (6,), opset=8, inputs=inputs, ir=3)


@valid
def layers_without_effect(w):
    nodes = [
        node("MatMul", ["x", "w"], ["y"], "fc"),
        node("Sigmoid", ["y"], ["unused"], "unused"),
    ]
    return model(nodes, [w("w", 6, 4)], (6,))


def final(operator, opset, **attributes):
    def make(w):
        nodes = [
            node("Gemm", ["x", "w", "b"], ["z"], "fc", transB=1),
            node("Identity", ["z"], ["i"], "same"),
            node(operator, ["i"], ["y"], "last", **attributes),
        ]
        return model(nodes, [w("w", 4, 6), w("b", 4)], (6,), opset)

    return make


VALID["softmax-final"] = final("Softmax", 13)
VALID["softmax-final-opset-11"] = final("Softmax", 11, axis=1)
VALID["logsoftmax-final"] = final("LogSoftmax", 13, axis=-1)
for version in (7, 9, 11, 15, 18, 21):
    VALID[f"small-network-opset-{version}"] = lambda w, version=version: model(
        [
            node("Conv", ["x", "w1", "b1"], ["c"], "conv", pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"], "relu1"),
            node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["p"], ["f"], "flatten"),
            node("Gemm", ["f", "w2", "b2"], ["h"], "fc1", transB=1),
            node("Relu", ["h"], ["q"], "relu2"),
            node("Gemm", ["q", "w3", "b3"], ["y"], "fc2", transB=1),
        ],
        [w("w1", 3, 1, 3, 3), w("b1", 3), w("w2", 8, 48), w("b2", 8), w("w3", 4, 8), w("b3", 4)],
        (1, 8, 8),
        version,
    )


# --- external data ------------------------------------------------------------------------------------------------


def external(w, location, offset="0", length="96"):
    tensor = w("w", 6, 4)
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    return model([node("MatMul", ["x", "w"], ["y"], "fc")], [tensor], (6,)), data


@valid
def external_data(w):
    return external(w, "external-data.bin", offset="16")


@invalid
def external_data_outside_its_folder(w):
    return external(w, "../external-data.bin")[0]


@invalid
def external_data_absolute(w):
    return external(w, "/etc/hostname")[0]


@invalid
def external_data_missing(w):
    return external(w, "no-such-file.bin")[0]


@invalid
def external_data_too_short(w):
    return external(w, "external-data.bin", offset="17")[0]


@invalid
def external_data_other_length(w):
    return external(w, "external-data.bin", length="95")[0]


# --- models to be refused -----------------------------------------------------------------------------------------


def dense_with(tensor, item=(6,), **attributes):
    return model([node("Gemm", ["x", "w"], ["y"], "fc", **attributes)], [tensor], item)


@invalid
def truncated(w):
    return dense_with(w("w", 6, 4)).SerializeToString()[:-30]


@invalid
def not_onnx(w):
    return b"\x89PNG\r\n\x1a\n this is an image"


@invalid
def empty(w):
    return b""


@invalid
def cycle(w):
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "fc"),
        node("Add", ["a", "c"], ["b"], "first"),
        node("Relu", ["b"], ["c"], "second"),
        node("Relu", ["c"], ["y"], "last"),
    ]
    return model(nodes, [w("w", 6, 4)], (6,))


@invalid
def missing_tensor(w):
    return model([node("MatMul", ["x", "absent"], ["y"], "fc")], [], (6,))


@invalid
def missing_output(w):
    return model([node("MatMul", ["x", "w"], ["z"], "fc")], [w("w", 6, 4)], (6,))


@invalid
def duplicate_node_names(w):
    nodes = [node("Relu", ["x"], ["r"], "same"), node("MatMul", ["r", "w"], ["y"], "same")]
    return model(nodes, [w("w", 6, 4)], (6,))


@invalid
def duplicate_tensor(w):
    nodes = [node("MatMul", ["x", "w"], ["y"], "a"), node("Relu", ["x"], ["y"], "b")]
    return model(nodes, [w("w", 6, 4)], (6,))


@invalid
def duplicate_weights(w):
    return model([node("MatMul", ["x", "w"], ["y"], "fc")], [w("w", 6, 4), w("w", 6, 4)], (6,))


@invalid
def symbolic_axis(w):
    nodes = [node("Conv", ["x", "w"], ["y"], "conv")]
    return model(nodes, [w("w", 2, 1, 3, 3)], (1, "height", 28))


@invalid
def input_overflows(w):
    return model([node("Relu", ["x"], ["y"], "relu")], [], (2**40, 2**40, 2**40))


@invalid
def output_overflows(w):
    nodes = [node("Conv", ["x", "w"], ["y"], "conv", pads=[2**27, 2**27, 2**27, 2**27])]
    return model(nodes, [w("w", 2, 1, 3, 3)], (1, 8, 8))


@invalid
def weights_declare_too_much(w):
    tensor = w("w", 6, 4)
    tensor.dims[0] = 2**60
    return dense_with(tensor)


@invalid
def weights_declare_more_than_they_hold(w):
    tensor = w("w", 6, 4)
    tensor.dims[0] = 6000
    return dense_with(tensor)


@invalid
def weights_negative_dimension(w):
    tensor = w("w", 6, 4)
    tensor.dims[0] = -6
    return dense_with(tensor)


def not_finite(number):
    def make(w):
        values = np.ones((6, 4), np.float32)
        values[2, 1] = number
        return dense_with(numpy_helper.from_array(values, "w"))

    return make


INVALID["nan-weight"] = not_finite(np.nan)
INVALID["infinite-weight"] = not_finite(-np.inf)


@invalid
def float16_weights(w):
    return dense_with(numpy_helper.from_array(np.ones((6, 4), np.float16), "w"))


@invalid
def integer_weights(w):
    return dense_with(ints("w", np.ones((6, 4))))


@invalid
def integer_input(w):
    inputs = [value("x", ["N", 6], TensorProto.INT64)]
    return model([node("Relu", ["x"], ["y"], "relu")], [], (6,), inputs=inputs)


@invalid
def two_inputs(w):
    inputs = [value("x", ["N", 6]), value("z", ["N", 6])]
    return model([node("Add", ["x", "z"], ["y"], "sum")], [], (6,), inputs=inputs)


@invalid
def two_outputs(w):
    nodes = [node("Relu", ["x"], ["y"], "relu"), node("MatMul", ["x", "w"], ["z"], "fc")]
    return model(nodes, [w("w", 6, 4)], (6,), outputs=[value("y", ["N", 6]), value("z", ["N", 4])])


@invalid
def input_without_batch(w):
    return model([node("Relu", ["x"], ["y"], "relu")], [], (), batch=6)


@invalid
def output_is_the_input(w):
    return model([node("Identity", ["x"], ["y"], "same")], [], (6,))


@invalid
def unsupported_operators(w):
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv1"),
        node("BatchNormalization", ["c", "s", "s", "s", "s"], ["n"], "bn1"),
        node("Relu", ["n"], ["r"], "relu1"),
        node("Sigmoid", ["r"], ["g"], "gate"),
        node("GlobalAveragePool", ["g"], ["p"]),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("FusedMatMul", ["f", "v"], ["y"], "fused", domain="com.microsoft"),
    ]
    m = model(nodes, [w("w", 2, 1, 3, 3), w("s", 2), w("v", 2, 3)], (1, 8, 8))
    m.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return m


@invalid
def softmax_in_the_middle(w):
    nodes = [node("Softmax", ["x"], ["s"], "attention"), node("MatMul", ["s", "w"], ["y"], "fc")]
    return model(nodes, [w("w", 6, 4)], (6,))


@invalid
def softmax_over_channels(w):
    return model([node("Softmax", ["x"], ["y"], "softmax", axis=1)], [], (2, 3, 3))


@invalid
def gemm_transposed_input(w):
    return dense_with(w("w", 6, 4), transA=1)


@invalid
def gemm_alpha_overflows(w):
    return dense_with(numpy_helper.from_array(np.full((6, 4), 1e30, np.float32), "w"), alpha=1e30)


@invalid
def dense_of_another_width(w):
    return dense_with(w("w", 7, 4))


@invalid
def dense_on_an_image(w):
    return model([node("MatMul", ["x", "w"], ["y"], "fc")], [w("w", 5, 4)], (2, 5, 5))


@invalid
def matmul_weights_first(w):
    return model([node("MatMul", ["w", "x"], ["y"], "fc")], [w("w", 4, 6)], (6,))


@invalid
def weights_that_depend_on_the_input(w):
    return model([node("MatMul", ["x", "x"], ["y"], "fc")], [], (6,))


@invalid
def conv_groups_do_not_fit(w):
    return model([node("Conv", ["x", "w"], ["y"], "conv", group=3)], [w("w", 6, 2, 3, 3)], (4, 8, 8))


@invalid
def conv_kernel_larger_than_input(w):
    return model([node("Conv", ["x", "w"], ["y"], "conv")], [w("w", 2, 1, 9, 3)], (1, 8, 8))


@invalid
def conv_kernel_shape_differs(w):
    return model([node("Conv", ["x", "w"], ["y"], "conv", kernel_shape=[5, 5])], [w("w", 2, 1, 3, 3)], (1, 8, 8))


@invalid
def conv_stride_zero(w):
    return model([node("Conv", ["x", "w"], ["y"], "conv", strides=[0, 1])], [w("w", 2, 1, 3, 3)], (1, 8, 8))


@invalid
def conv_one_dimensional(w):
    return model([node("Conv", ["x", "w"], ["y"], "conv")], [w("w", 2, 1, 3)], (1, 8))


@invalid
def conv_negative_pads(w):
    return model([node("Conv", ["x", "w"], ["y"], "conv", pads=[-1, 0, 0, 0])], [w("w", 2, 1, 3, 3)], (1, 8, 8))


@invalid
def maxpool_window_in_padding(w):
    return model([node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[2, 2], pads=[2, 0, 0, 0])], [], (1, 6, 6))


@invalid
def maxpool_indices_used(w):
    nodes = [node("MaxPool", ["x"], ["p", "i"], "pool", kernel_shape=[2, 2]), node("Add", ["p", "i"], ["y"], "sum")]
    return model(nodes, [], (1, 6, 6))


@invalid
def maxpool_three_dimensional(w):
    return model([node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[2, 2, 2])], [], (1, 6, 6, 6))


@invalid
def dropout_in_training(w):
    mode = numpy_helper.from_array(np.array(True), "mode")
    ratio = numpy_helper.from_array(np.float32(0.5), "ratio")
    return model([node("Dropout", ["x", "ratio", "mode"], ["y"], "dropout")], [ratio, mode], (6,))


@invalid
def reshape_mixes_items(w):
    return model([node("Reshape", ["x", "s"], ["y"], "reshape")], [ints("s", [-1, 3])], (6,))


@invalid
def reshape_to_another_size(w):
    return model([node("Reshape", ["x", "s"], ["y"], "reshape")], [ints("s", [0, 2, 4])], (6,))


@invalid
def reshape_of_weights_to_another_size(w):
    nodes = [node("Reshape", ["w", "s"], ["m"], "weights"), node("MatMul", ["x", "m"], ["y"], "fc")]
    return model(nodes, [w("w", 6, 4), ints("s", [5, 5])], (6,))


@invalid
def flatten_of_batch(w):
    return model([node("Flatten", ["x"], ["y"], "flatten", axis=0)], [], (2, 3))


@invalid
def add_constant_after_relu(w):
    nodes = [node("Relu", ["x"], ["r"], "relu"), node("Add", ["r", "b"], ["y"], "shift")]
    return model(nodes, [w("b", 6)], (6,))


@invalid
def add_constant_of_an_image(w):
    nodes = [node("Conv", ["x", "w"], ["z"], "conv"), node("Add", ["z", "b"], ["y"], "shift")]
    return model(nodes, [w("w", 2, 1, 3, 3), w("b", 2, 4, 4)], (1, 6, 6))


@invalid
def add_broadcasts(w):
    nodes = [
        node("MaxPool", ["x"], ["p"], "pool", kernel_shape=[4, 4]),
        node("Add", ["x", "p"], ["y"], "sum"),
    ]
    return model(nodes, [], (2, 4, 4))


@invalid
def unknown_attribute(w):
    return dense_with(w("w", 6, 4), quantum=1)


@invalid
def attribute_of_wrong_type(w):
    return dense_with(w("w", 6, 4), transB=[1])


@invalid
def opset_too_old(w):
    m = dense_with(w("w", 6, 4))
    m.opset_import[0].version = 6
    return m


@invalid
def opset_too_new(w):
    m = dense_with(w("w", 6, 4))
    m.opset_import[0].version = 99
    return m


# --- files --------------------------------------------------------------------------------------------------------


def outputs(path, m, name):
    """Inputs of three items and what ONNX Runtime computes for them."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shape = [d.dim_value for d in m.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng([1, *name.encode()]).uniform(-2, 2, (ITEMS, *shape[1:])).astype(np.float32)
    step = shape[0] or ITEMS
    y = [session.run(None, {"x": x[i : i + step]})[0] for i in range(0, ITEMS, step)]
    return x.tobytes() + np.concatenate(y).astype(np.float32).tobytes()


def make(folder):
    files = {}

    def write(name, data):
        files[name] = data
        (folder / name).write_bytes(data)

    for name, function in VALID.items():
        m = function(Weights(name))
        if isinstance(m, tuple):
            m, data = m
            write(f"{name}.bin", bytes(16) + data)
        write(f"{name}.onnx", m.SerializeToString(deterministic=True))
        write(f"{name}.f32", outputs(folder / f"{name}.onnx", m, name))
    for name, function in INVALID.items():
        m = function(Weights(name))
        write(f"invalid-{name}.onnx", m if isinstance(m, bytes) else m.SerializeToString(deterministic=True))
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args().check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for old in FOLDER.iterdir():
            old.unlink()
        print(f"{len(make(FOLDER))} files written")
        return
    with tempfile.TemporaryDirectory() as folder:
        files = make(Path(folder))
    there = {path.name for path in FOLDER.iterdir()}
    wrong = sorted(there ^ set(files))
    for name in there & set(files):
        old, new = (FOLDER / name).read_bytes(), files[name]
        # Sums of floats depend on the processor, everything else is exact.
        if name.endswith(".f32") and len(old) == len(new):
            same = np.allclose(np.frombuffer(old, np.float32), np.frombuffer(new, np.float32), rtol=1e-5, atol=1e-5)
        else:
            same = old == new
        if not same:
            wrong.append(name)
    print(f"{len(files)} files, {len(wrong)} differ {wrong}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

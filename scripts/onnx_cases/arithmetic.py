"""Arithmetic with constants, batch normalisation, and what they are folded into."""

import numpy as np
from onnx import numpy_helper

from .base import VALID, model, node, valid


def positive(w, name, *shape):
    values = np.abs(numpy_helper.to_array(w(name, *shape))) + 0.5
    return numpy_helper.from_array(values.astype(np.float32), name)


def norm(w, source, target, name, channels, prefix="", **attributes):
    """A BatchNormalization node and its tensors."""
    names = [f"{prefix}{part}" for part in ("gamma", "beta", "mean", "var")]
    tensors = [w(part, *np.atleast_1d(channels)) for part in names[:3]] + [positive(w, names[3], *np.atleast_1d(channels))]
    return node("BatchNormalization", [source, *names], [target], name, **attributes), tensors


def scale(name, values):
    return numpy_helper.from_array(np.array(values, np.float32), name)


# --- batch normalisation ------------------------------------------------------------------------------------------


def norm_case(name, item, opset=13, channels=None, **attributes):
    def make(w):
        bn, tensors = norm(w, "x", "y", "bn", channels or item[0], **attributes)
        return model([bn], tensors, item, opset)

    VALID[name] = make


norm_case("batchnorm-of-an-image", (3, 4, 5))
norm_case("batchnorm-of-features", (6,), epsilon=0.1)
norm_case("batchnorm-of-a-sequence", (3, 5))
norm_case("batchnorm-opset-7", (3, 4, 4), opset=7, momentum=0.8)
norm_case("batchnorm-opset-8-by-element", (2, 3, 3), opset=8, channels=(2, 3, 3), spatial=0)
norm_case("batchnorm-opset-15", (3, 4, 4), opset=15, training_mode=0)


@valid
def batchnorm_after_conv(w):
    bn, tensors = norm(w, "c", "n", "bn", 3)
    nodes = [node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]), bn, node("Relu", ["n"], ["y"], "relu")]
    return model(nodes, [w("w", 3, 2, 3, 3), w("b", 3), *tensors], (2, 5, 5))


@valid
def batchnorm_after_dense(w):
    bn, tensors = norm(w, "z", "y", "bn", 4)
    return model([node("Gemm", ["x", "w"], ["z"], "fc", transB=1), bn], [w("w", 4, 6), *tensors], (6,))


@valid
def batchnorm_after_relu(w):
    """ReLU stands between: folded into the layer behind, whose padding makes the bias depend on the place."""
    bn, tensors = norm(w, "r", "n", "bn", 3)
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c"], "conv1"),
        node("Relu", ["c"], ["r"], "relu"),
        bn,
        node("Conv", ["n", "w2", "b2"], ["y"], "conv2", pads=[1, 1, 1, 1]),
    ]
    return model(nodes, [w("w1", 3, 2, 3, 3), w("b1", 3), *tensors, w("w2", 4, 3, 3, 3), w("b2", 4)], (2, 8, 8))


@valid
def batchnorm_after_relu_without_padding(w):
    bn, tensors = norm(w, "r", "n", "bn", 4)
    nodes = [
        node("Conv", ["x", "w1"], ["c"], "conv1"),
        node("Relu", ["c"], ["r"], "relu"),
        bn,
        node("Conv", ["n", "w2"], ["y"], "conv2", strides=[2, 1], group=2),
    ]
    return model(nodes, [w("w1", 4, 2, 3, 3), *tensors, w("w2", 4, 2, 3, 3)], (2, 8, 8))


@valid
def batchnorm_before_pooling_and_dense(w):
    """Through maximum pooling (factors are positive), average pooling and Flatten into the dense layer."""
    _, tensors = norm(w, "r", "n", "bn", 3)
    bn = node("BatchNormalization", ["r", "var", "beta", "mean", "var"], ["n"], "bn")
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        bn,
        node("MaxPool", ["n"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", ["p"], ["a"], "average", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["a"], ["f"], "flatten"),
        node("Gemm", ["f", "w", "b"], ["y"], "fc", transB=1),
    ]
    return model(nodes, [tensors[1], tensors[2], tensors[3], w("w", 5, 12), w("b", 5)], (3, 8, 8))


@valid
def batchnorm_with_negative_factors_before_maxpool(w):
    _, tensors = norm(w, "r", "n", "bn", 3)
    tensors[0] = scale("gamma", [1.5, -0.5, 2.0])
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        node("BatchNormalization", ["r", "gamma", "beta", "mean", "var"], ["n"], "bn"),
        node("MaxPool", ["n"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p", "w"], ["y"], "conv"),
    ]
    return model(nodes, [*tensors, w("w", 2, 3, 3, 3)], (3, 8, 8))


@valid
def batchnorm_before_padded_average(w):
    bn, tensors = norm(w, "r", "n", "bn", 3)
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        bn,
        node("AveragePool", ["n"], ["a"], "pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        node("Conv", ["a", "w"], ["y"], "conv"),
    ]
    return model(nodes, [*tensors, w("w", 2, 3, 3, 3)], (3, 6, 6))


@valid
def batchnorm_of_a_shared_conv(w):
    bn, tensors = norm(w, "c", "n", "bn", 3)
    nodes = [node("Conv", ["x", "w"], ["c"], "conv"), bn, node("Add", ["n", "c"], ["y"], "sum")]
    return model(nodes, [w("w", 3, 2, 3, 3), *tensors], (2, 5, 5))


# --- constants ----------------------------------------------------------------------------------------------------


def constant_case(name, operator, constant, item, left=False, opset=13):
    def make(w):
        operands = ["c", "x"] if left else ["x", "c"]
        return model([node(operator, operands, ["y"], "op")], [positive(w, "c", *constant)], item, opset)

    VALID[name] = make


constant_case("mul-scalar", "Mul", (), (2, 3, 4))
constant_case("mul-channel", "Mul", (2, 1, 1), (2, 3, 4), left=True)
constant_case("mul-column", "Mul", (4,), (2, 3, 4))
constant_case("mul-element", "Mul", (1, 2, 3, 4), (2, 3, 4))
constant_case("mul-features", "Mul", (6,), (6,))
constant_case("div-channel", "Div", (1, 2, 1, 1), (2, 3, 4))
constant_case("div-scalar-of-features", "Div", (1,), (6,))
constant_case("sub-scalar", "Sub", (), (2, 3, 4))
constant_case("sub-from-constant", "Sub", (2, 1, 1), (2, 3, 4), left=True)
constant_case("add-row", "Add", (3, 1), (2, 3, 4))
constant_case("add-scalar-of-a-sequence", "Add", (), (3, 5), opset=7)


@valid
def add_constant_after_relu(w):
    nodes = [node("Relu", ["x"], ["r"], "relu"), node("Add", ["r", "b"], ["y"], "shift")]
    return model(nodes, [w("b", 6)], (6,))


@valid
def add_constant_of_an_image(w):
    nodes = [node("Conv", ["x", "w"], ["z"], "conv"), node("Add", ["z", "b"], ["y"], "shift")]
    return model(nodes, [w("w", 2, 1, 3, 3), w("b", 2, 4, 4)], (1, 6, 6))


@valid
def input_normalised_before_conv(w):
    """Preprocessing as a part of the model."""
    nodes = [
        node("Div", ["x", "c"], ["u"], "to-unit"),
        node("Sub", ["u", "m"], ["v"], "centre"),
        node("Mul", ["v", "s"], ["n"], "spread"),
        node("Conv", ["n", "w", "b"], ["y"], "conv", pads=[1, 0, 0, 2]),
    ]
    tensors = [scale("c", 255.0), scale("m", [[[0.485]], [[0.456]]]), scale("s", [[[4.4]], [[4.5]]])]
    return model(nodes, [*tensors, w("w", 3, 2, 3, 3), w("b", 3)], (2, 6, 6))


@valid
def scalings_in_a_row(w):
    nodes = [
        node("Gemm", ["x", "w"], ["z"], "fc", transB=1),
        node("Mul", ["z", "s"], ["u"], "scale"),
        node("Add", ["u", "t"], ["v"], "shift"),
        node("Neg", ["v"], ["n"], "negative"),
        node("Relu", ["n"], ["y"], "relu"),
    ]
    return model(nodes, [w("w", 4, 6), w("s", 4), w("t", 4)], (6,))


@valid
def difference_and_sum_of_branches(w):
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        node("Sub", ["x", "r"], ["d"], "difference"),
        node("Sum", ["d", "r", "x"], ["y"], "sum"),
    ]
    return model(nodes, [], (2, 4, 4))


@valid
def arithmetic_of_constants(w):
    nodes = [
        node("Mul", ["a", "b"], ["c"], "product"),
        node("Sub", ["c", "d"], ["e"], "difference"),
        node("MatMul", ["x", "e"], ["y"], "fc"),
    ]
    return model(nodes, [w("a", 6, 4), w("b", 4), w("d", 6, 1)], (6,))

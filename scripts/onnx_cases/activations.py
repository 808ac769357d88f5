"""Functions of each value."""

import numpy as np
from onnx import numpy_helper

from .base import VALID, model, node, valid


def scalar(name, number):
    return numpy_helper.from_array(np.array(number, np.float32), name)


def activation_case(name, operator, item=(2, 3, 4), opset=13, **attributes):
    VALID[name] = lambda w: model([node(operator, ["x"], ["y"], "op", **attributes)], [], item, opset)


activation_case("sigmoid", "Sigmoid")
activation_case("tanh", "Tanh")
activation_case("exp", "Exp")
activation_case("gelu", "Gelu", opset=20)
activation_case("gelu-tanh", "Gelu", opset=20, approximate="tanh")
activation_case("leaky-relu", "LeakyRelu", alpha=0.2)
activation_case("leaky-relu-of-features", "LeakyRelu", item=(6,))
activation_case("hard-sigmoid", "HardSigmoid", alpha=0.3, beta=0.4)
activation_case("clip-opset-7", "Clip", opset=7, min=0.0, max=1.5)
activation_case("clip-opset-7-above", "Clip", opset=7, max=1.0)
activation_case("inner-soft-max-last-axis", "Softmax", axis=-1)
activation_case("inner-soft-max-channels", "Softmax", axis=1)
activation_case("inner-soft-max-opset-11", "Softmax", opset=11, axis=2)


def clip_case(name, lo=None, hi=None):
    def make(w):
        names = ["lo" if lo is not None else "", "hi" if hi is not None else ""]
        tensors = [scalar(key, number) for key, number in (("lo", lo), ("hi", hi)) if number is not None]
        return model([node("Clip", ["x", *names], ["y"], "op")], tensors, (2, 3, 4))

    VALID[name] = make


clip_case("clip", -0.5, 1.0)
clip_case("clip-relu6", 0.0, 6.0)
clip_case("clip-below", lo=-0.25)
clip_case("clip-above", hi=0.75)


@valid
def clip_without_limits(w):
    return model([node("Clip", ["x"], ["c"], "clip"), node("Relu", ["c"], ["y"], "relu")], [], (2, 3, 4))


@valid
def clip_before_maxpool(w):
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv"),
        node("Clip", ["c", "lo", "hi"], ["r"], "relu6"),
        node("MaxPool", ["r"], ["y"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    return model(nodes, [w("w", 3, 1, 3, 3), scalar("lo", 0), scalar("hi", 0.5)], (1, 8, 8))


@valid
def clip_after_relu(w):
    nodes = [node("Relu", ["x"], ["r"], "relu"), node("Clip", ["r", "lo", "hi"], ["y"], "clip")]
    return model(nodes, [scalar("lo", -1), scalar("hi", 1)], (2, 4, 4))


@valid
def prelu(w):
    return model([node("PRelu", ["x", "slope"], ["y"], "op")], [w("slope", 2, 1, 1)], (2, 3, 4))


@valid
def prelu_of_elements(w):
    return model([node("PRelu", ["x", "slope"], ["y"], "op")], [w("slope", 2, 3, 4)], (2, 3, 4))


@valid
def softmax_between_layers(w):
    nodes = [node("Softmax", ["x"], ["s"], "attention"), node("MatMul", ["s", "w"], ["z"], "fc")]
    return model([*nodes, node("Relu", ["z"], ["y"], "relu")], [w("w", 6, 4)], (6,))


VALID["inner-soft-max-before-dense"] = VALID.pop("softmax-between-layers")


@valid
def relu_after_relu(w):
    nodes = [
        node("Relu", ["x"], ["r"], "relu1"),
        node("AveragePool", ["r"], ["a"], "pool", kernel_shape=[2, 2]),
        node("Relu", ["a"], ["y"], "relu2"),
    ]
    return model(nodes, [], (2, 4, 4))


# --- Gelu written out ---------------------------------------------------------------------------------------------


def gelu_by_erf(nodes, tensors, opset=13):
    return lambda w: model(
        [node("Conv", ["x", "w"], ["c"], "conv"), *nodes],
        [w("w", 2, 1, 3, 3), *(scalar(name, number) for name, number in tensors.items())],
        (1, 6, 6),
        opset,
    )


VALID["gelu-erf-old-exporter"] = gelu_by_erf(
    [
        node("Div", ["c", "sqrt2"], ["d"], "/act/Div"),
        node("Erf", ["d"], ["e"], "/act/Erf"),
        node("Add", ["e", "one"], ["a"], "/act/Add"),
        node("Mul", ["c", "a"], ["m"], "/act/Mul"),
        node("Mul", ["m", "half"], ["y"], "/act/Mul_1"),
    ],
    {"sqrt2": np.sqrt(2), "one": 1, "half": 0.5},
)
VALID["gelu-erf-new-exporter"] = gelu_by_erf(
    [
        node("Mul", ["half", "c"], ["h"], "n0"),
        node("Mul", ["c", "root"], ["d"], "n1"),
        node("Erf", ["d"], ["e"], "n2"),
        node("Add", ["one", "e"], ["a"], "n3"),
        node("Mul", ["h", "a"], ["y"], "n4"),
    ],
    {"root": np.sqrt(0.5), "one": 1, "half": 0.5},
    18,
)
VALID["gelu-tanh-by-pow"] = gelu_by_erf(
    [
        node("Pow", ["c", "three"], ["p"], "n0"),
        node("Mul", ["p", "k"], ["q"], "n1"),
        node("Add", ["c", "q"], ["s"], "n2"),
        node("Mul", ["s", "root"], ["t"], "n3"),
        node("Tanh", ["t"], ["u"], "n4"),
        node("Add", ["u", "one"], ["v"], "n5"),
        node("Mul", ["c", "half"], ["h"], "n6"),
        node("Mul", ["h", "v"], ["y"], "n7"),
    ],
    {"three": 3, "k": 0.044715, "root": np.sqrt(2 / np.pi), "one": 1, "half": 0.5},
)
VALID["gelu-tanh-by-mul"] = gelu_by_erf(
    [
        node("Mul", ["c", "half"], ["h"], "n0"),
        node("Mul", ["c", "c"], ["square"], "n1"),
        node("Mul", ["square", "c"], ["cube"], "n2"),
        node("Mul", ["cube", "k"], ["q"], "n3"),
        node("Add", ["c", "q"], ["s"], "n4"),
        node("Mul", ["s", "root"], ["t"], "n5"),
        node("Tanh", ["t"], ["u"], "n6"),
        node("Add", ["u", "one"], ["v"], "n7"),
        node("Mul", ["h", "v"], ["y"], "n8"),
    ],
    {"k": 0.044715, "root": np.sqrt(2 / np.pi), "one": 1, "half": 0.5},
)

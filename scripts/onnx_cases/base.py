"""What all cases share: seeded weights, small models, the lists of valid and refused ones."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

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

"""Reshapes, constants, what vanishes, operator sets, external data."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .base import FLOAT, VALID, ints, invalid, model, node, valid, value


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

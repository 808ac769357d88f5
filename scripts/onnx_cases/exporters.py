"""One small network as torch's exporters write it: the old one by tracing, the new one (dynamo) by graph capture.

Written by hand after the node patterns, names and attributes that the two emit.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .arithmetic import norm
from .base import FLOAT, ints, model, node, valid, value


def parts(w, prefix=""):
    bn, statistics = norm(w, f"{prefix}conv", f"{prefix}bn", f"{prefix}BatchNormalization", 4, "bn1.", epsilon=1e-5)
    tensors = [w("conv1.weight", 4, 3, 3, 3), w("conv2.weight", 4, 1, 3, 3), w("conv2.bias", 4)]
    return bn, [*tensors, *statistics, w("fc.weight", 5, 4), w("fc.bias", 5)]


def batch_of(name, symbol):
    """A value with a named batch axis."""
    return value(name, [symbol, 3, 8, 8])


@valid
def exporter_old_view_by_size(w):
    """`x.view(x.size(0), -1)`: Shape, Gather, Unsqueeze, Concat, Reshape."""
    bn, tensors = parts(w, "/")
    zero = numpy_helper.from_array(np.array(0, np.int64), "")
    minus = numpy_helper.from_array(np.array([-1], np.int64), "")
    nodes = [
        node("Conv", ["x", "conv1.weight"], ["/conv"], "/conv1/Conv", dilations=[1, 1], group=1, kernel_shape=[3, 3],
             pads=[1, 1, 1, 1], strides=[2, 2]),
        bn,
        node("Constant", [], ["/act/lo"], "/act/Constant", value=numpy_helper.from_array(np.float32(0))),
        node("Constant", [], ["/act/hi"], "/act/Constant_1", value=numpy_helper.from_array(np.float32(6))),
        node("Clip", ["/bn", "/act/lo", "/act/hi"], ["/act"], "/act/Clip"),
        node("Conv", ["/act", "conv2.weight", "conv2.bias"], ["/conv2"], "/conv2/Conv", dilations=[1, 1], group=4,
             kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]),
        node("Add", ["/conv2", "/act"], ["/add"], "/Add"),
        node("GlobalAveragePool", ["/add"], ["/pool"], "/pool/GlobalAveragePool"),
        node("Shape", ["/pool"], ["/shape"], "/Shape"),
        node("Constant", [], ["/zero"], "/Constant", value=zero),
        node("Gather", ["/shape", "/zero"], ["/size"], "/Gather", axis=0),
        node("Constant", [], ["/axes"], "/Constant_1", value=numpy_helper.from_array(np.array([0], np.int64))),
        node("Unsqueeze", ["/size", "/axes"], ["/first"], "/Unsqueeze"),
        node("Constant", [], ["/minus"], "/Constant_2", value=minus),
        node("Concat", ["/first", "/minus"], ["/target"], "/Concat", axis=0),
        node("Reshape", ["/pool", "/target"], ["/flat"], "/Reshape", allowzero=0),
        node("Gemm", ["/flat", "fc.weight", "fc.bias"], ["y"], "/fc/Gemm", alpha=1.0, beta=1.0, transB=1),
    ]
    return model(nodes, tensors, (3, 8, 8), opset=14, inputs=[batch_of("x", "batch")])


@valid
def exporter_old_opset_9(w):
    """Constants for Clip as attributes, Unsqueeze and Squeeze with attributes, Pad with an attribute."""
    bn, tensors = parts(w)
    nodes = [
        node("Pad", ["x"], ["padded"], "Pad_0", mode="constant", pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.0),
        node("Conv", ["padded", "conv1.weight"], ["conv"], "Conv_1", dilations=[1, 1], group=1, kernel_shape=[3, 3],
             pads=[0, 0, 0, 0], strides=[2, 2]),
        bn,
        node("Clip", ["bn"], ["act"], "Clip_3", min=0.0, max=6.0),
        node("Conv", ["act", "conv2.weight", "conv2.bias"], ["conv2"], "Conv_4", dilations=[1, 1], group=4,
             kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]),
        node("Add", ["act", "conv2"], ["sum"], "Add_5"),
        node("GlobalAveragePool", ["sum"], ["pool"], "GlobalAveragePool_6"),
        node("Squeeze", ["pool"], ["flat"], "Squeeze_7", axes=[2, 3]),
        node("Gemm", ["flat", "fc.weight", "fc.bias"], ["y"], "Gemm_8", alpha=1.0, beta=1.0, transB=1),
    ]
    return model(nodes, tensors, (3, 8, 8), opset=9, inputs=[batch_of("x", "batch_size")], ir=6)


@valid
def exporter_new(w):
    """Opset 18: ReduceMean with axes as an input, Clip after CastLike, Constant with value_ints, names by the graph."""
    bn, tensors = parts(w)
    bn.name = "node__native_batch_norm_legit_no_training_1"
    nodes = [
        node("Conv", ["x", "conv1.weight"], ["conv"], "node_conv2d", auto_pad="NOTSET", dilations=[1, 1], group=1,
             pads=[1, 1, 1, 1], strides=[2, 2]),
        bn,
        node("Constant", [], ["lo0"], "node_lo", value_int=0),
        node("CastLike", ["lo0", "bn"], ["lo"], "node_lo_cast"),
        node("Constant", [], ["hi0"], "node_hi", value_float=6.0),
        node("CastLike", ["hi0", "bn"], ["hi"], "node_hi_cast"),
        node("Clip", ["bn", "lo", "hi"], ["hardtanh"], "node_hardtanh"),
        node("Conv", ["hardtanh", "conv2.weight", "conv2.bias"], ["conv2d_1"], "node_conv2d_1", auto_pad="NOTSET",
             dilations=[1, 1], group=4, pads=[1, 1, 1, 1], strides=[1, 1]),
        node("Add", ["conv2d_1", "hardtanh"], ["add"], "node_add"),
        node("ReduceMean", ["add", "axes"], ["mean"], "node_mean", keepdims=1, noop_with_empty_axes=0),
        node("Constant", [], ["size"], "node_size", value_ints=[-1, 4]),
        node("Reshape", ["mean", "size"], ["view"], "node_view", allowzero=1),
        node("Gemm", ["view", "fc.weight", "fc.bias"], ["y"], "node_linear", alpha=1.0, beta=1.0, transB=1),
    ]
    return model(nodes, [*tensors, ints("axes", [-1, -2])], (3, 8, 8), opset=18, inputs=[batch_of("x", "s77")], ir=10)


@valid
def exporter_new_flatten_by_shape(w):
    """A free batch axis: Shape with start and end, Concat, Reshape."""
    _, tensors = parts(w)
    nodes = [
        node("Conv", ["x", "conv1.weight"], ["conv"], "node_conv2d", auto_pad="VALID", strides=[5, 5]),
        node("Relu", ["conv"], ["relu"], "node_relu"),
        node("Shape", ["x"], ["size"], "node_Shape_0", start=0, end=1),
        node("Constant", [], ["rest"], "node_rest", value=helper.make_tensor("rest", TensorProto.INT64, [1], [16])),
        node("Cast", ["rest"], ["rest64"], "node_cast", to=TensorProto.INT64),
        node("Concat", ["size", "rest64"], ["target"], "node_Concat_1", axis=0),
        node("Reshape", ["relu", "target"], ["view"], "node_view", allowzero=1),
        node("Gemm", ["view", "fc", "fc.bias"], ["y"], "node_linear", transB=1),
    ]
    used = [tensor for tensor in tensors if tensor.name in ("conv1.weight", "fc.bias")]
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["s0", 3, 9, 9])]
    return model(nodes, [*used, w("fc", 5, 16)], (3, 9, 9), opset=18, inputs=inputs, ir=10)

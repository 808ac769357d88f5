"""Elements in other places: Concat, Slice, Split, Pad, Transpose, Gather."""

import numpy as np
from onnx import numpy_helper

from .base import VALID, ints, model, node, valid


@valid
def concat_of_relus(w):
    nodes = [
        node("Conv", ["x", "w1"], ["a"], "conv1"),
        node("Relu", ["a"], ["ra"], "relu1"),
        node("Conv", ["x", "w2"], ["b"], "conv2", pads=[1, 1, 1, 1]),
        node("Relu", ["b"], ["rb"], "relu2"),
        node("Concat", ["ra", "rb"], ["c"], "concat", axis=1),
        node("MaxPool", ["c"], ["y"], "pool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    ]
    return model(nodes, [w("w1", 2, 3, 1, 1), w("w2", 4, 3, 3, 3)], (3, 6, 6))


@valid
def concat_of_a_shared_relu(w):
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        node("Concat", ["r", "x", "r"], ["c"], "concat", axis=-3),
        node("Conv", ["c", "w"], ["y"], "conv"),
    ]
    return model(nodes, [w("w", 2, 6, 3, 3)], (2, 6, 6))


@valid
def concat_of_columns(w):
    nodes = [node("Relu", ["x"], ["r"], "relu"), node("Concat", ["x", "r"], ["y"], "concat", axis=3)]
    return model(nodes, [], (2, 3, 4))


@valid
def concat_of_weights(w):
    nodes = [node("Concat", ["w1", "w2"], ["w"], "weights", axis=0), node("Gemm", ["x", "w"], ["y"], "fc", transB=1)]
    return model(nodes, [w("w1", 2, 6), w("w2", 3, 6)], (6,))


def slice_case(name, item, starts, ends, axes=None, steps=None, relu=False):
    def make(w):
        tensors = [ints("starts", starts), ints("ends", ends)]
        if axes is not None:
            tensors.append(ints("axes", axes))
        if steps is not None:
            tensors.append(ints("steps", steps))
        first = [node("Relu", ["x"], ["r"], "relu")] if relu else []
        inputs = ["r" if relu else "x", *(tensor.name for tensor in tensors)]
        return model([*first, node("Slice", inputs, ["y"], "slice")], tensors, item)

    VALID[name] = make


slice_case("slice", (3, 6, 5), [1, 0], [3, 4], [1, 2])
slice_case("slice-after-relu", (3, 6, 6), [0, 0], [9, 9], [2, 3], [2, 2], relu=True)
slice_case("slice-backwards", (2, 5, 4), [-1, 4], [-9, 0], [3, 2], [-1, -2])
slice_case("slice-from-the-end", (2, 5, 4), [-3], [2**63 - 1], [-2])
slice_case("slice-of-all-axes", (2, 5, 4), [0, 0, 1, 0], [2**31, 1, 5, 3])


@valid
def slice_opset_9(w):
    return model([node("Slice", ["x"], ["y"], "slice", starts=[1, -3], ends=[2, -1], axes=[1, 3])], [], (2, 5, 4), 9)


def split_model(w, item, opset, weight, **attributes):
    parts = attributes.pop("parts", None)
    inputs = ["x", "parts"] if parts else ["x"]
    nodes = [
        node("Split", inputs, ["a", "b"], "split", **attributes),
        node("Relu", ["a"], ["r"], "relu"),
        node("Concat", ["r", "b"], ["y"], "concat", axis=1),
    ]
    return model(nodes, [ints("parts", parts)] if parts else [], item, opset)


VALID["split"] = lambda w: split_model(w, (4, 3, 3), 13, None, axis=1)
VALID["split-in-parts"] = lambda w: split_model(w, (5, 3, 3), 13, None, axis=-3, parts=[2, 3])
VALID["split-opset-11"] = lambda w: split_model(w, (5, 3, 3), 11, None, axis=1, split=[4, 1])
VALID["split-opset-18"] = lambda w: split_model(w, (5, 3, 3), 18, None, axis=1, num_outputs=2)


def pad_case(name, item, pads, opset=13, filler=None, axes=None, **attributes):
    def make(w):
        if opset < 11:
            return model([node("Pad", ["x"], ["y"], "pad", pads=pads, **attributes)], [], item, opset)
        tensors = [ints("pads", pads)]
        inputs = ["x", "pads"]
        if filler is not None or axes is not None:
            inputs.append("filler" if filler is not None else "")
        if filler is not None:
            tensors.append(numpy_helper.from_array(np.array(filler, np.float32), "filler"))
        if axes is not None:
            tensors.append(ints("axes", axes))
            inputs.append("axes")
        return model([node("Pad", inputs, ["y"], "pad", **attributes)], tensors, item, opset)

    VALID[name] = make


pad_case("pad-channels", (2, 3, 4), [0, 1, 0, 0, 0, 2, 0, 0], filler=0.0)
pad_case("pad-image", (2, 3, 4), [0, 0, 1, 2, 0, 0, 0, 1], mode="constant")
pad_case("pad-with-a-number", (2, 3, 4), [0, 0, 1, 2, 0, 1, 0, 1], filler=1.5)
pad_case("pad-crops", (2, 5, 6), [0, 0, -1, 2, 0, 0, -2, -1])
pad_case("pad-reflect", (2, 4, 5), [0, 0, 2, 1, 0, 0, 1, 3], mode="reflect")
pad_case("pad-edge", (2, 4, 5), [0, 0, 2, 1, 0, 0, 1, 3], mode="edge")
pad_case("pad-opset-7", (2, 3, 4), [0, 0, 1, 0, 0, 0, 0, 1], opset=7, mode="constant", value=0.5)
pad_case("pad-opset-18-axes", (2, 3, 4), [1, 2, 0, 1], opset=18, axes=[2, -1])


@valid
def pad_before_conv(w):
    nodes = [
        node("Pad", ["x", "pads"], ["p"], "pad"),
        node("Conv", ["p", "w"], ["y"], "conv", strides=[2, 2], pads=[0, 1, 0, 0]),
    ]
    return model(nodes, [ints("pads", [0, 0, 0, 1, 0, 0, 1, 2]), w("w", 3, 2, 3, 3)], (2, 6, 6))


@valid
def pad_before_conv_and_others(w):
    nodes = [
        node("Pad", ["x", "pads"], ["p"], "pad"),
        node("Conv", ["p", "w"], ["c"], "conv", auto_pad="SAME_UPPER"),
        node("Add", ["c", "p"], ["y"], "sum"),
    ]
    return model(nodes, [ints("pads", [0, 0, 1, 1, 0, 0, 1, 1]), w("w", 2, 2, 3, 3)], (2, 5, 5))


@valid
def shortcut_by_slice_and_pad(w):
    """The parameter-free shortcut of residual networks for CIFAR."""
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        node("Conv", ["r", "w"], ["c"], "conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Slice", ["r", "starts", "ends", "axes", "steps"], ["s"], "slice"),
        node("Pad", ["s", "pads"], ["p"], "pad"),
        node("Add", ["c", "p"], ["y"], "sum"),
    ]
    tensors = [ints("starts", [0, 0]), ints("ends", [2**63 - 1] * 2), ints("axes", [2, 3]), ints("steps", [2, 2])]
    return model(nodes, [*tensors, ints("pads", [0, 1, 0, 0, 0, 1, 0, 0]), w("w", 4, 2, 3, 3)], (2, 6, 6))


def layout_case(name, operator, item, *tensors, opset=13, **attributes):
    def make(w):
        named = [ints(f"i{index}", values) for index, values in enumerate(tensors)]
        return model([node(operator, ["x", *(t.name for t in named)], ["y"], "op", **attributes)], named, item, opset)

    VALID[name] = make


layout_case("transpose", "Transpose", (2, 3, 4), perm=[0, 3, 1, 2])
layout_case("transpose-to-channels-last", "Transpose", (2, 3, 4), perm=[0, 2, 3, 1])
layout_case("transpose-of-nothing", "Transpose", (1, 3, 4), perm=[0, 2, 1, 3])
layout_case("squeeze", "Squeeze", (3, 1, 1), [2, -1])
layout_case("squeeze-opset-11", "Squeeze", (3, 1, 1), opset=11, axes=[2, 3])
layout_case("unsqueeze", "Unsqueeze", (6,), [-1, 2])
layout_case("unsqueeze-opset-11", "Unsqueeze", (6,), opset=11, axes=[1])
layout_case("gather-places", "Gather", (5, 3, 3), [4, 0, -4, 2, 3], axis=1)
layout_case("gather-one", "Gather", (5, 3, 3), 1, axis=2)
layout_case("gather-table", "Gather", (5, 3), [[0, 2], [1, -1]], axis=2)
layout_case("reduce-mean-image", "ReduceMean", (3, 4, 5), axes=[2, 3])
layout_case("reduce-mean-drops-axes", "ReduceMean", (3, 4, 5), axes=[-1, -2], keepdims=0)
layout_case("reduce-mean-opset-18", "ReduceMean", (3, 4, 5), [2, 3], opset=18, keepdims=0)
layout_case("reduce-mean-last-axis", "ReduceMean", (3, 4, 5), axes=[3])
layout_case("reduce-max-image", "ReduceMax", (3, 4, 5), axes=[2, 3], keepdims=0)
layout_case("reduce-mean-of-channels", "ReduceMean", (3, 4, 5), axes=[1])
layout_case("reduce-mean-of-outer-axes", "ReduceMean", (3, 4, 5), axes=[1, -1], keepdims=0)
layout_case("reduce-mean-of-all", "ReduceMean", (3, 4, 5), axes=[1, 2, 3])

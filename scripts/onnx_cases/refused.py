"""Models to be refused, each named by its reason."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .base import INVALID, ints, invalid, model, node, value


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


@invalid
def unsupported_operators(w):
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv1"),
        node("InstanceNormalization", ["c", "s", "s"], ["n"], "in1"),
        node("Relu", ["n"], ["r"], "relu1"),
        node("Elu", ["r"], ["g"], "gate"),
        node("LpPool", ["g"], ["p"], kernel_shape=[6, 6]),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("FusedMatMul", ["f", "v"], ["y"], "fused", domain="com.microsoft"),
    ]
    m = model(nodes, [w("w", 2, 1, 3, 3), w("s", 2), w("v", 2, 3)], (1, 8, 8))
    m.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return m


# --- operators of pretrained networks -----------------------------------------------------------------------------


def single(name, operator, item, tensors=(), opset=13, inputs=None, **attributes):
    def make(w):
        nodes = [node(operator, inputs or ["x", *(t.name for t in tensors)], ["y"], "op", **attributes)]
        return model(nodes, list(tensors), item, opset)

    INVALID[name] = make


def floats(name, values):
    return numpy_helper.from_array(np.array(values, np.float32), name)


STATISTICS = [floats(name, [1.0, 2.0]) for name in ("gamma", "beta", "mean", "var")]
single("batchnorm-in-training", "BatchNormalization", (2, 3, 3), STATISTICS, training_mode=1)
single("batchnorm-of-other-channels", "BatchNormalization", (3, 3, 3), STATISTICS)
single(
    "batchnorm-negative-variance", "BatchNormalization", (2, 3, 3), [*STATISTICS[:3], floats("var", [1.0, -1.0])]
)
single("mul-of-two-values", "Mul", (2, 3), inputs=["x", "x"])
single("div-by-zero", "Div", (2,), [floats("c", [1.0, 0.0])])
single("mul-by-a-batch", "Mul", (2,), [floats("c", [[1.0, 2.0], [3.0, 4.0]])])
single("mul-enlarges", "Mul", (1, 3), [floats("c", [[1.0], [2.0]])])
single("erf-alone", "Erf", (2, 3))
single("clip-limits-cross", "Clip", (3,), [floats("lo", 1.0), floats("hi", 1.0)])
single("concat-along-the-batch", "Concat", (2, 3), inputs=["x", "x"], axis=0)
single("concat-axis-does-not-exist", "Concat", (2, 3), inputs=["x", "x"], axis=3)
single("slice-of-the-batch", "Slice", (2, 3), [ints("s", [1]), ints("e", [2]), ints("a", [0])])
single("slice-to-nothing", "Slice", (2, 3), [ints("s", [2]), ints("e", [2]), ints("a", [1])])
single("slice-step-zero", "Slice", (2, 3), [ints("s", [0]), ints("e", [2]), ints("a", [1]), ints("t", [0])])
single("pad-overflows", "Pad", (2, 3), [ints("p", [0, 0, 0, 0, 2**62, 2**62])])
single("pad-crops-all", "Pad", (2, 3), [ints("p", [0, 0, -2, 0, 0, -1])])
single("pad-of-the-batch", "Pad", (2, 3), [ints("p", [1, 0, 0, 0, 0, 0])])
single("pad-reflects-too-far", "Pad", (2, 3), [ints("p", [0, 0, 3, 0, 0, 0])], mode="reflect")
single("transpose-of-the-batch", "Transpose", (2, 3), perm=[1, 0, 2])
single("squeeze-of-a-long-axis", "Squeeze", (2, 3), [ints("a", [1])])
single("gather-outside", "Gather", (2, 3), [ints("i", [2])], axis=1)
single("split-of-other-size", "Split", (4, 3), [ints("p", [3])], axis=1)
single("reduce-mean-of-the-batch", "ReduceMean", (2, 3), axes=[0, 1])
single("averagepool-window-in-padding", "AveragePool", (1, 6, 6), kernel_shape=[2, 2], pads=[2, 0, 0, 0])
single("averagepool-huge-window", "AveragePool", (1, 6, 6), kernel_shape=[2**27, 2**27], pads=[2**27] * 4)
single("log-softmax-over-rows", "LogSoftmax", (2, 3))


@invalid
def constants_spread_too_far(w):
    """16 kB of constants that would make 70 MB."""
    nodes = [node("Add", ["a", "b"], ["w"], "outer"), node("MatMul", ["x", "w"], ["y"], "fc")]
    return model(nodes, [ints("a", [[0]] * 2100), ints("b", [[0] * 8200])], (2100,))

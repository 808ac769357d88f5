"""Convolutions, dense layers and their biases."""

from .base import VALID, model, node, valid


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

"""Poolings."""

from .base import VALID, model, node, valid


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


# --- averages -----------------------------------------------------------------------------------------------------


def average_case(name, item, operator="AveragePool", opset=13, **attributes):
    VALID[name] = lambda w: model([node(operator, ["x"], ["y"], "pool", **attributes)], [], item, opset)


average_case("averagepool-2x2", (2, 6, 6), kernel_shape=[2, 2], strides=[2, 2])
average_case("averagepool-pads", (2, 6, 5), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 2])
average_case(
    "averagepool-pads-counted", (2, 6, 5), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 2], count_include_pad=1
)
average_case("averagepool-ceil", (2, 7, 8), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
average_case(
    "averagepool-ceil-counted",
    (1, 6, 6),
    opset=19,
    kernel_shape=[3, 3],
    strides=[2, 2],
    pads=[1, 1, 1, 1],
    ceil_mode=1,
    count_include_pad=1,
)
average_case("averagepool-same-lower", (2, 7, 6), kernel_shape=[4, 2], strides=[2, 1], auto_pad="SAME_LOWER")
average_case("averagepool-dilations", (1, 8, 8), opset=19, kernel_shape=[2, 3], dilations=[3, 2], strides=[2, 1])
average_case("averagepool-opset-7", (1, 6, 6), opset=7, kernel_shape=[3, 2], strides=[3, 2])
average_case("averagepool-of-single-places", (2, 4, 4), kernel_shape=[1, 1])
average_case("global-averagepool", (3, 4, 5), operator="GlobalAveragePool")
average_case("global-maxpool", (3, 4, 5), operator="GlobalMaxPool")

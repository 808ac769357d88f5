#!/usr/bin/env python3
"""Chooses the bundled Fashion-MNIST images and trains the bundled network on them.

    python3 scripts/train_fashion_cnn.py --source /usr/share/datasets/fashion-mnist

takes the complete data set (Debian package dataset-fashion-mnist), writes 2,000 training and 500 test images as
gzip'd IDX files and trains; without --source it trains on the files that are there. --check only measures the network
that is there. Needs numpy and onnx. The same seed gives the same network on the same machine and version of numpy.

The network: conv 5x5x8, max pool 2, ReLU, conv 5x5x16, max pool 2, ReLU, dense 64, ReLU, dense 10. Adam on the cross
entropy, images shifted and mirrored at random, the weights averaged over the last steps.
"""

import argparse
import gzip
import os
import struct
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one order of sums
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ASSETS = Path(__file__).resolve().parent.parent / "crates" / "data" / "assets"
SPLITS = {"train": ("train", 200), "test": ("t10k", 50)}
CLASSES = 10


# --- data ---------------------------------------------------------------------------------------------------------


def read_idx(path):
    with gzip.open(path) as file:
        raw = file.read()
    rank = raw[3]
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def write_idx(path, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(header + array.tobytes())


def bundle(source):
    """The first images of every class, in the order of the data set: no choice is made by looking."""
    for ours, (theirs, each) in SPLITS.items():
        images = read_idx(source / f"{theirs}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{theirs}-labels-idx1-ubyte.gz")
        chosen = np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in range(CLASSES)]))
        write_idx(ASSETS / f"fashion-{ours}-images-idx3-ubyte.gz", images[chosen])
        write_idx(ASSETS / f"fashion-{ours}-labels-idx1-ubyte.gz", labels[chosen])


def load(split):
    images = read_idx(ASSETS / f"fashion-{split}-images-idx3-ubyte.gz")
    labels = read_idx(ASSETS / f"fashion-{split}-labels-idx1-ubyte.gz")
    return (images[:, None] / 255.0).astype(np.float32), labels.astype(np.int64)


def augment(rng, images):
    """Mirrors half of the images and shifts each by up to two pixels."""
    images = np.where(rng.random((len(images), 1, 1, 1)) < 0.5, images[..., ::-1], images)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    shifts = rng.integers(0, 5, (len(images), 2))
    return np.stack([p[:, y : y + 28, x : x + 28] for p, (y, x) in zip(padded, shifts)])


# --- the network --------------------------------------------------------------------------------------------------


def initial(rng):
    shapes = {"conv1": (8, 1, 5, 5), "conv2": (16, 8, 5, 5), "fc1": (64, 256), "fc2": (CLASSES, 64)}
    weights = {}
    for name, shape in shapes.items():
        spread = np.sqrt(2.0 / np.prod(shape[1:]))
        weights[f"{name}.weight"] = (rng.standard_normal(shape) * spread).astype(np.float32)
        weights[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    return weights


def columns(x, k):
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))
    n, c, h, w = windows.shape[:4]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, c * k * k), (n, h, w)


def conv(x, weight, bias):
    cols, (n, h, w) = columns(x, weight.shape[2])
    z = cols @ weight.reshape(len(weight), -1).T + bias
    return z.reshape(n, h, w, -1).transpose(0, 3, 1, 2), cols


def conv_backward(grad, x_shape, weight, cols, need_x):
    o, c, k, _ = weight.shape
    flat = grad.transpose(0, 2, 3, 1).reshape(-1, o)
    gw, gb = (flat.T @ cols).reshape(weight.shape), flat.sum(0)
    if not need_x:
        return None, gw, gb
    gcols = (flat @ weight.reshape(o, -1)).reshape(len(grad), *grad.shape[2:], c, k, k)
    gx = np.zeros(x_shape, np.float32)
    h, w = grad.shape[2:]
    for dy in range(k):
        for dx in range(k):
            gx[:, :, dy : dy + h, dx : dx + w] += gcols[..., dy, dx].transpose(0, 3, 1, 2)
    return gx, gw, gb


def pool_relu(x):
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    place = blocks.argmax(-1)
    best = np.take_along_axis(blocks, place[..., None], -1)[..., 0]
    return np.maximum(best, 0), (place, best > 0)


def pool_relu_backward(grad, kept):
    place, positive = kept
    n, c, h, w = grad.shape
    blocks = np.zeros((n, c, h, w, 4), np.float32)
    np.put_along_axis(blocks, place[..., None], (grad * positive)[..., None], -1)
    return blocks.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)


def forward(p, x, drop=None):
    z1, cols1 = conv(x, p["conv1.weight"], p["conv1.bias"])
    a1, kept1 = pool_relu(z1)
    z2, cols2 = conv(a1, p["conv2.weight"], p["conv2.bias"])
    a2, kept2 = pool_relu(z2)
    flat = a2.reshape(len(x), -1)
    if drop is not None:
        flat = flat * drop
    z3 = flat @ p["fc1.weight"].T + p["fc1.bias"]
    a3 = np.maximum(z3, 0)
    logits = a3 @ p["fc2.weight"].T + p["fc2.bias"]
    return logits, (x, cols1, a1, kept1, cols2, a2, kept2, flat, z3, a3, drop)


def backward(p, grad, saved):
    x, cols1, a1, kept1, cols2, a2, kept2, flat, z3, a3, drop = saved
    g = {"fc2.weight": grad.T @ a3, "fc2.bias": grad.sum(0)}
    grad = (grad @ p["fc2.weight"]) * (z3 > 0)
    g["fc1.weight"], g["fc1.bias"] = grad.T @ flat, grad.sum(0)
    grad = grad @ p["fc1.weight"]
    if drop is not None:
        grad = grad * drop
    grad = pool_relu_backward(grad.reshape(a2.shape), kept2)
    grad, g["conv2.weight"], g["conv2.bias"] = conv_backward(grad, a1.shape, p["conv2.weight"], cols2, True)
    grad = pool_relu_backward(grad, kept1)
    _, g["conv1.weight"], g["conv1.bias"] = conv_backward(grad, x.shape, p["conv1.weight"], cols1, False)
    return g


def accuracy(p, images, labels):
    return float((forward(p, images)[0].argmax(1) == labels).mean())


def train(seed, epochs, batch=50, rate=2e-3, decay=2e-3, smooth=0.05):
    rng = np.random.default_rng(seed)
    images, labels = load("train")
    p = initial(rng)
    mean = {k: np.zeros_like(v) for k, v in p.items()}
    square = {k: np.zeros_like(v) for k, v in p.items()}
    average = {k: v.copy() for k, v in p.items()}
    steps, step = epochs * (len(images) // batch), 0
    for epoch in range(epochs):
        order = rng.permutation(len(images))
        loss = 0.0
        for start in range(0, len(images), batch):
            chosen = order[start : start + batch]
            x = augment(rng, images[chosen])
            drop = ((rng.random((len(x), 256)) < 0.75) / 0.75).astype(np.float32)
            logits, saved = forward(p, x, drop)
            logits = logits - logits.max(1, keepdims=True)
            probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            target = np.eye(CLASSES, dtype=np.float32)[labels[chosen]] * (1 - smooth) + smooth / CLASSES
            loss -= float((target * np.log(probability + 1e-12)).sum() / len(images))
            gradients = backward(p, ((probability - target) / len(x)).astype(np.float32), saved)
            step += 1
            now = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            for k, g in gradients.items():
                mean[k] = 0.9 * mean[k] + 0.1 * g
                square[k] = 0.999 * square[k] + 0.001 * g * g
                update = mean[k] / (1 - 0.9**step) / (np.sqrt(square[k] / (1 - 0.999**step)) + 1e-8)
                p[k] -= (now * (update + (decay * p[k] if k.endswith("weight") else 0))).astype(np.float32)
                average[k] += 0.01 * (p[k] - average[k])
        print(f"epoch {epoch + 1}: loss {loss:.4f}, training accuracy {accuracy(average, images, labels):.4f}", flush=True)
    return average


# --- the file -----------------------------------------------------------------------------------------------------


def save(p, path):
    node = helper.make_node
    nodes = [
        node("Conv", ["input", "conv1.weight", "conv1.bias"], ["conv1_out"], "conv1", kernel_shape=[5, 5]),
        node("MaxPool", ["conv1_out"], ["pool1_out"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Relu", ["pool1_out"], ["relu1_out"], "relu1"),
        node("Conv", ["relu1_out", "conv2.weight", "conv2.bias"], ["conv2_out"], "conv2", kernel_shape=[5, 5]),
        node("MaxPool", ["conv2_out"], ["pool2_out"], "pool2", kernel_shape=[2, 2], strides=[2, 2]),
        node("Relu", ["pool2_out"], ["relu2_out"], "relu2"),
        node("Flatten", ["relu2_out"], ["flat_out"], "flatten", axis=1),
        node("Gemm", ["flat_out", "fc1.weight", "fc1.bias"], ["fc1_out"], "fc1", transB=1),
        node("Relu", ["fc1_out"], ["relu3_out"], "relu3"),
        node("Gemm", ["relu3_out", "fc2.weight", "fc2.bias"], ["logits"], "fc2", transB=1),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("input", TensorProto.FLOAT, ["N", 1, 28, 28])]
    outputs = [value("logits", TensorProto.FLOAT, ["N", CLASSES])]
    weights = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in p.items()]
    graph = helper.make_graph(nodes, "fashion-cnn", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name="ariann", ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--source", type=Path, help="folder of the complete data set")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--check", action="store_true", help="only measure the network that is there")
    arguments = parser.parse_args()
    path = ASSETS / "fashion-cnn.onnx"
    if arguments.source:
        bundle(arguments.source)
    if not arguments.check:
        save(train(arguments.seed, arguments.epochs), path)
    p = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    for split in SPLITS:
        images, labels = load(split)
        print(f"{split}: {len(images)} images, accuracy {100 * accuracy(p, images, labels):.1f} %")


if __name__ == "__main__":
    main()

"""Private predictions of PyTorch modules: an MLP, LeNet and ResNet18, defined here.

python examples/torch_models.py [mlp] [lenet] [resnet18] [--items N]

Prints agreement with the module in float, and what Python adds to a run.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import ariann
import numpy as np
import torch
from torch import nn


def mlp() -> nn.Module:
    """Return a perceptron of three layers on 28×28 images."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def lenet() -> nn.Module:
    """Return LeNet on 28×28 images."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the block."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: torch.Tensor = self.relu(y + self.downsample(x))
        return out


class ResNet18(nn.Module):
    """ResNet18 with the names of torchvision's, so that its weights can be loaded."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [64, 64, 128, 256, 512]
        for number in range(1, 5):
            first = Block(widths[number - 1], widths[number], 1 if number == 1 else 2)
            setattr(self, f"layer{number}", nn.Sequential(first, Block(widths[number], widths[number], 1)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        out: torch.Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return out


def warmed(module: nn.Module, items: torch.Tensor) -> nn.Module:
    """Return the module with the statistics of some items, as after training; random weights otherwise."""
    module.train()
    with torch.no_grad():
        for _ in range(20):
            module(items)
    return module.eval()


def run(name: str, make: Callable[[], nn.Module], shape: tuple[int, ...], items: int) -> None:
    """Compile, predict twice, and compare."""
    torch.manual_seed(1)
    public, private = torch.rand(32, *shape), torch.rand(items, *shape)
    module = warmed(make(), public)
    began = time.perf_counter()
    model = ariann.compile(module, public)
    compiled = time.perf_counter() - began
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        logits = model.predict(private, progress=False)
        seconds.append(time.perf_counter() - began)
    with torch.no_grad():
        expected = module(private)
    same = int((logits.argmax(1) == expected.argmax(1)).sum())
    error = float((logits - expected).abs().max()) / float(expected.abs().max())
    cost = model.cost(items)
    print(
        f"{name}: compiled in {compiled:.1f} s, {items} items in {seconds[0]:.2f} s and again in {seconds[1]:.2f} s; "
        f"same prediction {same}/{items}, greatest error {100 * error:.3f} % of the greatest logit; "
        f"{cost.comparisons:,} comparisons an item, {cost.exchanges} exchanges"
    )


def main() -> None:
    """Run what was asked for."""
    networks: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
        "mlp": (mlp, (1, 28, 28), 128),
        "lenet": (lenet, (1, 28, 28), 32),
        "resnet18": (ResNet18, (3, 224, 224), 2),
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(networks))
    parser.add_argument("--items", type=int)
    args = parser.parse_args()
    np.set_printoptions(precision=3)
    warnings.simplefilter("ignore")
    for name in args.names:
        make, shape, items = networks[name]
        run(name, make, shape, args.items or items)


if __name__ == "__main__":
    main()

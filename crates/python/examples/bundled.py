"""The images and the network that the repository brings, for the other examples."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

ASSETS = Path(__file__).parents[2] / "data" / "assets"
MODEL = ASSETS / "fashion-cnn.onnx"

Set = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def _idx(name: str) -> npt.NDArray[np.uint8]:
    data = gzip.decompress((ASSETS / name).read_bytes())
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def images(part: str) -> Set:
    """Return images, shape `(n, 1, 28, 28)`, values 0 to 1, and labels of 'train' (2,000) or 'test' (500)."""
    pixels = _idx(f"fashion-{part}-images-idx3-ubyte.gz")[:, None]
    return (pixels / 255).astype(np.float32), _idx(f"fashion-{part}-labels-idx1-ubyte.gz").astype(np.int64)

"""Models and data for the tests: small ones, made here, and the bundled ones of a clone."""

from pathlib import Path

import numpy as np
import pytest

ASSETS = Path(__file__).parents[2] / "data" / "assets"


def idx(path):
    import gzip

    data = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


@pytest.fixture(scope="session")
def images():
    """Bundled public images, and test images, as the bundled network takes them."""
    public = idx(ASSETS / "fashion-train-images-idx3-ubyte.gz")[:200]
    private = idx(ASSETS / "fashion-test-images-idx3-ubyte.gz")[:20]
    return tuple((part[:, None] / 255).astype(np.float32) for part in (public, private))


@pytest.fixture(scope="session")
def labels():
    """The labels of both."""
    return (
        idx(ASSETS / "fashion-train-labels-idx1-ubyte.gz")[:200].astype(np.int64),
        idx(ASSETS / "fashion-test-labels-idx1-ubyte.gz")[:20].astype(np.int64),
    )


@pytest.fixture(scope="session")
def model(images):
    """The bundled network, compiled."""
    import ariann

    return ariann.compile(ASSETS / "fashion-cnn.onnx", images[0])

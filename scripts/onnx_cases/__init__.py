"""Small ONNX models, valid ones and such that must be refused."""

from . import activations, arithmetic, exporters, layout, linear, pooling, refused, shapes
from .base import INVALID, VALID, Weights

__all__ = ["INVALID", "VALID", "Weights"]

for _module in (activations, arithmetic, exporters, layout, linear, pooling, refused, shapes):
    assert _module is not None

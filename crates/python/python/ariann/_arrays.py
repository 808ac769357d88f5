"""Arrays in and out: NumPy and PyTorch, the same kind back."""

from __future__ import annotations

import operator
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ariann.errors import DtypeError, InputError, OperatorError


def is_tensor(value: object) -> bool:
    """Whether this is a PyTorch tensor; PyTorch is not imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_module(value: object) -> bool:
    """Whether this is a PyTorch module."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def floats(values: Any, what: str, item: tuple[int, ...] | None = None) -> npt.NDArray[np.float32]:
    """Return items as contiguous float32, refused by name where they are something else.

    Args:
        values: array or tensor, shape `(n, *item)`; one single item is taken as `n = 1`.
        what: the argument's name.
        item: shape of an item, where it is known.
    """
    array = _array(values, what)
    if array.dtype.kind not in "fiub":
        kind = f"dtype {array.dtype}" if isinstance(values, np.ndarray) else f"type {type(values).__name__}"
        raise DtypeError(f"{what} has {kind}; give an array or tensor of floating-point numbers or integers")
    if item is not None and array.shape == item:
        array = array[np.newaxis]
    if array.ndim < 2 or (item is not None and array.shape[1:] != item):
        wanted = "(n, ...)" if item is None else str(("n", *item)).replace("'", "")
        raise InputError(
            f"{what} has shape {array.shape} where {wanted} was expected; give whole items of the model's shape"
        )
    if len(array) == 0:
        raise InputError(f"{what} has no items; give at least one")
    array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        first = int(np.argwhere(~np.isfinite(array))[0][0])
        raise InputError(f"{what}: item {first} has a value that is no finite number; clean the data first")
    return array


def _array(values: Any, what: str) -> npt.NDArray[Any]:
    if is_tensor(values):
        values = values.detach().cpu()
        try:
            # NumPy lacks bfloat16.
            return np.asarray((values.float() if values.is_floating_point() else values).numpy())
        except (TypeError, RuntimeError) as error:
            raise DtypeError(f"{what} is a tensor of another layout or type: {error}; give a dense one") from error
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is no array: {error}; give items of one shape") from error


def integers(values: Any, what: str, count: int) -> npt.NDArray[np.int64]:
    """Return labels as contiguous int64, one an item."""
    array = _array(values, what)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"{what} has dtype {array.dtype}; give integers, the number of each item's class")
    if array.shape != (count,):
        raise InputError(f"{what} has shape {array.shape} where ({count},) was expected; give one label an item")
    if count and int(array.min()) < 0:
        raise InputError(f"{what} has a negative label; classes are numbered from 0")
    return np.ascontiguousarray(array, np.int64)


def whole(number: Any, what: str, most: int | None = None) -> int:
    """Return a number that must be whole, and at least 1."""
    try:
        number = operator.index(number)
    except TypeError as error:
        raise OperatorError(f"{what} {number!r}: give a whole number") from error
    if number < 1:
        raise OperatorError(f"{what} {number}: give at least 1")
    if most is not None and number > most:
        raise OperatorError(f"{what} {number}: give at most {most}")
    return int(number)


def threads_of(threads: Any) -> int | None:
    """Return a number of threads that a machine may have, or None."""
    return None if threads is None else whole(threads, "threads", 1024)


def interval(given: Any) -> tuple[float, float]:
    """Return least and greatest value of an `input_range`."""
    try:
        low, high = (float(of) for of in given)
    except (TypeError, ValueError) as error:
        raise OperatorError(f"input_range {given!r}: give two numbers, the least first") from error
    if not low < high:
        raise OperatorError(f"input_range {given!r}: give two numbers, the least first")
    return low, high


def reach(public: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return least and greatest value of inputs like these public ones: half as much room beyond both ends."""
    low, high = float(public.min()), float(public.max())
    beyond = (high - low) / 2 or 1.0
    return low - beyond, high + beyond


def like(values: npt.NDArray[Any], given: Any) -> Any:
    """Return `values` as a tensor where `given` is one, on its device."""
    if not is_tensor(given):
        return values
    import torch

    if values.dtype == np.uint32:
        values = values.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(values)).to(given.device)


def save(array: npt.NDArray[Any], path: Path) -> Path:
    """Write an array where only this user reads it."""
    with path.open("xb") as file:
        path.chmod(0o600)
        np.save(file, array, allow_pickle=False)
    return path

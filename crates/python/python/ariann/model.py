"""Models compiled for private prediction."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ariann import _ariann, _arrays, _export, _program, _progress
from ariann.cost import Cost
from ariann.errors import InputError

__all__ = ["Model", "compile"]

_FEW = 16


class Model:
    """A model with its public plan. Made by `compile`; predicts as often as you like without planning again.

    Attributes:
        plan: the plan as a dictionary: what both parties and the dealer agree on.
        input_shape: shape of one item.
        report: what the last prediction took (seconds, bytes, memory of each role); None before the first.
    """

    def __init__(self, compiled: _ariann.Model, path: Path, folder: tempfile.TemporaryDirectory[str]) -> None:
        self._compiled = compiled
        self._folder = folder
        self._path = path
        self.plan: dict[str, Any] = json.loads(compiled.plan())["plan"]
        self.input_shape: tuple[int, ...] = tuple(self.plan["input"]["shape"])
        self.report: dict[str, Any] | None = None

    @property
    def path(self) -> Path:
        """The model as an ONNX file, for P0 and for nobody else."""
        return self._path

    def save_plan(self, path: str | Path) -> None:
        """Write the public plan, which all roles need."""
        Path(path).write_text(self._compiled.plan())

    def cost(self, batch: int = 1) -> Cost:
        """Return what a run of `batch` items costs, layer by layer; nothing is made for it."""
        return Cost(json.loads(self._compiled.cost(_arrays.whole(batch, "batch"))))

    def simulate(self, x: Any) -> Any:
        """Compute in clear what the parties would compute: the same fixed point, rounded to nearest.

        Args:
            x: items, shape `(n, *input_shape)` or one item; array or tensor.

        Returns:
            Logits, shape `(n, classes)`, or labels, shape `(n,)`; an array or tensor as `x` is. A Softmax at the end of
            the model is left to you.

        Raises:
            InputError: shape, range or a value that is no number; or a value inside the network that leaves its bound.
        """
        items = self._items(x)
        with tempfile.TemporaryDirectory(prefix="ariann-") as folder:
            values = self._compiled.simulate(str(_arrays.save(items, Path(folder) / "x.npy")))
        if self._reveals_labels():
            return _arrays.like(values.astype(np.int64), x)
        return _arrays.like(values.reshape(len(items), -1), x)

    def predict(
        self,
        x: Any,
        *,
        batch: int | None = None,
        threads: int | None = None,
        progress: bool | _progress.Progress | None = None,
    ) -> Any:
        """Predict privately: dealer, P0 with the model and P1 with `x`, three processes on this machine over TLS.

        For two organisations on two machines, see `ariann.Dealer`, `ariann.Server` and `ariann.Client`.

        Args:
            x: items, shape `(n, *input_shape)` or one item; array or tensor.
            batch: items computed together; all, up to 100, by default.
            threads: threads of each party; half of the cores by default.
            progress: True, False, or a function of stage, done and total; a line on a terminal or notebook by default.

        Returns:
            Logits, shape `(n, classes)`, or labels, shape `(n,)`; an array or tensor as `x` is. A Softmax at the end of
            the model is left to you.

        Raises:
            InputError: shape, range, or a value that is no number.
            AriannError: a role that failed, with whose fault it is and what to do.
            KeyboardInterrupt: Ctrl-C; the roles have ended.
        """
        items = self._items(x)
        count = len(items)
        # More than there are would be filled up for nothing.
        batch = min(count, 100 if batch is None else _arrays.whole(batch, "batch"))
        threads = _arrays.threads_of(threads)
        with tempfile.TemporaryDirectory(prefix="ariann-") as folder:
            base = Path(folder)
            given = _arrays.save(items, base / "x.npy")
            roles = base / "roles"
            roles.mkdir()
            logits, labels, report = self._compiled.predict(
                str(roles), str(given), batch, threads, _progress.chosen(progress)
            )
        self.report = json.loads(report)
        if logits is None:
            return _arrays.like(labels[:count], x)
        classes = self.plan["output"]["classes"]
        return _arrays.like(logits.reshape(-1, classes)[:count], x)

    def _items(self, x: Any) -> npt.NDArray[np.float32]:
        items = _arrays.floats(x, "x", self.input_shape)
        low, high = self.plan["input"]["range"]
        if items.min() < low or items.max() > high:
            raise InputError(
                f"x has values from {items.min():g} to {items.max():g} where the plan takes {low:g} to {high:g}; "
                "compile with an input_range or a sample that holds them"
            )
        return items

    def _reveals_labels(self) -> bool:
        return bool(self.plan["reveal"]["what"] == "label")

    def __repr__(self) -> str:
        """Tell what it is and what an item costs."""
        shape = "×".join(map(str, self.input_shape))
        return (
            f"<ariann.Model {self.plan['model']}: {shape}, ring {self.plan['ring']}, {len(self.plan['gates'])} gates>"
        )

    def _repr_html_(self) -> str:
        import html

        return f"<p>{html.escape(repr(self))}</p>{self.cost()._repr_html_()}"


def compile(
    model: Any,
    sample: Any = None,
    *,
    ring: int = 32,
    weights: str = "held",
    reveal: str = "logits",
    optimize: str = "time",
    sign: str = "exact",
    link: str = "loopback",
    input_range: tuple[float, float] | None = None,
) -> Model:
    """Compile a model for private prediction: make its public plan.

    Args:
        model: `torch.nn.Module`, ONNX file, its bytes, or `onnx.ModelProto`.
        sample: items whose values set the scales of the plan, shape `(n, ...)`, as the model takes them. They shape the
            public plan, so they must be public or the model owner's: never the private inputs. Some hundred are good.
            Without a sample (ONNX only) ranges are proven, which costs precision.
        ring: 32, or 64 where values do not fit 32 bits.
        weights: 'held' by P0 in clear, 'shared' (nobody knows them) or 'public'.
        reveal: 'logits' or 'label', to P1; or with a receiver as in 'label:p0'.
        optimize: 'time', 'latency' (fewest exchanges) or 'material' (least).
        sign: 'exact', or 'coarse', which decides ReLU on top bits alone.
        link: 'loopback', 'lan' or 'wan', for which forms are chosen and time is forecast.
        input_range: least and greatest value of an input, others are refused; by default what the sample has, and
            half as much beyond both ends.

    Returns:
        The compiled model.

    Raises:
        UnsupportedError: parts of the model that cannot be computed, all of them named.
        InputError: a file that is no model, a sample of another shape or with values that are no numbers.
        OperatorError: an option that there is not, or a model that does not fit the ring.
    """
    folder = tempfile.TemporaryDirectory(prefix="ariann-model-")
    base = Path(folder.name)
    items = None if sample is None else _arrays.floats(sample, "sample")
    path = _export.to_file(model, items, base)
    options = [f"--ring={ring}", f"--weights={weights}", f"--reveal={reveal}", f"--optimize={optimize}"]
    options += [f"--sign={sign}", f"--link={link}"]
    if items is not None:
        if len(items) < _FEW:
            warnings.warn(
                f"the sample has {len(items)} items: others may leave the ranges that it shows; give some hundred",
                stacklevel=2,
            )
        options.append(f"--calibration={_arrays.save(items, base / 'sample.npy')}")
        options.append(f"--calibration-limit={len(items)}")
        if input_range is None:
            input_range = _arrays.reach(items)
    if input_range is not None:
        low, high = _arrays.interval(input_range)
        options.append(f"--input-range={low!r},{high!r}")
    compiled = _ariann.Model(str(path), options)
    (base / "sample.npy").unlink(missing_ok=True)
    result = Model(compiled, path, folder)
    if items is not None and _arrays.is_module(model) and not result._reveals_labels():
        _export.agrees(model, items, result.simulate, softmax=result.plan["output"]["softmax"])
    return result


# The program must be known before a model starts roles.
assert _program.HOST

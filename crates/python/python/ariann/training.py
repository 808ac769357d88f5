"""Private training of PyTorch modules and ONNX models."""

from __future__ import annotations

import json
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ariann import _arrays, _export, _program, _progress
from ariann.errors import InputError, OperatorError

__all__ = ["TrainingReport", "fit"]


@dataclass(frozen=True)
class TrainingReport:
    """What came out of a training.

    Attributes:
        epochs: a dictionary an epoch, with `accuracy`, `loss`, `clear_accuracy`, `clear_loss` where they are known.
        losses: the loss of each step, where it was revealed.
        document: everything, with the field names of `ariann train --json`.
    """

    epochs: list[dict[str, Any]]
    losses: list[float]
    document: dict[str, Any]


def fit(
    module: Any,
    data: Any,
    labels: Any,
    *,
    loss: Any = "ce",
    optimizer: Any = None,
    epochs: int = 1,
    batch: int = 128,
    test: tuple[Any, Any] | None = None,
    calibration: tuple[Any, Any] | None = None,
    input_range: tuple[float, float] | None = None,
    ring: int | None = None,
    seed: int = 0,
    reveal: tuple[str, ...] = (),
    compare_clear: bool = False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    progress: bool | _progress.Progress | None = None,
    with_report: bool = False,
) -> Any:
    """Train privately: dealer, P0 with the model and P1 with the data, three processes on this machine over TLS.

    For parties on several machines, see `ariann train --role` and docs/training.md.

    Args:
        module: `torch.nn.Module`, or an ONNX file, its bytes or `onnx.ModelProto`. Parameters with `requires_grad`
            False stay as they are, layer by layer; so do the statistics of a frozen normalisation. Dropout is taken
            from `torch.nn.Dropout` modules.
        data: items, shape `(n, ...)`; array or tensor.
        labels: classes, integers of shape `(n,)`.
        loss: 'ce' or 'mse', or `torch.nn.CrossEntropyLoss()` or `torch.nn.MSELoss()`.
        optimizer: `torch.optim.SGD(...)`, or its parameters as a dictionary: lr, momentum, nesterov, weight_decay.
        epochs: passes over the data.
        batch: items of a step.
        test: items and labels on which the accuracy is computed, privately.
        calibration: public items and labels that set the scales; allows a ring of 32 bits, which is faster.
        input_range: least and greatest value of an input, others are refused; by default what `calibration` has and
            half as much beyond both ends, and 0 to 1 without it. It is public.
        ring: 32 or 64; 32 by default where there is `calibration`.
        seed: of the public order of the items.
        reveal: what is revealed beside the trained model: 'loss', 'accuracy'.
        compare_clear: train in float too, side by side: for one's own data.
        checkpoint: folder for checkpoints; a training that ended goes on from them with `resume`.
        resume: go on from the newest checkpoint.
        threads: threads of each party; half of the cores by default.
        progress: True, False, or a function of stage, done and total; a line on a terminal or notebook by default.
        with_report: return a `TrainingReport` as well.

    Returns:
        The module with its trained weights under its own names; for ONNX the trained model as bytes. With `with_report`
        a pair of it and a `TrainingReport`.

    Raises:
        UnsupportedError: layers that cannot be trained, all of them named.
        InputError: data or labels of another shape, out of range, or no numbers.
        OperatorError: an option that there is not; a training that diverged, where the loss is revealed.
    """
    items = _arrays.floats(data, "data")
    classes = _arrays.integers(labels, "labels", len(items))
    with tempfile.TemporaryDirectory(prefix="ariann-") as name:
        folder = Path(name)
        model = _export.to_file(module, items, folder, trained=True)
        args = ["train", "--model", str(model), "--out", str(folder / "out")]
        args += ["--input", str(_arrays.save(items, folder / "data.npy"))]
        args += ["--labels", str(_arrays.save(classes, folder / "labels.npy"))]
        args += ["--loss", _loss(loss), "--epochs", str(_arrays.whole(epochs, "epochs"))]
        args += ["--batch", str(_arrays.whole(batch, "batch")), "--seed", str(seed)]
        args += _optimizer(optimizer)
        for option, pair in (("test", test), ("calibration", calibration)):
            if pair is not None:
                some = _arrays.floats(pair[0], option, items.shape[1:])
                of = _arrays.integers(pair[1], f"{option} labels", len(some))
                flags = ("--test-input", "--test-labels")
                if option == "calibration":
                    flags = ("--calibration", "--calibration-labels")
                args += [flags[0], str(_arrays.save(some, folder / f"{option}.npy"))]
                args += [flags[1], str(_arrays.save(of, folder / f"{option}-labels.npy"))]
        if input_range is None and calibration is not None:
            input_range = _arrays.reach(_arrays.floats(calibration[0], "calibration"))
        if input_range is not None:
            low, high = _arrays.interval(input_range)
            args.append(f"--input-range={low!r},{high!r}")
        if ring is not None:
            args += ["--ring", str(ring)]
        for what in reveal:
            args += ["--reveal", what]
        args += ["--compare-clear"] * compare_clear + ["--resume"] * resume
        if checkpoint is not None:
            args += ["--checkpoint", str(Path(checkpoint).absolute())]
        if threads is not None:
            args += ["--threads", str(_arrays.threads_of(threads))]
        for frozen in _frozen(module):
            args += ["--freeze", f"{frozen}/"]
        document = _program.document(args, _progress.chosen(progress))
        trained = load_back(module, folder / "out")
    if not with_report:
        return trained
    report = TrainingReport(document.get("epochs", []), document.get("losses", []), document)
    return trained, report


def _loss(loss: Any) -> str:
    if isinstance(loss, str):
        return loss
    name = type(loss).__name__
    kinds = {"CrossEntropyLoss": "ce", "MSELoss": "mse"}
    if name not in kinds:
        raise OperatorError(f"loss {name}: there are 'ce' and 'mse'; give one of these, CrossEntropyLoss or MSELoss")
    if getattr(loss, "reduction", "mean") != "mean" or getattr(loss, "label_smoothing", 0.0) != 0.0:
        raise OperatorError(f"loss {name}: only the mean over items, without smoothing, is there; leave the defaults")
    return kinds[name]


def _optimizer(optimizer: Any) -> list[str]:
    if optimizer is None:
        return []
    if isinstance(optimizer, dict):
        parameters = dict(optimizer)
    else:
        name = type(optimizer).__name__
        if name != "SGD" or not hasattr(optimizer, "param_groups"):
            raise OperatorError(f"optimizer {name}: there is SGD with momentum; give torch.optim.SGD or a dictionary")
        groups = optimizer.param_groups
        if len(groups) != 1:
            raise OperatorError("optimizer: all parameters are trained alike; give one parameter group")
        parameters = {key: value for key, value in groups[0].items() if key != "params"}
        for key in ("dampening", "maximize", "differentiable"):
            if parameters.pop(key, 0):
                raise OperatorError(f"optimizer: {key} is not there; leave its default")
        for key in ("foreach", "fused", "initial_lr"):
            parameters.pop(key, None)
    args: list[str] = []
    for key, flag in (("lr", "--lr"), ("momentum", "--momentum"), ("weight_decay", "--weight-decay")):
        value = parameters.pop(key, None)
        if value is not None:
            args += [flag, repr(float(value))]
    if parameters.pop("nesterov", False):
        args.append("--nesterov")
    if parameters:
        raise OperatorError(
            f"optimizer: there is no {', '.join(parameters)}; give lr, momentum, nesterov, weight_decay"
        )
    return args


def _frozen(module: Any) -> list[str]:
    if not _arrays.is_module(module):
        return []
    layers: dict[str, set[bool]] = {}
    for name, parameter in module.named_parameters():
        layers.setdefault(name.rpartition(".")[0], set()).add(bool(parameter.requires_grad))
    mixed = [name for name, trained in layers.items() if len(trained) == 2]
    if mixed:
        raise OperatorError(
            f"these layers are frozen in part: {', '.join(mixed)}; freeze all parameters of a layer, or none"
        )
    return [name for name, trained in layers.items() if trained == {False}]


def load_back(module: Any, folder: Path) -> Any:
    """Return the trained model of a folder: as bytes, or in the module, under its own names."""
    if not _arrays.is_module(module):
        return (folder / "model.onnx").read_bytes()
    import torch

    tensors = read_safetensors(folder / "model.safetensors")
    own = module.state_dict()
    missing = [name for name in tensors if name not in own]
    if missing:
        raise InputError(
            f"these trained tensors have no place in the module: {', '.join(missing)}; its exporter renamed them"
        )
    with torch.no_grad():
        for name, values in tensors.items():
            own[name].copy_(torch.from_numpy(values).reshape(own[name].shape))
    return module


def read_safetensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the float32 tensors of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    head = json.loads(content[8 : 8 + length])
    tensors = {}
    for name, entry in head.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(content[8 + length + begin : 8 + length + end], np.dtype("<f4"))
        tensors[name] = values.reshape(entry["shape"]).copy()
    return tensors

"""Private federated learning: n owners train one model, nobody shows data, nobody sees the model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ariann import _arrays, _export, _program, _progress, _toml
from ariann._process import Process
from ariann.errors import MachineError, OperatorError
from ariann.training import load_back

__all__ = ["Dealer", "FederatedReport", "Server", "prepare", "run", "simulate"]

Config = Mapping[str, Any] | str | os.PathLike[str]
"""A configuration: a TOML file, or a mapping with the same keys."""


@dataclass(frozen=True)
class FederatedReport:
    """What came out of a federated training.

    Attributes:
        accuracies: share of the test set that is classified rightly after each round, where it was revealed.
        clear_accuracies: the same of federated averaging in float, where it was computed beside.
        model: the module with the trained weights, or the trained model as ONNX bytes; None where nobody learned it.
        document: everything, with the field names of `ariann federate simulate --json`.
    """

    accuracies: list[float | None]
    clear_accuracies: list[float | None]
    model: Any
    document: dict[str, Any]


def simulate(
    model: Any = None,
    data: Any = None,
    labels: Any = None,
    *,
    test: tuple[Any, Any] | None = None,
    calibration: tuple[Any, Any] | None = None,
    input_range: tuple[float, float] | None = None,
    config: Config | None = None,
    progress: bool | _progress.Progress | None = None,
    **settings: Any,
) -> FederatedReport:
    """Play server, dealer and owners as processes on this machine, over TLS; rows are split among the owners.

    Args:
        model: `torch.nn.Module`, ONNX file, its bytes or `onnx.ModelProto`: what all begin with. It is revealed to the
            owners at the end, unless `reveal` says otherwise, and a module has the trained weights then. Without a
            model a small network learns bundled images.
        data: items, shape `(n, ...)`; array or tensor.
        labels: classes, integers of shape `(n,)`.
        test: items and labels on which the accuracy is computed, privately; needed with `data`.
        calibration: public items and labels that set the scales; the test set by default.
        input_range: least and greatest value of an input; that of the calibration or test set, with room, by default.
        config: a configuration with the keys of docs/federated.md.
        progress: True, False, or a function of stage, done and total; a line on a terminal or notebook by default.
        settings: keys of the configuration, which override it: owners, rounds, epochs, threshold, split, lr, batch, …

    Returns:
        Accuracies round by round, the model, and everything else that is known.

    Raises:
        UnsupportedError: layers that cannot be trained, all of them named.
        AriannError: what else went wrong, whose fault it is and what to do.
    """
    with tempfile.TemporaryDirectory(prefix="ariann-") as folder:
        base = Path(folder)
        given = _settings(model, data, labels, test, calibration, input_range, base)
        if model is not None:
            given.update(reveal="model:owners", out=str(base / "out"))
        path = _toml.write(base / "simulate.toml", {**given, **_toml.read(config), **settings})
        document = _program.document(["federate", "simulate", "--config", str(path)], _progress.chosen(progress))
        out = next((Path(file).parent for file in document["files"]), None)
        trained = None if out is None or model is None else load_back(model, out)
    rounds = document["rounds"]
    accuracies = document["server"].get("accuracies") or [None] * len(rounds)
    return FederatedReport(accuracies, [of["clear_accuracy"] for of in rounds], trained, document)


def prepare(
    folder: str | os.PathLike[str],
    model: Any = None,
    data: Any = None,
    labels: Any = None,
    *,
    test: tuple[Any, Any] | None = None,
    calibration: tuple[Any, Any] | None = None,
    input_range: tuple[float, float] | None = None,
    config: Config | None = None,
    progress: bool | _progress.Progress | None = None,
    **settings: Any,
) -> dict[str, Path]:
    """Write a federation with identities and configurations of all roles to a folder, and train nothing.

    To try roles of their own on one machine, or as a pattern for several: there each role makes its identity itself,
    and gets `federation.json` and nobody else's files.

    Args:
        folder: where to write; it holds the data as well.
        model: as for `simulate`, as are the others.
        data: items.
        labels: classes.
        test: items and labels.
        calibration: public items and labels.
        input_range: least and greatest value of an input.
        config: a configuration.
        progress: whether to tell of progress, or whom.
        settings: keys of the configuration.

    Returns:
        The files: `federation`, `server`, `dealer`, `owner-1`, …
    """
    base = Path(folder).absolute()
    base.mkdir(parents=True, exist_ok=True)
    given = _settings(model, data, labels, test, calibration, input_range, base)
    given |= {**_toml.read(config), **settings, "folder": str(base), "write_only": True}
    path = _toml.write(base / "simulate.toml", given)
    said = _program.document(["federate", "simulate", "--config", str(path)], _progress.chosen(progress))
    return {Path(file).stem: Path(file) for file in said["files"]}


def run(
    role: Literal["server", "owner", "dealer"],
    config: Config,
    *,
    progress: bool | _progress.Progress | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Be one role, by its configuration, until the training ends or pauses.

    Args:
        role: which.
        config: its configuration, with the keys of docs/federated.md.
        progress: True, False, or a function of stage, done and total; a line on a terminal or notebook by default.
        settings: keys that override the configuration, such as `server` and `dealer`: where they are.

    Returns:
        The role's report: rounds, accuracies, bytes, files of the trained model; `paused` where it goes on at the next
        start.

    Raises:
        AriannError: what went wrong, whose fault it is and what to do.
    """
    if role not in ("server", "owner", "dealer"):
        raise OperatorError(f"role {role}: give 'server', 'owner' or 'dealer'")
    tell = _progress.chosen(progress)
    with tempfile.TemporaryDirectory(prefix="ariann-") as folder:
        path = _toml.write(Path(folder) / "role.toml", {**_toml.read(config), **settings})
        process = _program.start(["federate", role, "--config", str(path)], folder)
        try:
            for said in _program.lines(process):
                if said["event"] == "error":
                    raise _program.failed(said)
                if said["event"] == "result":
                    report = said["report"]
                    assert isinstance(report, dict)
                    return report
                if said["event"] == "progress" and tell is not None:
                    tell(said["stage"], said["done"], said["total"])
        finally:
            _program.stop(process)
    raise MachineError(f"the {role} ended without a report; it was killed, or look at what it printed")


class Server(Process):
    """The server as a context manager: it listens at `address` while the block runs; `wait` returns its report.

    Args:
        config: its configuration, with the keys of docs/federated.md.
        settings: keys that override it, such as `dealer`, `listen`, `until`.
    """

    def __init__(self, config: Config, **settings: Any) -> None:
        super().__init__(["federate", "server"])
        self._config = {**_toml.read(config), **settings}


class Dealer(Process):
    """The dealer as a context manager: it listens at `address` while the block runs; `wait` returns its report.

    Args:
        config: its configuration, with the keys of docs/federated.md.
        settings: keys that override it, such as `listen`.
    """

    def __init__(self, config: Config, **settings: Any) -> None:
        super().__init__(["federate", "dealer"])
        self._config = {**_toml.read(config), **settings}


def _settings(
    model: Any,
    data: Any,
    labels: Any,
    test: tuple[Any, Any] | None,
    calibration: tuple[Any, Any] | None,
    input_range: tuple[float, float] | None,
    folder: Path,
) -> dict[str, Any]:
    """Write data and model to files, and return the keys that name them."""
    if (data is None) != (labels is None):
        raise OperatorError("data and labels go together; give both, or neither")
    settings: dict[str, Any] = {}
    items = None
    if data is not None:
        if test is None:
            raise OperatorError("data without test; give items and labels of a test set")
        items = _arrays.floats(data, "data")
        sets: list[tuple[str, Any, Any]] = [("", items, labels), ("test_", *test)]
        sets += [("calibration_", *calibration)] if calibration is not None else []
        for kind, some, of in sets:
            name = f"{kind}data" if kind else "data"
            part = _arrays.floats(some, name, items.shape[1:])
            classes = _arrays.integers(of, f"{kind}labels", len(part))
            key = {"": "input", "test_": "test_input", "calibration_": "calibration"}[kind]
            settings[key] = str(_arrays.save(part, folder / f"{name}.npy"))
            settings[f"{kind}labels"] = str(_arrays.save(classes, folder / f"{kind}labels.npy"))
        public = _arrays.floats((calibration or test)[0], "test")
        settings["input_range"] = list(
            _arrays.interval(input_range) if input_range is not None else _arrays.reach(public)
        )
    if model is not None:
        if items is None:
            raise OperatorError("a model without data; give data, labels and test")
        settings["model"] = str(_export.to_file(model, items, folder, trained=True))
    return settings

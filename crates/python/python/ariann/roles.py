"""Dealer, server (P0) and client (P1) as roles of their own, on any machines.

Each organisation runs its role and pins the others' fingerprints:

>>> # the dealer's machine                                                            # doctest: +SKIP
>>> with ariann.Dealer("plan.json", identity=me, server=S, client=C, count=1000, listen="0.0.0.0:7100") as dealer:
...     dealer.wait()
>>> # the hospital's machine                                                          # doctest: +SKIP
>>> with ariann.Client("plan.json", identity=me, server=("p0.example:7101", S), dealer=("d.example:7100", D)) as client:
...     client.predict(images)

Roles are processes; they end with the `with` block, with `close`, and with this process however it ends.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ariann import _arrays, _program, _progress, _toml
from ariann._process import Process
from ariann.errors import AriannError, ClosedError, MachineError, OperatorError
from ariann.model import Model

__all__ = ["Client", "Dealer", "Identity", "Remote", "Server"]

Remote = tuple[str, str]
"""Where another role listens, HOST:PORT, and the fingerprint that it must show."""


@dataclass(frozen=True)
class Identity:
    """This role's own identity: `NAME.key.pem` (keep it secret) and `NAME.cert.pem` in a folder.

    Attributes:
        folder: the folder.
        name: the name of the files.
        fingerprint: what the others pin.
    """

    folder: Path
    name: str
    fingerprint: str

    @staticmethod
    def new(folder: str | os.PathLike[str], name: str, *, days: int = 825) -> Identity:
        """Make an identity in `folder`, valid for so many days. An existing one is never overwritten."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        said = _program.document(["identity", "new", name, "--folder", str(folder), "--days", str(days)])
        return Identity(folder.absolute(), name, said["fingerprint"])

    @staticmethod
    def load(folder: str | os.PathLike[str], name: str) -> Identity:
        """Load an identity that was made before, here or by `ariann identity new`."""
        folder = Path(folder).absolute()
        said = _program.document(["identity", "show", name, "--folder", str(folder)])
        return Identity(folder, name, said["fingerprint"])

    def _config(self) -> dict[str, str]:
        return {"folder": str(self.folder), "name": self.name}


def _remote(remote: Remote) -> dict[str, str]:
    return {"address": remote[0], "fingerprint": remote[1]}


def _deadlines(given: Mapping[str, float] | None) -> dict[str, float]:
    seconds = {"connect": 30.0, "silence": 30.0, "stall": 600.0}
    for key, value in (given or {}).items():
        if key not in seconds or not value > 0:
            raise OperatorError(f"deadlines: {key} = {value}; give positive seconds for connect, silence or stall")
        seconds[key] = float(value)
    return seconds


def _threads(threads: int) -> int:
    return _arrays.threads_of(threads or None) or 0


class _Role(Process):
    """A role of a plan."""

    _command: str

    def __init__(self, plan: Model | str | os.PathLike[str]) -> None:
        super().__init__([self._command])
        if isinstance(plan, Model):
            plan.save_plan(self._base / "plan.json")
            plan = self._base / "plan.json"
        self._plan = Path(plan).absolute()


class Dealer(_Role):
    """The dealer: makes one-time material and serves it to one server and one client. Colludes with neither.

    Args:
        plan: the plan file, or a compiled model.
        identity: its own identity.
        server: fingerprint of the server (P0).
        client: fingerprint of the client (P1).
        count: slots to make, one for each item to be predicted.
        state: folder where it keeps seeds of weights; needed to deal again for the same model.
        listen: HOST:PORT to listen at; port 0 takes a free one.
        threads: threads; all cores when 0.
        deadlines: seconds to wait for others: `connect`, `silence`, `stall`.
    """

    _command = "deal"

    def __init__(
        self,
        plan: Model | str | os.PathLike[str],
        *,
        identity: Identity,
        server: str,
        client: str,
        count: int,
        state: str | os.PathLike[str],
        listen: str = "127.0.0.1:0",
        threads: int = 0,
        deadlines: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(plan)
        serve = {"listen": listen, "identity": identity._config(), "p0": server, "p1": client}
        self._config = {
            "plan": self._plan, "count": count, "state": Path(state).absolute(), "threads": _threads(threads),
            "deadlines": _deadlines(deadlines), "serve": serve,
        }  # fmt: skip


class Server(_Role):
    """P0: holds the model and answers its client.

    Args:
        model: a compiled model, or the ONNX file together with `plan`.
        plan: the plan file; that of the compiled model by default.
        identity: its own identity.
        client: fingerprint of the client (P1).
        dealer: where the dealer is, and its fingerprint.
        state: folder for material and ledger; keep it: it sees to it that nothing is used twice.
        listen: HOST:PORT to listen at; port 0 takes a free one.
        sessions: end after so many sessions; never by default.
        publish_weights: agree to a plan with public weights, which shows them to the client.
        threads: threads; all cores when 0.
        deadlines: seconds to wait for others: `connect`, `silence`, `stall`.
    """

    _command = "serve"

    def __init__(
        self,
        model: Model | str | os.PathLike[str],
        *,
        plan: str | os.PathLike[str] | None = None,
        identity: Identity,
        client: str,
        dealer: Remote | None = None,
        state: str | os.PathLike[str],
        listen: str = "127.0.0.1:0",
        sessions: int = 0,
        publish_weights: bool = False,
        threads: int = 0,
        deadlines: Mapping[str, float] | None = None,
    ) -> None:
        compiled = model if isinstance(model, Model) else None
        if compiled is None and plan is None:
            raise OperatorError("a model that is a file needs its plan; give plan, or a compiled model")
        super().__init__(plan if plan is not None else model)
        self._model = compiled  # its file lives as long as it does
        self._config = {
            "plan": self._plan,
            "model": compiled.path if compiled else Path(model).absolute(),  # type: ignore[arg-type]
            "state": Path(state).absolute(),
            "listen": listen,
            "identity": identity._config(),
            "peer": client,
            "dealer": _remote(dealer) if dealer else None,
            "sessions": sessions,
            "publish_weights": publish_weights,
            "threads": _threads(threads),
            "deadlines": _deadlines(deadlines),
        }


class Client:
    """P1: holds the data and asks a server for predictions.

    Args:
        plan: the plan file, or a compiled model.
        identity: its own identity.
        server: where the server is, and its fingerprint.
        dealer: where the dealer is, and its fingerprint; asked when the material that is left does not suffice.
        state: folder for material and ledger; keep it: it sees to it that nothing is used twice.
        batch: items computed together; the last batch is filled up, so that the server does not learn how many
            there are.
        reveal_to_p0: agree to a plan that shows the results to the server, who chose the model and may learn inputs
            from them.
        threads: threads; all cores when 0.
        deadlines: seconds to wait for others: `connect`, `silence`, `stall`.
    """

    def __init__(
        self,
        plan: Model | str | os.PathLike[str],
        *,
        identity: Identity,
        server: Remote,
        dealer: Remote | None = None,
        state: str | os.PathLike[str],
        batch: int = 1,
        reveal_to_p0: bool = False,
        threads: int = 0,
        deadlines: Mapping[str, float] | None = None,
    ) -> None:
        if batch < 1:
            raise OperatorError(f"batch {batch}: give at least 1")
        self._folder = tempfile.TemporaryDirectory(prefix="ariann-client-")
        self._base = Path(self._folder.name)
        if isinstance(plan, Model):
            plan.save_plan(self._base / "plan.json")
            plan = self._base / "plan.json"
        path = Path(plan).absolute()
        try:
            document = json.loads(path.read_text())
            self.plan: dict[str, Any] = document["plan"]
            self._digest: str = document["digest"]
            self.input_shape: tuple[int, ...] = tuple(self.plan["input"]["shape"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OperatorError(f"{path} is no plan: {error}; take the file that the model's owner gave") from error
        self.report: dict[str, Any] | None = None
        self._closed = False
        self._dealer = _remote(dealer) if dealer else None
        self._config: dict[str, Any] = {
            "plan": path,
            "state": Path(state).absolute(),
            "batch": batch,
            "reveal_to_p0": reveal_to_p0,
            "threads": _threads(threads),
            "peer": _remote(server),
            "identity": identity._config(),
            "deadlines": _deadlines(deadlines),
        }

    def slots_left(self) -> int:
        """Return how many items the material in the state folder still serves."""
        self._open()
        state = self._config["state"]
        if not (state / "ledger.redb").exists():
            return 0
        listed = _program.document(["material", "ls", "--state", str(state)])
        return sum(int(of.get("left", 0)) for of in listed["batches"] if of.get("plan") == self._digest)

    def predict(self, x: Any, *, progress: bool | _progress.Progress | None = None) -> Any:
        """Predict items with the server's model; the server learns nothing about them.

        Args:
            x: items, shape `(n, *input_shape)` or one item; array or tensor.
            progress: True, False, or a function of stage, done and total.

        Returns:
            Logits, shape `(n, classes)`, or labels, shape `(n,)`; an array or tensor as `x` is.

        Raises:
            ClosedError: after `close`.
            InputError: shape, range, or a value that is no number.
            PeerError: the server is not there, went away, or is another.
            DealerError: the dealer's material does not suffice, or is damaged.
        """
        self._open()
        items = _arrays.floats(x, "x", self.input_shape)
        tell = _progress.chosen(progress)
        batch: int = self._config["batch"]
        dealer = self._dealer
        if dealer is not None and self.slots_left() >= -(-len(items) // batch) * batch:
            dealer = None
        with tempfile.TemporaryDirectory(prefix="ariann-", dir=self._base) as folder:
            base = Path(folder)
            given = _arrays.save(items, base / "x.npy")
            path = _toml.write(base / "role.toml", {**self._config, "input": given, "dealer": dealer})
            report = self._query(path, base, tell)
        logits, labels = report.pop("logits", None), report.pop("predictions", None)
        self.report = report
        if logits is not None:
            return _arrays.like(np.asarray(logits, np.float32)[: len(items)], x)
        if labels is not None:
            return _arrays.like(np.asarray(labels, np.int64)[: len(items)], x)
        raise OperatorError("this plan reveals nothing to the client; ask for a plan whose results are for p1")

    def _query(self, config: Path, scratch: Path, tell: _progress.Progress | None) -> dict[str, Any]:
        error: AriannError | None = None
        report: dict[str, Any] | None = None
        process = _program.start(["query", "--config", str(config)], scratch)
        try:
            for said in _program.lines(process):
                event = said.get("event")
                if event == "error":
                    error = _program.failed(said)
                elif event == "result":
                    report = said["report"]
                elif event == "progress" and tell is not None:
                    tell(said["stage"], said["done"], said["total"])
            process.wait()
        finally:
            _program.stop(process)
        if error is not None:
            raise error
        if report is None:
            raise MachineError("query ended without a result; it was killed, or look at what it printed")
        return report

    def _open(self) -> None:
        if self._closed:
            raise ClosedError("this client was closed; make a new one")

    def close(self) -> None:
        """Remove what it wrote beside its state. Closing twice does nothing."""
        self._closed = True
        self._folder.cleanup()

    def __enter__(self) -> Client:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

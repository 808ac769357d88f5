"""Role processes that listen."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from ariann import _program, _toml
from ariann.errors import AriannError, ClosedError, MachineError


class Process:
    """A role process that listens until it is closed."""

    def __init__(self, command: list[str]) -> None:
        self._words = command
        self._folder = tempfile.TemporaryDirectory(prefix="ariann-role-")
        self._base = Path(self._folder.name)
        self._config: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None
        self._listening = threading.Event()
        self._ended = threading.Event()
        self._closed = False
        self._error: AriannError | None = None
        self._result: dict[str, Any] | None = None
        self.address: str = ""
        """Where it listens, HOST:PORT, once it is open."""
        self.events: list[dict[str, Any]] = []
        """What it said, documents with an `event`."""

    def open(self) -> None:
        """Start the process and wait until it listens."""
        if self._closed:
            raise ClosedError("this role was closed; make a new one")
        if self._process is not None:
            return
        path = _toml.write(self._base / "role.toml", self._config)
        self._process = _program.start([*self._words, "--config", str(path)], self._base)
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        try:
            self._listening.wait()
            if not self.address:
                self._ended.wait()
                words = f"{self._words[-1]}: it ended before it listened; look at what it printed"
                raise self._error or MachineError(words)
        except BaseException:
            self.close()
            raise

    def _listen(self, process: subprocess.Popen[str]) -> None:
        try:
            for said in _program.lines(process):
                event = said.get("event")
                if event == "listening":
                    self.address = said["address"]
                    self._listening.set()
                elif event == "error":
                    self._error = _program.failed(said)
                elif event == "result":
                    self._result = said["report"]
                if event != "progress":
                    self.events.append(said)
        except ValueError:
            pass  # closed meanwhile
        finally:
            if process.stdout is not None:
                process.stdout.close()
            self._ended.set()
            self._listening.set()

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait until the role has done its work and return its report.

        Raises:
            TimeoutError: it is still at work after `timeout` seconds.
            AriannError: what it says went wrong.
        """
        if self._process is None:
            raise ClosedError("this role is not open; use it in a with block, or call open first")
        # In pieces, so that Ctrl-C is heard.
        left = timeout
        while not self._ended.wait(0.2 if left is None else min(0.2, left)):
            if left is not None:
                left -= 0.2
                if left <= 0:
                    raise TimeoutError(f"{self._words[-1]} is still at work after {timeout} seconds")
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise MachineError(f"{self._words[-1]} ended without a report; it was killed, or look at what it printed")
        return self._result

    def close(self) -> None:
        """End the process, if it still runs. Closing twice does nothing."""
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            _program.stop(process, pipes=(process.stdin,))
            self._ended.wait(5)  # the thread that listens closes the other pipe
        self._folder.cleanup()

    def __enter__(self) -> Any:
        """Open it."""
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

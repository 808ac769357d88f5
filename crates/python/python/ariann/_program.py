"""The program, started as a process of its own from this package's files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ariann import _ariann, errors
from ariann._progress import Progress

HOST = [sys.executable, "-I", "-S", str(Path(__file__).with_name("_role.py"))]
_ariann.set_host(HOST, True)
if hasattr(os, "register_at_fork"):
    # Who was forked would keep the nursery alive when this process ends.
    os.register_at_fork(after_in_child=_ariann.end_nursery)
_PATIENCE = 5.0


def start(args: list[str], scratch: str | os.PathLike[str]) -> subprocess.Popen[str]:
    """Start the program. It ends when its standard input closes, so with this process, however that ends.

    Args:
        args: its arguments.
        scratch: folder for its temporary files, which the caller removes.
    """
    return subprocess.Popen(
        [*HOST, *args, "--json", "--supervised"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C is for this process, which then ends the other.
        start_new_session=True,
        env={**os.environ, "TMPDIR": os.fspath(scratch)},
    )


def stop(process: subprocess.Popen[str], pipes: tuple[IO[str] | None, ...] = ()) -> None:
    """End a process and what it started, by force if need be, and close its pipes, or those that are named."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in pipes or (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield what a role says, a JSON document a line."""
    assert process.stdout is not None
    for line in process.stdout:
        said = _event(line)
        if said is not None:
            yield said


def failed(said: dict[str, Any]) -> errors.AriannError:
    """Return the exception for a role's last words."""
    kind = "unsupported" if said.get("unsupported") else str(said.get("fault", ""))
    return errors.of(kind, str(said.get("error", "it ended without a word")))


def document(args: list[str], progress: Progress | None = None) -> dict[str, Any]:
    """Run a command to its end and return the JSON document that it prints.

    Ctrl-C ends the command and its processes.
    """
    text: list[str] = []
    error: errors.AriannError | None = None
    with tempfile.TemporaryDirectory(prefix="ariann-") as scratch:
        process = start(args, scratch)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said = _event(line)
                if said is None:
                    text.append(line)
                elif said["event"] == "error":
                    error = failed(said)
                elif said["event"] == "progress" and progress is not None:
                    progress(said["stage"], said["done"], said["total"])
            code = process.wait()
        finally:
            stop(process)
    if code == 0:
        result = json.loads("".join(text))
        assert isinstance(result, dict)
        return result
    raise error or errors.MachineError(f"ariann {args[0]} ended with code {code} and no word; look at what it printed")


def _event(line: str) -> dict[str, Any] | None:
    """Return an event, which is a document in one line; a document of another kind has several."""
    if not line.startswith('{"'):
        return None
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and "event" in said else None

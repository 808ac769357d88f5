"""The process that the roles of a prediction are forked from."""

import array
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import ariann
import numpy as np
import pytest
from ariann import _ariann, _program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each role is a process of its own")


def nurseries(parent="self"):
    tasks = Path(f"/proc/{parent}/task")
    children = {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}
    return [pid for pid in children if b"--nursery" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def files_of(pid):
    return sorted(os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd"))


def gone(*pids, within=10):
    until = time.monotonic() + within
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until, left
        time.sleep(0.02)


def served(model, images):
    """Predict, and return the nursery."""
    assert model.predict(images[1][:2], progress=False).shape == (2, 10)
    (pid,) = nurseries()
    return pid


@pytest.fixture(autouse=True)
def ended():
    yield
    _ariann.end_nursery()
    assert nurseries() == []


def test_it_serves_all_predictions_and_keeps_no_role(model, images):
    nursery = served(model, images)
    # The last role's number is given back when the run has ended.
    gone(*children(nursery))
    open_files = files_of(nursery)
    threads = [threading.Thread(target=model.predict, args=(images[1][:2],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert nurseries() == [nursery]
    gone(*children(nursery))
    assert files_of(nursery) == open_files
    # A fork has one thread only: of several, the others would be missed.
    assert len(os.listdir(f"/proc/{nursery}/task")) == 1


def test_one_that_was_killed_or_stopped_is_replaced(model, images):
    nursery = served(model, images)
    os.kill(nursery, signal.SIGKILL)
    other = served(model, images)
    assert other != nursery
    gone(nursery)
    os.kill(other, signal.SIGSTOP)
    assert served(model, images) != other
    gone(other)


def test_one_of_another_time_is_replaced(model, images, monkeypatch, tmp_path):
    def replaced():
        before = nurseries()
        return before != [served(model, images)]

    assert replaced()
    assert not replaced()
    monkeypatch.setenv("ARIANN_TEST_OF_THE_NURSERY", "1")
    assert replaced()
    monkeypatch.chdir(tmp_path)
    assert replaced()
    mask = os.umask(0o077)
    try:
        if mask != 0o077:
            assert replaced()
    finally:
        os.umask(mask)
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {min(cores)})
        try:
            assert replaced()
        finally:
            os.sched_setaffinity(0, cores)
    # As a role takes it over, so it is now: seen from the role's side.
    monkeypatch.setenv("ARIANN_AES", "nonsense")
    with pytest.raises(ariann.AriannError, match="ARIANN_AES"):
        model.predict(images[1][:2], progress=False)


def test_a_forked_process_has_one_of_its_own(model, images):
    nursery = served(model, images)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if served(model, images) != nursery else 2
            _ariann.end_nursery()
        finally:
            os._exit(code)
    until = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        assert time.monotonic() < until, os.kill(child, 9)
        time.sleep(0.05)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert served(model, images) == nursery


def test_a_forked_process_does_not_keep_it_alive(model, images, tmp_path):
    script = """
import os, sys, time
import ariann, numpy
model = ariann.compile(sys.argv[1], numpy.random.default_rng(1).random((50, 1, 28, 28), numpy.float32))
model.predict(numpy.zeros((2, 1, 28, 28)), progress=False)
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script, str(model.path)], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    try:
        (pid,) = nurseries(process.pid)
        process.kill()
        process.wait()
        gone(pid)
        assert Path(f"/proc/{child}").exists()
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_roles_run_where_there_can_be_none(model, images):
    # Its requests carry standard error, which is not there.
    kept = os.dup(2)
    os.close(2)
    try:
        script = (
            "import sys, ariann, numpy; m = ariann.compile(sys.argv[1],"
            " numpy.random.default_rng(1).random((50, 1, 28, 28), numpy.float32));"
            " print(m.predict(numpy.zeros((2, 1, 28, 28)), progress=False).shape)"
        )
        said = subprocess.run([sys.executable, "-c", script, str(model.path)], stdout=subprocess.PIPE, text=True)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert said.stdout == "(2, 10)\n"


class Nursery:
    """One whose roles are other commands."""

    def __init__(self):
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen([*_program.HOST, "--nursery"], stdin=theirs, stdout=subprocess.DEVNULL)
        theirs.close()

    def fork(self, args):
        (their_input, given), (said, their_output) = os.pipe(), os.pipe()
        pipes = array.array("i", [their_input, their_output, 2])
        request = b"s" + b"\0".join(os.fsencode(arg) for arg in args)
        self.link.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, pipes)])
        number = int(self.link.recv(16))
        for pipe in (their_input, their_output):
            os.close(pipe)
        return number, given, said

    def end(self):
        self.link.close()
        return self.process.wait(10)


def test_two_roles_draw_other_randomness(model, tmp_path):
    plan = tmp_path / "plan.json"
    model.save_plan(plan)
    nursery, roles = Nursery(), []
    for name in ("a", "b"):
        folder = tmp_path / name
        made = nursery.fork(["identity", "new", "same", "--folder", str(folder)])
        config = tmp_path / f"{name}.toml"
        config.write_text(f'plan = "{plan}"\ncount = 2\nstate = "{folder}-state"\nout = "{folder}-out"\n')
        dealt = nursery.fork(["deal", "--config", str(config)])
        roles += [made, dealt]
    for number, given, said in roles:
        with os.fdopen(said) as words:
            assert words.read()
        os.close(given)
        nursery.link.send(f"e{number}".encode())
    assert nursery.end() == 0
    assert (tmp_path / "a/same.key.pem").read_bytes() != (tmp_path / "b/same.key.pem").read_bytes()
    # Keys, masks and seeds: in files of one layout, all but a few words of the heads are others.
    for party in ("p0", "p1"):
        (one,), (other,) = ([*(tmp_path / f"{name}-out").rglob(f"{party}*.mat")] for name in ("a", "b"))
        assert one.stat().st_size == other.stat().st_size > 100_000
        blocks = one.stat().st_size // 16
        words = [set(np.fromfile(path, "V16", blocks).tolist()) for path in (one, other)]
        assert len(words[0] & words[1]) < 16


def test_it_ends_with_its_parent():
    nursery = Nursery()
    number, given, said = nursery.fork(["--version"])
    with os.fdopen(said) as words:
        assert words.read().startswith("ariann ")
    os.close(given)
    # Not reaped before it is said to have ended: until then the number is its own.
    assert Path(f"/proc/{number}").exists()
    nursery.link.send(f"e{number}".encode())
    gone(number)
    assert nursery.end() == 0

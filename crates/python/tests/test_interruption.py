"""Ctrl-C, and a process that is killed: what is left of a run."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ASSETS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SCRIPT = """
import signal, sys
from pathlib import Path
import ariann, numpy

# A shell starts what it puts into the background with Ctrl-C ignored, which is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

model, work, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
x = numpy.zeros((4000, 1, 28, 28), numpy.float32)
sample = numpy.random.default_rng(1).random((50, 1, 28, 28), numpy.float32)
tell = lambda *told: print(*told, flush=True)

def predict():
    ariann.compile(model, sample).predict(x, batch=100, progress=tell)

def train():
    labels = numpy.arange(4000) % 10
    ariann.fit(model, x, labels, epochs=50, batch=50, calibration=(sample, labels[:50]), progress=tell)

def federate():
    tell("federated")
    ariann.federated.simulate(owners=2, rounds=500, threshold=2, progress=tell)

def query():
    compiled = ariann.compile(model, sample)
    me = {name: ariann.Identity.new(folder / name, name) for name in ("dealer", "server", "client")}
    pins = {name: of.fingerprint for name, of in me.items()}
    with ariann.Dealer(
        compiled, identity=me["dealer"], server=pins["server"], client=pins["client"], count=400, state=folder / "d"
    ) as dealer:
        at = (dealer.address, pins["dealer"])
        with ariann.Server(
            compiled, identity=me["server"], client=pins["client"], dealer=at, state=folder / "s"
        ) as server, ariann.Client(
            compiled, identity=me["client"], server=(server.address, pins["server"]), dealer=at, state=folder / "c"
        ) as client:
            client.predict(x[:400], progress=tell)

def wait():
    compiled = ariann.compile(model, sample)
    me, other = (ariann.Identity.new(folder / name, name) for name in ("dealer", "other"))
    with ariann.Dealer(
        compiled, identity=me, server=other.fingerprint, client=other.fingerprint, count=1, state=folder / "d"
    ) as dealer:
        tell("waiting")
        dealer.wait()

def generate():
    tell("generating")
    while True:
        ariann.fss.comparison(400_000, bits=63, shares="uint64")

def evaluate():
    key, _ = ariann.fss.comparison(1_000_000, bits=63)
    points = numpy.zeros(1_000_000, numpy.uint64)
    tell("evaluating")
    while True:
        key.eval(points, threads=1)

try:
    globals()[work]()
except KeyboardInterrupt:
    tell("interrupted")
    # The interpreter is as good as before.
    assert len(ariann.fss.point(3, bits=8)[0]) == 3
    tell("alive")
"""

# How the work is known to be under way, and how many processes it has then. A prediction has one that the three are
# forked from, a training one that watches them.
WORKS = {
    "predict": ("dealing", 4),
    "train": ("training", 4),
    "federate": ("federated", None),
    "query": ("predicting", 3),
    "wait": ("waiting", 1),
    "generate": ("generating", 0),
    "evaluate": ("evaluating", 0),
}


def children(pid):
    tasks = f"/proc/{pid}/task"
    if not os.path.exists(tasks):
        return []
    named = [f"{tasks}/{task}/children" for task in os.listdir(tasks)]
    return [int(child) for path in named if os.path.exists(path) for child in open(path).read().split()]


def descendants(pid):
    return [pid for child in children(pid) for pid in (child, *descendants(child))]


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("how", ["interrupt", "terminal", "kill"])
def test_no_process_and_no_file_is_left(how, work, tmp_path):
    scratch, folder = tmp_path / "scratch", tmp_path / "roles"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ASSETS / "fashion-cnn.onnx"), work, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    begins, count = WORKS[work]
    for line in process.stdout:
        if line.startswith(begins):
            break
    if count is None:
        # All of its own processes, and theirs.
        while len(descendants(process.pid)) < 4:
            assert process.poll() is None
            time.sleep(0.05)
        roles = descendants(process.pid)
    elif count == 0:
        time.sleep(0.3)
        roles = []
    else:
        roles = descendants(process.pid)
        assert len(roles) == count
    if how == "terminal":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal({"interrupt": signal.SIGINT, "kill": signal.SIGKILL}[how])
    said = process.stdout.read()
    process.wait(30)
    assert ("interrupted" in said and "alive" in said) == (how != "kill"), said
    until = time.monotonic() + 20
    while alive := [role for role in roles if os.path.exists(f"/proc/{role}")]:
        assert time.monotonic() < until, alive
        time.sleep(0.1)
    if how != "kill":
        assert list(scratch.iterdir()) == []

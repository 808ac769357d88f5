"""Prediction on one machine."""

import os
import signal
import subprocess
import sys
import threading
import time

import ariann
import numpy as np
import pytest
from conftest import ASSETS


def test_predictions_are_those_of_the_simulation(model, images):
    seen = []
    logits = model.predict(images[1], batch=10, progress=lambda *told: seen.append(told))
    assert logits.shape == (20, 10) and logits.dtype == np.float32
    simulated = model.simulate(images[1])
    assert simulated.shape == (20, 10)
    assert np.abs(logits - simulated).max() < 0.1
    np.testing.assert_array_equal(logits.argmax(1), simulated.argmax(1))
    assert any(stage == "predicting" and done == total for stage, done, total in seen)
    assert model.report["p1"]["items"] == 20
    # One item; and a second run of the same compiled model.
    assert np.abs(model.predict(images[1][0], progress=False) - logits[:1]).max() < 0.1


def test_costs(model):
    cost = model.cost(batch=10)
    assert cost.batch == 10 and cost.exchanges > 0 and cost.comparisons > 0
    assert sum(gate["comparisons"] for gate in cost.gates) == cost.comparisons
    assert "comparisons" in repr(cost) and "<table>" in cost._repr_html_()
    assert "<table>" in model._repr_html_() and "ring 32" in repr(model)


def test_labels_only(images):
    model = ariann.compile(ASSETS / "fashion-cnn.onnx", images[0], reveal="label")
    labels = model.predict(images[1][:3], progress=False)
    np.testing.assert_array_equal(labels, model.simulate(images[1][:3]))


def test_bytes_are_a_model_too(images):
    model = ariann.compile((ASSETS / "fashion-cnn.onnx").read_bytes(), images[0])
    assert model.input_shape == (1, 28, 28)


def test_inputs_to_refuse(model, images):
    x = images[1].copy()
    with pytest.raises(ariann.errors.InputError, match="shape"):
        model.predict(x[:, :, :27])
    with pytest.raises(ariann.errors.InputError, match="no items"):
        model.predict(x[:0])
    with pytest.raises(TypeError, match="dtype"):
        model.predict(x.astype(str))
    with pytest.raises(ariann.errors.InputError, match="takes"):
        model.predict(x + 100)
    x[3, 0, 5, 5] = np.nan
    with pytest.raises(ariann.errors.InputError, match="item 3"):
        model.predict(x)
    with pytest.raises(ariann.errors.OperatorError):
        model.predict(images[1], batch=0)
    # Views are as good as arrays.
    whole = np.zeros((20, 1, 28, 56), np.float64)
    whole[..., ::2] = images[1]
    np.testing.assert_array_equal(model.simulate(whole[..., ::2]), model.simulate(images[1]))


def test_models_to_refuse(tmp_path, images):
    with pytest.raises(ariann.errors.InputError):
        ariann.compile(tmp_path / "none.onnx", images[0])
    with pytest.raises(ariann.errors.InputError) as caught:
        ariann.compile(b"no model", images[0])
    assert caught.value.code == 3
    with pytest.raises(ariann.errors.OperatorError):
        ariann.compile(object(), images[0])
    with pytest.raises(ariann.errors.OperatorError):
        ariann.compile(ASSETS / "fashion-cnn.onnx", images[0], ring=16)
    with pytest.raises(ariann.errors.InputError):
        ariann.compile(ASSETS / "fashion-cnn.onnx", images[0][:, :, :20])
    with pytest.warns(UserWarning, match="3 items"):
        ariann.compile(ASSETS / "fashion-cnn.onnx", images[0][:3])


def test_tensors_in_and_out(model, images):
    torch = pytest.importorskip("torch")
    logits = model.simulate(torch.from_numpy(images[1]))
    assert isinstance(logits, torch.Tensor) and logits.shape == (20, 10)


def test_a_second_prediction_compiles_nothing(model, images, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("compiled again")

    monkeypatch.setattr("ariann._ariann.Model", refuse)
    monkeypatch.setattr("ariann._export.to_file", refuse)
    first = model.predict(images[1][:4], progress=False)
    second = model.predict(images[1][:4], progress=False)
    assert np.abs(first - second).max() < 0.1


def test_the_lock_is_let_go_while_roles_work(model, images):
    counted, ended = 0, threading.Event()

    def count():
        nonlocal counted
        while not ended.is_set():
            counted += 1
            time.sleep(0.001)

    other = threading.Thread(target=count)
    other.start()
    before = counted
    model.predict(images[1], progress=False)
    during = counted - before
    ended.set()
    other.join()
    # Roles start and end in far more than ten milliseconds.
    assert during >= 10


def test_what_progress_raises_ends_the_run(model, images):
    def stop(*_told):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        model.predict(images[1], progress=stop)
    assert model.predict(images[1][:1], progress=False).shape == (1, 10)


def test_views_are_not_copied_wrongly(model, images):
    turned = np.asfortranarray(images[1][:3])
    np.testing.assert_array_equal(model.simulate(turned), model.simulate(images[1][:3]))
    np.testing.assert_array_equal(model.simulate(images[1][::-1][:3]), model.simulate(images[1][::-1][:3].copy()))


SCRIPT = """
import ariann, numpy, sys
x = numpy.zeros((4000, 1, 28, 28), numpy.float32)
sample = numpy.random.default_rng(1).random((50, 1, 28, 28), numpy.float32)
tell = lambda *told: print(*told, flush=True)
try:
    if sys.argv[2] == "predict":
        ariann.compile(sys.argv[1], sample).predict(x, batch=100, progress=tell)
    else:
        labels = numpy.arange(4000) % 10
        ariann.fit(sys.argv[1], x, labels, epochs=50, batch=50, calibration=(sample, labels[:50]), progress=tell)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def children(pid):
    tasks = f"/proc/{pid}/task/{pid}/children"
    return [int(child) for child in open(tasks).read().split()] if os.path.exists(tasks) else []


def descendants(pid):
    return [pid for child in children(pid) for pid in (child, *descendants(child))]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("work", ["predict", "train"])
@pytest.mark.parametrize("how", ["interrupt", "terminal", "kill"])
def test_no_process_and_no_file_is_left(how, work, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ASSETS / "fashion-cnn.onnx"), work],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    for line in process.stdout:
        if line.startswith({"predict": "dealing", "train": "training"}[work]):
            break
    roles = descendants(process.pid)
    # A training has a process that watches the three.
    assert len(roles) == {"predict": 3, "train": 4}[work]
    if how == "terminal":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal({"interrupt": signal.SIGINT, "kill": signal.SIGKILL}[how])
    said = process.stdout.read()
    process.wait(30)
    assert ("interrupted" in said) == (how != "kill")
    until = time.monotonic() + 20
    while alive := [role for role in roles if os.path.exists(f"/proc/{role}")]:
        assert time.monotonic() < until, alive
        time.sleep(0.1)
    if how != "kill":
        assert list(tmp_path.iterdir()) == []

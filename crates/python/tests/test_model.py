"""Prediction on one machine."""

import json
import os
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
    for wrong in ({"batch": 0}, {"batch": 1.5}, {"batch": "2"}, {"threads": 0}, {"threads": 10**6}):
        with pytest.raises(ariann.errors.OperatorError):
            model.predict(images[1], **wrong)
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
    for wrong in (3, (1, 0), (0, np.nan), ("a", "b"), (0, 1, 2)):
        with pytest.raises(ariann.errors.OperatorError, match="input_range"):
            ariann.compile(ASSETS / "fashion-cnn.onnx", images[0], input_range=wrong)
    model = ariann.compile(ASSETS / "fashion-cnn.onnx", images[0], input_range=(np.float32(-1), np.float64(2)))
    assert model.plan["input"]["range"] == [-1, 2]
    with pytest.raises(ariann.errors.InputError):
        ariann.compile(ASSETS / "fashion-cnn.onnx", images[0][:, :, :20])
    with pytest.warns(UserWarning, match="3 items"):
        ariann.compile(ASSETS / "fashion-cnn.onnx", images[0][:3])


def test_tensors_in_and_out(model, images):
    torch = pytest.importorskip("torch")
    logits = model.simulate(torch.from_numpy(images[1]))
    assert isinstance(logits, torch.Tensor) and logits.shape == (20, 10)


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


COUNTING = """
import importlib.machinery, importlib.util, json, os, sys
from pathlib import Path

# The first who says what starts roles is right.
package = Path(importlib.util.find_spec("ariann").submodule_search_locations[0])
path = next(package.glob("_ariann*" + importlib.machinery.EXTENSION_SUFFIXES[-2]))
spec = importlib.util.spec_from_file_location("ariann._ariann", path)
compiled = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compiled)
sys.modules["ariann._ariann"] = compiled
compiled.set_host([sys.executable, sys.argv[2], str(package / "_role.py")], False)

import ariann, numpy
from ariann import _export

calls = []
def counted(what, real):
    return lambda *args, **options: (calls.append(what), real(*args, **options))[1]
compiled.Model = counted("plan", compiled.Model)
_export.to_file = counted("import", _export.to_file)

x = numpy.random.default_rng(1).random((50, 1, 28, 28), numpy.float32)
model = ariann.compile(sys.argv[1], x)
after_compile = len(calls)
for _ in range(2):
    model.predict(x[:4], progress=False)
print(json.dumps([calls, after_compile]))
"""

RECORDING = """
import os, sys
with open(os.environ["RECORD"], "a") as file:
    file.write(sys.argv[2] + "\\n")
os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv[1:]])
"""


def test_a_second_prediction_imports_and_plans_nothing(tmp_path):
    (tmp_path / "recording.py").write_text(RECORDING)
    command = [sys.executable, "-c", COUNTING, str(ASSETS / "fashion-cnn.onnx"), str(tmp_path / "recording.py")]
    record = tmp_path / "record"
    said = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "RECORD": str(record)}
    ).stdout
    calls, after_compile = json.loads(said)
    assert calls == ["import", "plan"] and after_compile == 2
    # Roles are given the plan; none of them is the command that makes one.
    assert sorted(record.read_text().split()) == ["deal", "deal", "query", "query", "serve", "serve"]

#!/usr/bin/env python3
"""Writes fixtures/onnx: small models, one for each operator and variant, with what ONNX Runtime computes for them.

    python3 scripts/operator_fixtures.py            writes the files
    python3 scripts/operator_fixtures.py --check    makes them in memory and compares

Needs numpy, onnx and onnxruntime. NAME.onnx is a model; NAME.f32 holds little-endian floats: the inputs of three items,
then the three outputs. Files invalid-REASON.onnx must be refused for that reason. The cases are in onnx_cases/.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

from onnx_cases import INVALID, VALID, Weights

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "onnx"
ITEMS = 3


def outputs(path, m, name):
    """Inputs of three items and what ONNX Runtime computes for them."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shape = [d.dim_value for d in m.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng([1, *name.encode()]).uniform(-2, 2, (ITEMS, *shape[1:])).astype(np.float32)
    step = shape[0] or ITEMS
    y = [session.run(None, {"x": x[i : i + step]})[0] for i in range(0, ITEMS, step)]
    return x.tobytes() + np.concatenate(y).astype(np.float32).tobytes()


def make(folder):
    files = {}

    def write(name, data):
        files[name] = data
        (folder / name).write_bytes(data)

    for name, function in VALID.items():
        m = function(Weights(name))
        if isinstance(m, tuple):
            m, data = m
            write(f"{name}.bin", bytes(16) + data)
        write(f"{name}.onnx", m.SerializeToString(deterministic=True))
        write(f"{name}.f32", outputs(folder / f"{name}.onnx", m, name))
    for name, function in INVALID.items():
        m = function(Weights(name))
        write(f"invalid-{name}.onnx", m if isinstance(m, bytes) else m.SerializeToString(deterministic=True))
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args().check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for old in FOLDER.iterdir():
            old.unlink()
        print(f"{len(make(FOLDER))} files written")
        return
    with tempfile.TemporaryDirectory() as folder:
        files = make(Path(folder))
    there = {path.name for path in FOLDER.iterdir()}
    wrong = sorted(there ^ set(files))
    for name in there & set(files):
        old, new = (FOLDER / name).read_bytes(), files[name]
        # Sums of floats depend on the processor, everything else is exact.
        if name.endswith(".f32") and len(old) == len(new):
            same = np.allclose(np.frombuffer(old, np.float32), np.frombuffer(new, np.float32), rtol=1e-5, atol=1e-5)
        else:
            same = old == new
        if not same:
            wrong.append(name)
    print(f"{len(files)} files, {len(wrong)} differ {wrong}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

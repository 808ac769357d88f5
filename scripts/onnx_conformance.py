#!/usr/bin/env python3
"""Writes the node tests of the package `onnx` as models of one input, for crates/graph/tests/conformance.rs.

    python3 scripts/onnx_conformance.py FOLDER

Needs numpy and onnx. Inputs that are weights, limits, places or shapes become initialisers. Where an operator takes
several values (Add, Sub, Sum, Concat) one input holds all of them side by side, and the model takes it apart. A case
NAME becomes NAME.onnx and NAME.f32 (the input, then the output); cases.json lists them with what the reader needs.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

warnings.simplefilter("ignore")
JOINED = {"Add", "Sub", "Sum", "Concat"}
LAYOUT = {"Pad", "Slice", "Transpose", "Split", "Squeeze", "Unsqueeze", "Flatten", "Identity"}


def single(value):
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value


def merged(nodes, inputs):
    """Nodes that take one input of all values apart."""
    before, tensors, start = [], [], 0
    for name, value in inputs:
        size = int(np.prod(value.shape[1:]))
        for part, numbers in (("from", [start]), ("to", [start + size]), ("axis", [1]), ("shape", [0, *value.shape[1:]])):
            tensors.append(numpy_helper.from_array(np.array(numbers, np.int64), f"{name}.{part}"))
        before += [
            helper.make_node("Slice", ["all", f"{name}.from", f"{name}.to", f"{name}.axis"], [f"{name}.flat"]),
            helper.make_node("Reshape", [f"{name}.flat", f"{name}.shape"], [name]),
        ]
        start += size
    data = np.concatenate([value.reshape(value.shape[0], -1) for _, value in inputs], axis=1)
    return [*before, *nodes], tensors, data


def convert(case):
    """The model with one input, its input and output; a reason instead where that cannot be."""
    graph = case.model.graph
    if not case.data_sets:
        return "it has no data"
    arrays = lambda values: [np.asarray(value) if isinstance(value, np.generic) else value for value in values]
    inputs, outputs = map(arrays, case.data_sets[0])
    if len(inputs) != len(graph.input) or not inputs:
        return "it has no inputs, or optional ones are left out"
    values = list(zip((i.name for i in graph.input), inputs, strict=True))
    if not all(isinstance(value, np.ndarray) for _, value in values) or not isinstance(outputs[0], np.ndarray):
        return "sequences, maps, and element types without arrays"
    operators = {node.op_type for node in graph.node}
    if operators <= LAYOUT or values[0][1].dtype == np.float64:
        # What is only moved, or given with more digits.
        values = [(values[0][0], values[0][1].astype(np.float32)), *((n, single(v)) for n, v in values[1:])]
        outputs = [outputs[0].astype(np.float32)]
    data, rest = values[0], values[1:]
    if data[1].dtype != np.float32 or outputs[0].dtype != np.float32:
        return "values are not float32"
    if data[1].ndim == 1 and all(value.ndim == 0 for _, value in rest):
        # Functions of each value: one value an item.
        data = (data[0], data[1].reshape(-1, 1))
    if data[1].ndim < 2 or 0 in data[1].shape:
        return "values have no axis besides the batch"
    nodes, tensors, name, x = list(graph.node), list(graph.initializer), *data
    alike = all(v.dtype == np.float32 and v.ndim == x.ndim and v.shape[0] == x.shape[0] for _, v in rest)
    if rest and alike and len(nodes) == 1 and operators <= JOINED:
        nodes, more, x = merged(nodes, values)
        tensors += more
        name = "all"
    else:
        tensors += [numpy_helper.from_array(value, other) for other, value in rest]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape)]
    made = helper.make_graph(nodes, graph.name, inputs, list(graph.output)[:1], tensors)
    model = helper.make_model(made, opset_imports=case.model.opset_import, ir_version=case.model.ir_version)
    return model, np.ascontiguousarray(x), np.ascontiguousarray(outputs[0])


def main():
    from onnx.backend.test.case.node import collect_testcases

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in collect_testcases(None):
        row = {"name": case.name, "operators": sorted({node.op_type for node in case.model.graph.node})}
        made = convert(case)
        if isinstance(made, str):
            row["skip"] = made
        else:
            model, x, y = made
            (folder / f"{case.name}.onnx").write_bytes(model.SerializeToString())
            (folder / f"{case.name}.f32").write_bytes(x.tobytes() + y.tobytes())
            row |= {"items": x.shape[0], "output": list(y.shape)}
        rows.append(row)
    (folder / "cases.json").write_text(json.dumps(rows))
    print(f"{len(rows)} cases")


if __name__ == "__main__":
    main()

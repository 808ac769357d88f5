#!/usr/bin/env python3
"""Executes the cells of crates/python/examples/notebook.py and writes docs/python.ipynb with their outputs.

With --check nothing is written: the cells must run and be those of the page. Without PyTorch, cells marked `torch` are left out
of a check. Needs the Python package; no Jupyter.
"""

import argparse
import ast
import contextlib
import io
import json
import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "crates/python/examples/notebook.py"
PAGE = ROOT / "docs/python.ipynb"


def cells():
    """Yields (kind, source) of each cell: 'markdown', 'code' or 'torch'."""
    for part in ("\n" + SOURCE.read_text()).split("\n# %%")[1:]:
        mark, _, body = part.partition("\n")
        body = body.strip("\n")
        if mark.strip() == "[markdown]":
            yield "markdown", "\n".join(line[2:] for line in body.splitlines())
        else:
            yield mark.strip() or "code", body


def execute(source, names):
    """Runs a cell; returns its outputs as a notebook keeps them."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(tree, SOURCE.name, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), SOURCE.name, "eval"), names)
    outputs = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines(printed.getvalue())})
    if value is not None:
        data = {"text/plain": lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = lines(value._repr_html_())
        outputs.append({"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None})
    return outputs


def lines(text):
    return text.splitlines(keepends=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    os.chdir(SOURCE.parent)
    sys.path.insert(0, str(SOURCE.parent))
    try:
        import onnxscript  # noqa: F401
        import torch  # noqa: F401

        has_torch = True
    except ImportError:
        has_torch = False
    if not has_torch and not check:
        sys.exit("the page needs torch, onnx and onnxscript")
    names, page, count = {"__name__": "__main__"}, [], 0
    for kind, source in cells():
        cell = {"cell_type": "markdown", "metadata": {}, "source": lines(source), "id": f"cell-{len(page)}"}
        if kind != "markdown":
            count += 1
            cell |= {"cell_type": "code", "execution_count": count, "outputs": []}
            if kind == "code" or has_torch:
                cell["outputs"] = execute(source, names)
            for output in cell["outputs"]:
                if "execution_count" in output:
                    output["execution_count"] = count
        page.append(cell)
    if check:
        there = json.loads(PAGE.read_text())["cells"]
        if [cell["source"] for cell in there] != [cell["source"] for cell in page]:
            sys.exit("docs/python.ipynb is of other cells; run scripts/notebook.py")
        print(f"{count} cells" + ("" if has_torch else "; skipped: no torch (its cells were not run)"))
        return
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    document = {"cells": page, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    PAGE.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

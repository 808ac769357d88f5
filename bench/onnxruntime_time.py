#!/usr/bin/env python3
"""Times a model in clear: ONNX Runtime, one thread, one operator after the other.

    python3 bench/onnxruntime_time.py MODEL.onnx --batch 128 --runs 20

Prints one JSON object with the seconds of every run and their median. Needs the PyPI packages onnxruntime and numpy.
"""

import argparse
import json
import statistics
import sys
import time


def session(path):
    """The model, ready to run in one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure(path, batch, runs, warm_up=2):
    """Seconds of each of `runs` runs with `batch` random items; the first `warm_up` are not counted."""
    import numpy
    import onnxruntime

    model = session(path)
    (given,) = model.get_inputs()
    free = [axis for axis in given.shape[1:] if not isinstance(axis, int)]
    if free:
        raise SystemExit(f"{path}: the axes {free} of its input are free; only that of the items may be")
    if isinstance(given.shape[0], int) and given.shape[0] != batch:
        raise SystemExit(f"{path}: takes {given.shape[0]} items at once, not {batch}")
    items = numpy.random.default_rng(0).random([batch, *given.shape[1:]], dtype=numpy.float32)
    seconds = []
    for _ in range(warm_up + runs):
        began = time.perf_counter()
        model.run(None, {given.name: items})
        seconds.append(time.perf_counter() - began)
    seconds = seconds[warm_up:]
    return {
        "model": str(path),
        "batch": batch,
        "runs": runs,
        "seconds": seconds,
        "median_seconds": statistics.median(seconds),
        "least_seconds": min(seconds),
        "onnxruntime": onnxruntime.__version__,
        "threads": 1,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=20)
    args = parser.parse_args()
    if args.batch < 1 or args.runs < 1:
        parser.error("--batch and --runs are at least 1")
    json.dump(measure(args.model, args.batch, args.runs), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

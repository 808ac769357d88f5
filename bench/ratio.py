#!/usr/bin/env python3
"""Private prediction against the same network in clear, both measured in the same go on this machine.

    cargo build --release && python3 bench/ratio.py [NETWORK ...] [--runs N] [--json] [-- OPTIONS of bench networks]

Both parties and the dealer run here, over TLS on loopback, one thread a party; the clear time is that of ONNX Runtime with one
thread, taken before and after, so that a machine which grows slower in between shows. Without names, the four rows that have a
limit are measured. Everything behind `--` goes to `ariann bench networks`. Exits with 1 when a ratio is above its limit.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import onnxruntime_time

# Batch, and the greatest ratio that is wanted.
ROWS = {
    "resnet18": (1, 10.0),
    "vgg16-32": (1, 6.0),
    "alexnet-cifar": (128, 12.0),
    "lenet": (128, 15.0),
}
# The clear times before and after differ by more than this: something else was running, and the ratio says little.
STEADY = 1.2


def row(program, name, runs, more):
    batch, limit = ROWS[name]
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / f"{name}.onnx"
        subprocess.run([program, "zoo", name, "-o", model], check=True, stdout=subprocess.DEVNULL)
        before = onnxruntime_time.measure(model, batch, 10)
        command = [program, "bench", "networks", name, "--batch", str(batch), "--runs", str(runs), "--threads", "1", "--json", *more]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        after = onnxruntime_time.measure(model, batch, 10)
    (private,) = json.loads(said)
    medians = sorted([before["median_seconds"], after["median_seconds"]])
    clear = statistics.median(before["seconds"] + after["seconds"])
    return {
        "network": name,
        "batch": batch,
        "private_seconds": private["median_run_seconds"],
        "private_runs": private["online"]["run_seconds"],
        "clear_seconds": clear,
        "clear_before_after": [before["median_seconds"], after["median_seconds"]],
        "ratio": private["median_run_seconds"] / clear,
        "limit": limit,
        "steady": medians[1] <= STEADY * medians[0],
        "material_bytes": private["offline"]["material_bytes"],
        "bytes_sent": private["online"]["bytes_sent"],
        "peak_rss_bytes": private["peak_rss_bytes"],
        "relative_error": private["relative_error"],
        "onnxruntime": before["onnxruntime"],
        "machine": private["machine"],
    }


def shown(rows):
    head = ["network", "batch", "private", "clear (before, after)", "ratio", "limit"]
    lines = [head]
    for row in rows:
        milliseconds = [f"{1e3 * seconds:.1f}" for seconds in [row["clear_seconds"], *row["clear_before_after"]]]
        lines.append([
            row["network"],
            str(row["batch"]),
            f"{1e3 * row['private_seconds']:.1f} ms",
            f"{milliseconds[0]} ms ({milliseconds[1]}, {milliseconds[2]})",
            f"{row['ratio']:.2f}",
            f"{row['limit']:.0f}",
        ])
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=", ".join(ROWS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    own, more = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, more = own[:at], own[at + 1 :]
    program = pathlib.Path(__file__).resolve().parent.parent / "target/release/ariann"
    parser.add_argument("--program", type=pathlib.Path, default=program, help="the built program")
    args = parser.parse_args(own)
    unknown = [name for name in args.names if name not in ROWS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(ROWS)}")
    if not args.program.is_file():
        parser.error(f"{args.program} is not there; run cargo build --release, or give --program")
    rows = []
    for name in args.names or ROWS:
        print(f"measuring {name} ...", file=sys.stderr)
        rows.append(row(args.program, name, args.runs, more))
    if args.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    else:
        print(shown(rows))
    for name in [row["network"] for row in rows if not row["steady"]]:
        print(f"{name}: the clear times before and after differ by more than {STEADY:.1f} times; measure on an idle machine", file=sys.stderr)
    return 1 if any(row["ratio"] > row["limit"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

"""What Python adds to a private prediction.

python benches/overhead.py --program target/release/ariann [--network lenet --items 256]

The same compiled model predicts by roles that the interpreter starts, and by roles that are the program, call by call
in turn. "In Python" is the whole call `model.predict(x)` with the first; "without" is what the compiled code alone
takes with the second. Both start their three roles in every call; those of the interpreter are forked from one that the
first call starts. Medians and quartiles; each call is compared with the one beside it. Processor time, of each process
with all that it started and over all of its calls, says it again where other work disturbs the clock.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))


def with_program(program: str) -> None:
    """Let roles be this program: the first who says so is right."""
    package = importlib.util.find_spec("ariann")
    assert package is not None and package.submodule_search_locations
    suffix = importlib.machinery.EXTENSION_SUFFIXES[-2]
    path = next(Path(package.submodule_search_locations[0]).glob(f"_ariann*{suffix}"))
    spec = importlib.util.spec_from_file_location("ariann._ariann", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["ariann._ariann"] = module
    module.set_host([program], False)


def processor() -> float:
    """Return the processor seconds of this process and of those that it has waited for."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(who)[:2]) for who in whose)


def answer(args: argparse.Namespace) -> None:
    """Predict whenever told to; print the seconds of the call and its parts, in the end the processor's of a call."""
    import ariann
    import torch
    import torch_models as examples
    from ariann import _ariann

    makes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "mlp": (examples.mlp, (1, 28, 28)),
        "lenet": (examples.lenet, (1, 28, 28)),
        "resnet18": (examples.ResNet18, (3, 224, 224)),
    }
    make, shape = makes[args.network]
    torch.manual_seed(1)
    public, items = torch.rand(32, *shape), torch.rand(args.items, *shape)
    model = ariann.compile(examples.warmed(make(), public), public)
    compiled, times = model._compiled, [0.0, 0.0]

    class Timed:
        def predict(self, *given: Any) -> Any:
            times[0] = time.perf_counter()
            result = compiled.predict(*given)
            times[1] = time.perf_counter()
            return result

    model._compiled = Timed()  # type: ignore[assignment]
    print("ready", flush=True)
    calls, spent = 0, processor()
    for _ in sys.stdin:
        began = time.perf_counter()
        model.predict(items, progress=False)
        ended, calls = time.perf_counter(), calls + 1
        parts = [times[0] - began, times[1] - times[0], ended - times[1]]
        print(json.dumps([ended - began, *parts]), flush=True)
    # What it and the roles that it forked have taken is counted when it has ended.
    _ariann.end_nursery()
    print((processor() - spent) / calls)


class Child:
    """A process that predicts whenever told to."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, __file__, *sys.argv[1:], "--child", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None and self.process.stdin is not None
        self.heard, self.told = self.process.stdout, self.process.stdin
        assert self.heard.readline() == "ready\n"

    def call(self) -> list[float]:
        """Return seconds: the whole call, before the compiled code, in it, after it."""
        self.told.write("\n")
        self.told.flush()
        times: list[float] = json.loads(self.heard.readline())
        return times

    def end(self) -> float:
        """Return processor seconds of a call."""
        self.told.close()
        return float(self.heard.readline())


def start(command: list[str]) -> float:
    """Return the seconds of a role that only tells its version."""
    began = time.perf_counter()
    subprocess.run([*command, "--version"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def spread(values: list[float]) -> str:
    """Return median and quartiles in milliseconds."""
    low, middle, high = statistics.quantiles([1000 * value for value in values], n=4)
    return f"{middle:8.1f} ms ({low:.1f} to {high:.1f})"


def main() -> None:
    """Run both in turn and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="the program ariann of the same clone")
    parser.add_argument("--network", default="resnet18", choices=["mlp", "lenet", "resnet18"])
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--calls", type=int, default=15, help="of each")
    parser.add_argument("--child", choices=["package", "program"])
    args = parser.parse_args()
    program = str(Path(args.program).absolute())
    if args.child:
        if args.child == "program":
            with_program(program)
        answer(args)
        return
    package, bare = Child("package"), Child("program")
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    for number in range(args.calls + 1):
        # Who goes first changes, so that neither always finds the caches of the other.
        if number % 2:
            theirs.append(bare.call())
            ours.append(package.call())
        else:
            ours.append(package.call())
            theirs.append(bare.call())
    # The first of each warms files and caches.
    whole, before, inside, after = map(list, zip(*ours[1:], strict=True))
    without = [of[2] for of in theirs[1:]]
    added = [mine - other for mine, other in zip(whole, without, strict=True)]
    low, middle, high = statistics.quantiles([100 * a / b for a, b in zip(added, without, strict=True)], n=4)

    from ariann import _program

    starts = [(start(_program.HOST), start([program])) for _ in range(20)]
    print(f"{args.network}, {args.items} items, {args.calls} calls of each in turn; median (quartiles)")
    print(f"  in Python                        {spread(whole)}")
    print(f"  without                          {spread(without)}")
    print(f"  Python adds                      {spread(added)}: {middle:+.1f} % ({low:+.1f} to {high:+.1f})")
    print(f"    arrays checked and written     {spread(before)}")
    print(f"    roles, forked or started       {spread([a - b for a, b in zip(inside, without, strict=True)])}")
    print(f"    results, report, files removed {spread(after)}")
    print(f"  an interpreter starts in         {spread([of[0] for of in starts])}, once")
    print(f"  the program starts in            {spread([of[1] for of in starts])}, for each role")
    mine, other = package.end(), bare.end()
    share = 100 * (mine / other - 1)
    print(f"  processor time of a call         {1000 * mine:8.1f} ms and {1000 * other:.1f}, {share:+.1f} %")
    fastest = min(whole) / min(without) - 1
    print(f"  fastest calls: {min(whole):.3f} s and {min(without):.3f} s, {100 * fastest:+.1f} %")


if __name__ == "__main__":
    main()

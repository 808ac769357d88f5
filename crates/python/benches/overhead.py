"""What Python adds to a private prediction.

python benches/overhead.py --program target/release/ariann

The same compiled model predicts by roles that the interpreter starts, and by roles that are the program, in turn.
What Python adds is the whole call with the first, less what the compiled code alone takes with the second; the fastest
count, because other work on the machine can only add time.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

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
    module.set_host([program])


def measure(args: argparse.Namespace) -> None:
    """Predict, and print seconds of each call and of the compiled code in it."""
    import time
    from typing import Any

    import ariann
    import torch
    import torch_models as examples

    makes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "mlp": (examples.mlp, (1, 28, 28)),
        "lenet": (examples.lenet, (1, 28, 28)),
        "resnet18": (examples.ResNet18, (3, 224, 224)),
    }
    make, shape = makes[args.network]
    torch.manual_seed(1)
    public, items = torch.rand(32, *shape), torch.rand(args.items, *shape)
    model = ariann.compile(examples.warmed(make(), public), public)
    inner: list[float] = []
    compiled = model._compiled

    class Timed:
        def predict(self, *given: Any) -> Any:
            began = time.perf_counter()
            result = compiled.predict(*given)
            inner.append(time.perf_counter() - began)
            return result

    model._compiled = Timed()  # type: ignore[assignment]
    outer = []
    for _ in range(args.repeat):
        began = time.perf_counter()
        model.predict(items, progress=False)
        outer.append(time.perf_counter() - began)
    print(json.dumps({"outer": outer, "inner": inner}))


def main() -> None:
    """Run both in turn and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="the program ariann of the same clone")
    parser.add_argument("--network", default="resnet18", choices=["mlp", "lenet", "resnet18"])
    parser.add_argument("--items", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", choices=["package", "program"])
    args = parser.parse_args()
    if args.child:
        if args.child == "program":
            with_program(str(Path(args.program).absolute()))
        measure(args)
        return
    times: dict[str, dict[str, list[float]]] = {name: {"outer": [], "inner": []} for name in ("package", "program")}
    for _ in range(args.rounds):
        for name, of in times.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--child", name]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for key in of:
                of[key] += told[key]
    ours, bare = min(times["package"]["outer"]), min(times["program"]["inner"])
    print(
        f"{args.network}, {args.items} items: {ours:.3f} s in Python, {bare:.3f} s without it "
        f"(the fastest of {len(times['package']['outer'])}): {100 * (ours / bare - 1):+.1f} %"
    )


if __name__ == "__main__":
    main()

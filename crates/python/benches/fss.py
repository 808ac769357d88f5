"""Function secret sharing beside the package `sycret`, in one process on one core.

pip install sycret==0.2.8, then: taskset -c 0 python benches/fss.py

Both make and evaluate keys of comparisons on 32 bits with random points, on one thread; the best of some repetitions
counts, because another process on this core can only add time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import ariann
import numpy as np


def best(work: Callable[[], object], repeat: int) -> float:
    """Return the seconds of the fastest repetition."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def ours(count: int, repeat: int, shares: ariann.fss.Shares, bits: int = 32) -> tuple[float, float, float]:
    """Return nanoseconds to make and to evaluate a key, and its bytes."""
    make = best(lambda: ariann.fss.comparison(count, bits=bits, shares=shares, threads=1), repeat)
    k0, k1 = ariann.fss.comparison(count, bits=bits, shares=shares, threads=1)
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2**bits, count, dtype=np.uint64)
    alpha = k0.alpha_shares() + k1.alpha_shares() & np.uint64(2**bits - 1)
    a, b = k0.eval(x), k1.eval(x)
    assert np.array_equal(a ^ b if shares == "xor" else a + b, x < alpha)
    points = x.astype(np.uint32) if bits <= 32 else x
    evaluate = best(lambda: k0.eval(points, threads=1), repeat)
    return make / count * 1e9, evaluate / count * 1e9, len(k0.to_bytes()) / count


def theirs(count: int, repeat: int) -> tuple[float, float, float]:
    """Do the same by sycret."""
    from sycret import LeFactory

    le = LeFactory(n_threads=1)
    make = best(lambda: le.keygen(count), repeat)
    k0, _ = le.keygen(count)
    x = np.random.default_rng(1).integers(0, 2**31, count).astype(np.int64)
    evaluate = best(lambda: le.eval(0, x, k0, 1), repeat)
    return make / count * 1e9, evaluate / count * 1e9, k0.nbytes / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="keys in a repetition")
    parser.add_argument("--repeat", type=int, default=30, help="repetitions; of sycret a tenth")
    args = parser.parse_args()
    print(f"{'comparison':<32} {'generation':>12} {'evaluation':>12} {'key':>8}")

    def row(name: str, figures: tuple[float, float, float]) -> None:
        print(f"{name:<32} {figures[0]:9.0f} ns {figures[1]:9.0f} ns {figures[2]:6.0f} B", flush=True)

    other = None
    try:
        other = theirs(args.count, max(args.repeat // 10, 1))
        row("sycret, 32 bits", other)
    except ImportError:
        print("skipped: no PyPI package sycret")
    kinds: tuple[ariann.fss.Shares, ...] = ("xor", "uint32", "uint64")
    for shares in kinds:
        figures = ours(args.count, args.repeat, shares)
        row(f"ariann.fss, 32 bits, {shares}", figures)
        if other is not None:
            ratios = [theirs / own for theirs, own in zip(other, figures, strict=True)]
            print(f"{'':<32} {ratios[0]:8.1f} ×   {ratios[1]:8.1f} ×   {ratios[2]:4.1f} ×")
    row("ariann.fss, 63 bits, xor", ours(args.count, args.repeat, "xor", 63))


if __name__ == "__main__":
    main()

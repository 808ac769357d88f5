"""Progress on a terminal and in notebooks."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, what is done of it, and how much it is."""


def bar() -> Progress:
    """Return a progress line on standard error: stage, share, time left. Notebooks show it as well."""
    current, began, told = "", 0.0, 0.0

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal current, began, told
        now = time.monotonic()
        if stage != current:
            current, began, told = stage, now, 0.0
        # An end may be told more than once.
        if (now - told < 0.2 and done < total) or told == math.inf:
            return
        told = now
        share = done / total if total else 1.0
        left = (now - began) * (1 - share) / share if share > 0 else 0.0
        width = 24
        filled = int(width * share)
        line = f"\r{stage:<20} {'█' * filled}{'·' * (width - filled)} {100 * share:3.0f} %"
        line += f"  {left:4.0f} s left" if done < total else " " * 13
        sys.stderr.write(line + ("\n" if done >= total else ""))
        sys.stderr.flush()
        if done >= total:
            told = math.inf

    return tell


def chosen(progress: bool | Progress | None) -> Progress | None:
    """Return the callback for a `progress` argument; by default a line where somebody looks."""
    if callable(progress):
        return progress
    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    return bar() if progress else None

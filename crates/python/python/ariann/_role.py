"""Starts the program with nothing but the compiled module: no package, no NumPy, nothing of the standard library.

Whoever waits for a role waits for this: the modules `os` and `signal` alone would double the time.
"""

import sys
from _signal import SIG_DFL, SIGINT, signal  # type: ignore[import-not-found]
from posix import _exit


def main() -> None:
    """Run the program with this process's arguments."""
    # The program ends by signals as any other; Python's handler would only take note.
    signal(SIGINT, SIG_DFL)
    # As a module of its own: the package would bring NumPy.
    folder = __file__.rpartition("/")[0]
    sys.path.append(folder)
    import _ariann  # type: ignore[import-not-found]

    host = [sys.executable, "-I", "-S", f"{folder}/_role.py"]
    # No finalisation: threads of the program may still be at work.
    sys.stdout.flush()
    _exit(_ariann.run(host, sys.argv[1:]))


if __name__ == "__main__":
    main()

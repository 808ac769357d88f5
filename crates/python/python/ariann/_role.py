"""Starts the program with nothing but the compiled module: no package, no NumPy, little of the standard library."""

import os
import signal
import sys


def main() -> None:
    """Run the program with this process's arguments."""
    # The program ends by signals as any other; Python's handler would only take note.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # As a module of its own: the package would bring NumPy.
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(folder)
    import _ariann  # type: ignore[import-not-found]

    host = [sys.executable, "-I", "-S", os.path.join(folder, "_role.py")]
    # No finalisation: threads of the program may still be at work.
    sys.stdout.flush()
    os._exit(_ariann.run(host, sys.argv[1:]))


if __name__ == "__main__":
    main()

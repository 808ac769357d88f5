"""Starts the program with nothing but the compiled module: no package, no NumPy, nothing of the standard library.

Whoever waits for a role waits for this: the modules `os` and `signal` alone would double the time. With `--nursery` it
is the process that roles are forked from, on requests of `nursery.rs`, which spares them the start of an interpreter.
"""

import sys
from _signal import SIG_DFL, SIG_IGN, SIGINT, signal  # type: ignore[import-not-found]
from posix import _exit

_FOLDER = __file__.rpartition("/")[0]


def main() -> None:
    """Run the program with this process's arguments."""
    # The program ends by signals as any other; Python's handler would only take note.
    signal(SIGINT, SIG_DFL)
    # As a module of its own: the package would bring NumPy.
    sys.path.append(_FOLDER)
    import _ariann  # type: ignore[import-not-found]

    args = sys.argv[1:]
    if args == ["--nursery"]:
        args = _nurse()
        signal(SIGINT, SIG_DFL)
    host = [sys.executable, "-I", "-S", f"{_FOLDER}/_role.py"]
    # No finalisation: threads of the program may still be at work.
    sys.stdout.flush()
    _exit(_ariann.run(host, args))


def _nurse() -> "list[str]":
    """Fork roles until standard input closes; return in each of them, with its arguments.

    Nothing happens here that two roles may not share: no thread, no secret, nothing random.
    """
    from _socket import CMSG_SPACE, socket
    from posix import close, dup2, fork, waitpid

    # A terminal's Ctrl-C ends roles, as it always did, and the next ones come from here again.
    signal(SIGINT, SIG_IGN)
    link = socket(fileno=0)
    while request := link.recvmsg(1 << 16, CMSG_SPACE(12)):
        words, given = request[0], request[1]
        if not words:
            break
        if words[:1] == b"e":
            # Until now the number of a role that had ended could not be another process's.
            waitpid(int(words[1:]), 0)
            continue
        pipes = [int.from_bytes(given[0][2][at : at + 4], sys.byteorder) for at in (0, 4, 8)]
        try:
            number = fork()
        except OSError:
            number = -1
        if number == 0:
            link.close()
        for place, pipe in enumerate(pipes):
            if number == 0:
                dup2(pipe, place)
            close(pipe)
        if number == 0:
            return [word.decode(sys.getfilesystemencoding(), "surrogateescape") for word in words[1:].split(b"\0")]
        link.send(str(max(number, 0)).encode())
    _exit(0)


if __name__ == "__main__":
    main()

"""What can go wrong: who is at fault, what happened, what to do."""

from __future__ import annotations

__all__ = [
    "AriannError",
    "ClosedError",
    "DealerError",
    "DtypeError",
    "InputError",
    "MachineError",
    "OperatorError",
    "PeerError",
    "UnsupportedError",
]


class AriannError(Exception):
    """Something that AriaNN refused or could not do.

    Attributes:
        code: exit code of the program for this kind: 2 operator, 3 input, 4 peer, 5 dealer, 6 machine.
        fault: who is at fault, in a word.
        cause: what happened.
        remedy: what to do; empty where there is nothing to be said.
    """

    code: int = 1
    fault: str = "unknown"

    def __init__(self, text: str) -> None:
        super().__init__(text)
        cause, _, remedy = text.rpartition("; ")
        self.cause: str = cause or text
        self.remedy: str = remedy if cause else ""


class OperatorError(AriannError, ValueError):
    """An argument or a configuration of whoever calls."""

    code, fault = 2, "operator"


class ClosedError(OperatorError):
    """A role that was closed, or was never opened."""


class InputError(AriannError, ValueError):
    """The model or the data."""

    code, fault = 3, "input"


class DtypeError(InputError, TypeError):
    """An array or tensor whose elements are of another type than can be taken."""


class UnsupportedError(InputError):
    """Parts of a model that cannot be computed privately; the text names all of them."""


class PeerError(AriannError, RuntimeError):
    """The other party: it is not there, went away, or is not who it must be."""

    code, fault = 4, "peer"


class DealerError(AriannError, RuntimeError):
    """The dealer, or the material that it made."""

    code, fault = 5, "dealer"


class MachineError(AriannError, RuntimeError):
    """This machine: its disk, its system."""

    code, fault = 6, "machine"


_KINDS: dict[str, type[AriannError]] = {
    "unsupported": UnsupportedError,
    **{kind.fault: kind for kind in (OperatorError, InputError, PeerError, DealerError, MachineError)},
}


def of(kind: str, text: str) -> AriannError:
    """Return the exception for what the program says."""
    return _KINDS.get(kind, AriannError)(text)

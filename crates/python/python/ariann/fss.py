"""Function secret sharing on NumPy arrays.

A dealer makes two keys of a function with a secret point. Each party evaluates its key at a public point, alone, and
gets a share of the result; one key tells nothing about the secret point.

>>> import numpy as np, ariann
>>> k0, k1 = ariann.fss.comparison(alpha=np.array([5, 5, 5]), bits=32)
>>> x = np.array([4, 5, 6])
>>> k0.eval(x) ^ k1.eval(x)
array([1, 0, 0], dtype=uint8)

With random points, which nobody knows and the parties hold shares of:

>>> k0, k1 = ariann.fss.point(1000, bits=16, shares="uint64")
>>> alpha = (k0.alpha_shares() + k1.alpha_shares()) % 2**16
>>> int((k0.eval(alpha) + k1.eval(alpha)).sum())
1000

Semi-honest: whoever made the keys knows the points. A key may be evaluated at several points, but each share is a
pseudorandom function of its key: open two results of one key only if both may be known.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ariann import _ariann, _arrays
from ariann.errors import DtypeError, InputError, OperatorError

__all__ = ["Keys", "Shares", "comparison", "point"]

Shares = Literal["xor", "uint32", "uint64"]
"""Results: a bit for each party, to be xored, or a word, to be added modulo 2^32 or 2^64."""


class Keys:
    """One party's keys, one for each instance. Made by `comparison` and `point`, or read by `from_bytes`."""

    __slots__ = ("_keys",)

    def __init__(self, keys: _ariann.Keys) -> None:
        self._keys = keys

    @property
    def party(self) -> int:
        """Whose keys they are: 0 or 1."""
        return self._keys.party

    @property
    def bits(self) -> int:
        """Bits of the domain: points are below 2**bits."""
        return self._keys.bits

    @property
    def function(self) -> str:
        """Either 'less_than' (x < alpha) or 'equal' (x == alpha)."""
        return self._keys.function

    @property
    def shares(self) -> str:
        """What an evaluation gives: 'xor', 'uint32' or 'uint64'."""
        return self._keys.shares

    @property
    def nbytes(self) -> int:
        """Bytes of `to_bytes`."""
        return self._keys.nbytes

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._keys)

    def __repr__(self) -> str:
        """Tell what they are of, and no secret."""
        what = "x < alpha" if self.function == "less_than" else "x == alpha"
        size = f"{len(self)} keys, {self.nbytes:,} bytes"
        return f"<ariann.fss.Keys of P{self.party}: {what} on {self.bits} bits, {self.shares} shares, {size}>"

    def eval(self, x: npt.ArrayLike, *, threads: int | None = None) -> npt.NDArray[Any]:
        """Evaluate every key at its public point.

        Args:
            x: integers in [0, 2**bits), shape `(len(keys),)`; uint32 and uint64 are taken without a copy.
            threads: threads to use; all cores by default.

        Returns:
            The party's shares, shape `(len(keys),)`: uint8 zeros and ones, or uint32 or uint64.

        Raises:
            OperatorError: x has another length or a value outside the domain.
            DtypeError: x does not hold integers.
        """
        return self._keys.evaluate(_points(x, "x"), _threads(threads))

    def alpha_shares(self) -> npt.NDArray[np.uint64]:
        """Return the party's shares of the secret points; both parties' add up to them modulo 2**bits."""
        return self._keys.alpha_shares()

    def to_bytes(self) -> bytes:
        """Return the keys as bytes, to be sent to their party and to nobody else."""
        return self._keys.to_bytes()

    @staticmethod
    def from_bytes(data: bytes) -> Keys:
        """Read what `to_bytes` gave. Raises InputError where the bytes are something else."""
        return Keys(_ariann.Keys.from_bytes(data))


def comparison(
    count: int | None = None,
    *,
    bits: int = 32,
    alpha: npt.ArrayLike | None = None,
    shares: Shares = "xor",
    threads: int | None = None,
) -> tuple[Keys, Keys]:
    """Make both parties' keys of x < alpha, unsigned.

    Args:
        count: number of keys, for points that the system draws and nobody knows.
        bits: the domain is [0, 2**bits), 1 to 63.
        alpha: the secret points, integers of shape `(n,)`, in place of `count`.
        shares: what an evaluation gives; 'xor' has the smallest keys and is the fastest.
        threads: threads to use; all cores by default.

    Returns:
        P0's keys and P1's.

    Raises:
        OperatorError: neither or both of `count` and `alpha`, a domain or a point outside what there is.
    """
    return _generate("less_than", count, bits, alpha, shares, threads)


def point(
    count: int | None = None,
    *,
    bits: int = 32,
    alpha: npt.ArrayLike | None = None,
    shares: Shares = "xor",
    threads: int | None = None,
) -> tuple[Keys, Keys]:
    """Make both parties' keys of x == alpha. Arguments as for `comparison`."""
    return _generate("equal", count, bits, alpha, shares, threads)


def _generate(
    function: str,
    count: int | None,
    bits: int,
    alpha: npt.ArrayLike | None,
    shares: Shares,
    threads: int | None,
) -> tuple[Keys, Keys]:
    if (count is None) == (alpha is None):
        raise OperatorError("give either count, for random points, or alpha; not both, and not neither")
    if count is not None and count < 0:
        raise OperatorError(f"count {count}: give at least 0")
    if not 1 <= bits <= 63:
        raise OperatorError(f"bits {bits}: the domain has 1 to 63 bits; give one of these")
    points = None
    if alpha is not None:
        points = _points(alpha, "alpha").astype(np.uint64, copy=False)
    first, second = _ariann.generate(function, shares, bits, points, count or 0, _threads(threads))
    return Keys(first), Keys(second)


def _points(values: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{what} has shape {array.shape}; give one dimension, one point a key")
    if array.size == 0:
        return np.zeros(0, np.uint64)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"{what} has dtype {array.dtype}; give integers")
    if array.dtype.kind == "i" and int(array.min()) < 0:
        raise OperatorError(f"{what} has a negative value; the domain is unsigned: reduce it modulo 2**bits first")
    if array.dtype not in (np.uint32, np.uint64):
        array = array.astype(np.uint64)
    return np.ascontiguousarray(array)


def _threads(threads: int | None) -> int:
    return _arrays.threads_of(threads) or 0

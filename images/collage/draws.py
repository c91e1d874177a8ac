"""Chance that follows from a key alone: the same on every machine and in every version of Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A stream of numbers that a key decides.

    Args:
        key: What decides them.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._block, self._used, self._bytes = 0, 0, b""

    def unit(self) -> float:
        """Return the next number, from 0 to below 1."""
        if self._used + 4 > len(self._bytes):
            self._bytes = hashlib.blake2b(self._block.to_bytes(4, "big") + self._key).digest()
            self._block, self._used = self._block + 1, 0
        value = int.from_bytes(self._bytes[self._used : self._used + 4], "big")
        self._used += 4
        return value / 2**32

    def between(self, low: float, high: float) -> float:
        """Return a number from `low` to below `high`."""
        return low + (high - low) * self.unit()

    def chance(self, probability: float) -> bool:
        """Return `True` with a probability."""
        return self.unit() < probability

    def choice(self, options: Sequence[T]) -> T:
        """Return one of some options."""
        return options[int(self.unit() * len(options))]

"""What is loaded once for all who ask for it; the last few stay."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

M = TypeVar("M")
_KEPT = 4
_all: WeakSet[ModelCache[Any]] = WeakSet()
_parents: list[object] = []
"""What a forked process got from its parent. It stays: its locks may be held by threads that are not here."""


class ModelCache(Generic[M]):
    """Things by the arguments that made them. While one is being made, those who ask for others do not wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, _Place[M]] = OrderedDict()
        _all.add(self)

    def get(self, make: Callable[..., M], *arguments: Any) -> M:
        """What `make` makes of the arguments, made anew where it is not among the last four that were asked for."""
        key = repr((make, arguments))
        with self._lock:
            place = self._found.setdefault(key, _Place())
            self._found.move_to_end(key)
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        with place.lock:
            if place.made is None:
                place.made = make(*arguments)
            return place.made

    def has(self, make: Callable[..., M], *arguments: Any) -> bool:
        """Whether `get` would give it at once."""
        place = self._found.get(repr((make, arguments)))
        return place is not None and place.made is not None

    def forget(self) -> None:
        """Start anew: the threads of what was made are not in this process."""
        _parents.append(self._found)
        self._lock, self._found = threading.Lock(), OrderedDict()


class _Place(Generic[M]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.made: M | None = None


def _forget() -> None:
    for kept in list(_all):
        kept.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

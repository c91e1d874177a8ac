"""A cache of loaded models, shared by all callers in the process; it keeps the last few."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

M = TypeVar("M")
_MAX_MODELS = 4
_caches: WeakSet[ModelCache[Any]] = WeakSet()
_inherited_slots: list[object] = []
"""What a forked process inherited from its parent; never freed, because threads of the parent may hold its locks."""


class ModelCache(Generic[M]):
    """Models by the arguments they were loaded with. Loading one model does not block callers of another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: OrderedDict[str, _CacheSlot[M]] = OrderedDict()
        _caches.add(self)

    def get(self, load: Callable[..., M], *arguments: Any) -> M:
        """Return `load(*arguments)`, from the cache if it is among the last four models that were requested."""
        key = repr((load, arguments))  # arguments may be dicts, which cannot be hashed
        with self._lock:
            slot = self._slots.setdefault(key, _CacheSlot())
            self._slots.move_to_end(key)
            while len(self._slots) > _MAX_MODELS:
                self._slots.popitem(last=False)
        with slot.lock:
            if slot.model is None:
                slot.model = load(*arguments)
            return slot.model

    def has(self, load: Callable[..., M], *arguments: Any) -> bool:
        """Return whether `get` would return without loading."""
        slot = self._slots.get(repr((load, arguments)))
        return slot is not None and slot.model is not None

    def reset_after_fork(self) -> None:
        """Empty the cache in a forked process, where the models' threads do not exist."""
        _inherited_slots.append(self._slots)
        self._lock, self._slots = threading.Lock(), OrderedDict()


class _CacheSlot(Generic[M]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.model: M | None = None


def _reset_caches() -> None:
    for cache in list(_caches):
        cache.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_caches)

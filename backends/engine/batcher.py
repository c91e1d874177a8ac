"""Callers at the same time share a model that answers each text in one go: their texts are run in batches by length."""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, TypeVar

from taleward.core.errors import BackendError

WAITING = 100_000
"""Texts that may wait; more are refused."""
_SEEN = 1024
"""Among so many, from the one that waits longest on, those of like length are looked for."""
_LAST_RUN_S = 5.0
"""How long the end of the process waits for the batch that is being run."""

R = TypeVar("R")


class _Item(NamedTuple):
    tokens: Sequence[int]
    key: Hashable
    future: Future[Any]


class Batcher(Generic[R]):
    """Runs token lists in batches on one thread; the thread ends when nobody holds the batcher.

    Args:
        run: From token lists, which go together, and a key to one result a list. It must not know the batcher's owner.
        max_batch: Lists in a batch, at most.
        room: Tokens in a batch, padding included, unless one list alone has more.
    """

    def __init__(
        self, run: Callable[[list[Sequence[int]], Any], Sequence[R]], *, max_batch: int = 64, room: int = 8192
    ):
        self._line = _Line(run, max_batch, room)
        self._started = False
        self._lock = threading.Lock()
        weakref.finalize(self, self._line.end)

    def run(self, lists: Sequence[Sequence[int]], key: Hashable = None) -> list[R]:
        """The results, in the order of the lists; only lists of equal keys go together.

        Raises:
            BackendError: Too many are waiting, or the model failed.
        """
        futures = self._enter(lists, key)
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    async def arun(self, lists: Sequence[Sequence[int]], key: Hashable = None) -> list[R]:
        """As `run`, without blocking the event loop; a cancelled caller's texts are not run any more."""
        futures = self._enter(lists, key)
        try:
            return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))
        finally:
            for future in futures:
                future.cancel()

    def _enter(self, lists: Sequence[Sequence[int]], key: Hashable) -> list[Future[R]]:
        with self._lock:
            if not self._started:
                self._started = True
                self._line.start(threading.Thread(target=self._line.work, daemon=True, name="taleward-batcher"))
                atexit.register(self._line.stop)
        items = [_Item(tokens, key, Future()) for tokens in lists]
        self._line.join(items)
        return [item.future for item in items]


class _Line:
    """Those who wait, and the thread that serves them; it knows no batcher, so that a batcher can be forgotten."""

    def __init__(self, run: Callable[[list[Sequence[int]], Any], Sequence[Any]], max_batch: int, room: int) -> None:
        self._run, self._most, self._room = run, max_batch, room
        self._waiting: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self, thread: threading.Thread) -> None:
        self._thread = thread
        thread.start()

    def stop(self) -> None:
        """For the end of the process: a thread that is killed within a run takes the process down with it."""
        self._stopped = True
        self.end()
        if self._thread:
            self._thread.join(_LAST_RUN_S)

    def join(self, items: Sequence[_Item]) -> None:
        with self._changed:
            if len(self._waiting) + len(items) > WAITING:
                raise BackendError(
                    f"{len(self._waiting)} texts wait for this model already; {WAITING} may.",
                    hint="Ask for fewer at once, or again later.",
                    retryable=True,
                )
            self._waiting.extend(items)
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def work(self) -> None:
        while not self._stopped and (batch := self._next()) is not None:
            batch = [item for item in batch if item.future.set_running_or_notify_cancel()]
            try:
                results = self._run([item.tokens for item in batch], batch[0].key) if batch else []
            except Exception as error:  # noqa: BLE001  each caller gets it
                for item in batch:
                    item.future.set_exception(error if isinstance(error, BackendError) else _failed(error))
            else:
                for item, result in zip(batch, results, strict=True):
                    item.future.set_result(result)
            del batch

    def _next(self) -> list[_Item] | None:
        """The one that waits longest, and those nearest to its length that fit beside it."""
        with self._changed:
            while not self._waiting:
                if self._ended:
                    return None
                self._changed.wait()
            first = self._waiting[0]
            seen = [self._waiting.popleft() for _ in range(min(len(self._waiting), _SEEN))]
            like = sorted(
                (item for item in seen if item.key == first.key),
                key=lambda item: (item is not first, abs(len(item.tokens) - len(first.tokens))),
            )
            batch: list[_Item] = []
            longest = 1
            for item in like[: self._most]:
                longest = max(longest, len(item.tokens))
                if batch and longest * (len(batch) + 1) > self._room:
                    break
                batch.append(item)
            taken = set(map(id, batch))
            self._waiting.extendleft(item for item in reversed(seen) if id(item) not in taken)
            return batch


def _failed(error: Exception) -> BackendError:
    failure = BackendError(f"the model failed: {error}")
    failure.__cause__ = error
    return failure

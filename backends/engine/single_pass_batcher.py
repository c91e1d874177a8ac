"""Dynamic batching for models that process a whole text in one forward pass (encoders, classifiers, seq2seq).

Concurrent callers share one model. Their token lists are grouped by length, so that little of a batch is padding.
"""

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

MAX_WAITING = 100_000
"""Maximum number of texts in the queue; further ones are rejected."""
_LOOKAHEAD = 1024
"""How far down the queue to look for texts of similar length; bounds the cost of sorting a long queue."""
_SHUTDOWN_TIMEOUT_S = 5.0
"""How long interpreter shutdown waits for the running batch."""

R = TypeVar("R")


class _QueuedInput(NamedTuple):
    tokens: Sequence[int]
    key: Hashable
    future: Future[Any]


class Batcher(Generic[R]):
    """Run token lists in batches on one background thread, which ends when the batcher is garbage-collected.

    Args:
        run: Function from the token lists of one batch and their key to one result per list. It must not hold a
            reference to the batcher's owner, or neither would ever be collected.
        max_batch: Maximum number of lists in a batch.
        max_batch_tokens: Maximum number of tokens in a batch, padding included; a longer list runs alone.
    """

    def __init__(
        self,
        run: Callable[[list[Sequence[int]], Any], Sequence[R]],
        *,
        max_batch: int = 64,
        max_batch_tokens: int = 8192,
    ) -> None:
        self._queue = _BatchQueue(run, max_batch, max_batch_tokens)
        self._started = False
        self._lock = threading.Lock()
        weakref.finalize(self, self._queue.close)

    def run(self, lists: Sequence[Sequence[int]], key: Hashable = None) -> list[R]:
        """Run token lists and return their results in the same order.

        Args:
            lists: Token lists.
            key: Only lists with equal keys share a batch, for example because the key holds generation settings.

        Raises:
            BackendError: If the queue is full or the model fails.
        """
        futures = self._submit(lists, key)
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    async def arun(self, lists: Sequence[Sequence[int]], key: Hashable = None) -> list[R]:
        """Async version of `run`; lists of a canceled caller are dropped from the queue."""
        futures = self._submit(lists, key)
        try:
            return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))
        finally:
            for future in futures:
                future.cancel()

    def _submit(self, lists: Sequence[Sequence[int]], key: Hashable) -> list[Future[R]]:
        with self._lock:
            if not self._started:
                self._started = True
                self._queue.start(
                    threading.Thread(target=self._queue.run_batches, daemon=True, name="taleward-batcher")
                )
                atexit.register(self._queue.shutdown)
        inputs = [_QueuedInput(tokens, key, Future()) for tokens in lists]
        self._queue.put(inputs)
        return [each.future for each in inputs]


class _BatchQueue:
    """The waiting inputs and the thread that runs them.

    It holds no reference to its batcher: the thread would otherwise keep the batcher, and its model, alive forever.
    """

    def __init__(
        self, run: Callable[[list[Sequence[int]], Any], Sequence[Any]], max_batch: int, max_batch_tokens: int
    ) -> None:
        self._run, self._max_batch, self._max_batch_tokens = run, max_batch, max_batch_tokens
        self._waiting: deque[_QueuedInput] = deque()
        self._changed = threading.Condition()
        self._closed = self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self, thread: threading.Thread) -> None:
        self._thread = thread
        thread.start()

    def shutdown(self) -> None:
        """Stop after the running batch; a thread killed inside native code at exit crashes the interpreter."""
        self._stopped = True
        self.close()
        if self._thread:
            self._thread.join(_SHUTDOWN_TIMEOUT_S)

    def put(self, inputs: Sequence[_QueuedInput]) -> None:
        with self._changed:
            if len(self._waiting) + len(inputs) > MAX_WAITING:
                raise BackendError(
                    f"cannot queue {len(inputs)} more texts for this model: {len(self._waiting)} of at most "
                    f"{MAX_WAITING} are waiting.",
                    hint="Send fewer texts at once, or try again later.",
                    retryable=True,
                )
            self._waiting.extend(inputs)
            self._changed.notify()

    def close(self) -> None:
        """Let the thread end once the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run_batches(self) -> None:
        while not self._stopped and (batch := self._next_batch()) is not None:
            batch = [each for each in batch if each.future.set_running_or_notify_cancel()]
            try:
                results = self._run([each.tokens for each in batch], batch[0].key) if batch else []
            except Exception as error:  # noqa: BLE001  every caller in the batch receives it
                for each in batch:
                    each.future.set_exception(error if isinstance(error, BackendError) else _model_failure(error))
            else:
                for each, result in zip(batch, results, strict=True):
                    each.future.set_result(result)
            # Else the last batch's tokens and results stay in memory while the thread waits for the next one.
            del batch

    def _next_batch(self) -> list[_QueuedInput] | None:
        """Return the input that has waited longest, with those closest to its length that fit beside it.

        The oldest input is always in the batch, so that an unusual length cannot wait forever.
        """
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            oldest = self._waiting[0]
            window = [self._waiting.popleft() for _ in range(min(len(self._waiting), _LOOKAHEAD))]
            candidates = sorted(
                (each for each in window if each.key == oldest.key),
                key=lambda each: (each is not oldest, abs(len(each.tokens) - len(oldest.tokens))),
            )
            batch: list[_QueuedInput] = []
            longest = 1
            for each in candidates[: self._max_batch]:
                longest = max(longest, len(each.tokens))
                if batch and longest * (len(batch) + 1) > self._max_batch_tokens:
                    break
                batch.append(each)
            batched = set(map(id, batch))
            self._waiting.extendleft(each for each in reversed(window) if id(each) not in batched)
            return batch


def _model_failure(error: Exception) -> BackendError:
    failure = BackendError(f"the model failed: {error}")
    failure.__cause__ = error
    return failure

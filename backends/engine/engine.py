"""Callers at the same time share a model: waiting requests join the batch at work, finished ones leave it."""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from taleward.backends.engine.grammar import Vocabulary
from taleward.backends.engine.request import AsyncTokenSequence, GenerationRequest, SyncTokenSequence, TokenSequence
from taleward.backends.engine.sampling import Sampler
from taleward.core.errors import BackendError

WAITING = 10_000
"""Requests that may wait for a place; one more is refused."""

_PROMPT_TOKENS = 1024
"""Prompt tokens, padding included, that join a batch at once: those at work wait meanwhile."""

_MOMENT_S = 0.001
"""How long an idle replica waits for a further caller."""
_LAST_STEP_S = 5.0
"""How long the end of the process waits for the step that a replica is at."""


class DecodingBatch(Protocol):
    """Texts under way in a network, one a row; see `LlamaBatch` and `TorchBatch`."""

    @property
    def max_batch(self) -> int: ...  # noqa: D102
    @property
    def room(self) -> int:
        """Tokens that all rows may hold together, each counted as long as the longest; one row is always taken."""

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        """Read new tokens into rows; logits behind each row's last one, shape (rows, vocabulary)."""

    def move(self, row: int, to: int, length: int) -> None:
        """Put a row of so many tokens in the place of another."""

    def rest(self) -> None:
        """There are no rows; give back memory that is worth it."""


T = TypeVar("T", bound=TokenSequence)


class Engine:
    """Continuous batching (Yu et al. 2022, Orca): each replica's thread advances all its texts, token by token.

    Requests are taken in the order in which they came. What a request gives does not depend on the others, up to the
    rounding of sums in batches of another size. The threads end when nobody holds the engine.

    Args:
        replicas: Each works in a daemon thread of its own, from the first request on.
        ends: The tokens that end a text.
        vocabulary: Makes what grammars need, on first use.
    """

    def __init__(
        self,
        replicas: Sequence[DecodingBatch],
        *,
        ends: Collection[int],
        vocabulary: Callable[[], Vocabulary] | None = None,
    ) -> None:
        self._line = _Line(ends, len(replicas))
        self._replicas, self._started = replicas, False
        self._make_vocabulary = vocabulary
        self._vocabulary: Vocabulary | None = None
        self._lock = threading.Lock()
        weakref.finalize(self, self._line.end)

    def open(self, order: GenerationRequest) -> SyncTokenSequence:
        """A text that gives each token as soon as it is there.

        Raises:
            BackendError: Too many requests are waiting, or there is no room for what the grammar needs.
        """
        return self._enter(SyncTokenSequence(order, self._sampler(order), each=True))

    async def aopen(self, order: GenerationRequest) -> AsyncTokenSequence:
        """As `open`, without blocking the event loop."""
        return self._enter(AsyncTokenSequence(order, await self._asampler(order), each=True))

    def write(self, order: GenerationRequest) -> TokenSequence:
        """All of a text: its caller is woken once."""
        with self._enter(SyncTokenSequence(order, self._sampler(order), each=False)) as text:
            for _ in text:
                pass
        return text

    async def awrite(self, order: GenerationRequest) -> TokenSequence:
        """As `write`, without blocking the event loop."""
        async with self._enter(AsyncTokenSequence(order, await self._asampler(order), each=False)) as text:
            async for _ in text:
                pass
        return text

    def _sampler(self, order: GenerationRequest) -> Sampler:
        matcher = None
        if order.grammar is not None:
            with self._lock:
                if self._vocabulary is None:
                    if self._make_vocabulary is None:
                        raise BackendError("this model cannot follow a grammar: its tokenizer tells no text.")
                    self._vocabulary = self._make_vocabulary()
                known = self._vocabulary
            matcher = known.matcher(order.grammar, order.max_tokens)
        return Sampler(order.sampling, order.seed, order.prompt, matcher, order.logprobs)

    async def _asampler(self, order: GenerationRequest) -> Sampler:
        return await asyncio.to_thread(self._sampler, order) if order.grammar else self._sampler(order)

    def _enter(self, text: T) -> T:
        with self._lock:
            if not self._started:
                self._started = True
                for number, rows in enumerate(self._replicas):
                    name = f"taleward-engine-{number}"
                    self._line.start(threading.Thread(target=self._line.work, args=(rows,), daemon=True, name=name))
                atexit.register(self._line.stop)
        self._line.join(text)
        return text


class _Line:
    """Those who wait, and the threads that serve them; it knows no engine, so that an engine can be forgotten."""

    def __init__(self, ends: Collection[int], replicas: int) -> None:
        self._ends, self._replicas = ends, replicas
        self._waiting: deque[TokenSequence] = deque()
        self._changed = threading.Condition()
        self._running = 0
        self._ended = self._stopped = False
        self._threads: list[threading.Thread] = []

    def start(self, thread: threading.Thread) -> None:
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """For the end of the process: a thread that is killed within a step takes the process down with it."""
        self._stopped = True
        self.end()
        for thread in self._threads:
            thread.join(_LAST_STEP_S)

    def join(self, text: TokenSequence) -> None:
        with self._changed:
            if len(self._waiting) >= WAITING:
                self._waiting = deque(t for t in self._waiting if not t.closed)
            if len(self._waiting) >= WAITING:
                raise BackendError(
                    f"{WAITING} requests wait for this model already.",
                    hint="Ask again later, or for fewer at once: batch(..., config={'max_concurrency': 64}).",
                    retryable=True,
                )
            self._waiting.append(text)
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def work(self, rows: DecodingBatch) -> None:
        running: list[TokenSequence] = []
        while not self._stopped and (arrived := self._arrived(rows, running)) is not None:
            before = len(running) + len(arrived)
            try:
                # Those at work go on also while new ones keep coming.
                if running:
                    self._step(rows, running, 0, running, [t.tokens[-1:] for t in running])
                if arrived:
                    self._step(rows, running, len(running), arrived, [t.tokens for t in arrived])
            except Exception as error:  # noqa: BLE001  each caller gets it
                for text in (*running, *(t for t in arrived if t not in running)):
                    text.fail(error)
                running.clear()
            with self._changed:
                self._running -= before - len(running)

    def _arrived(self, rows: DecodingBatch, running: Sequence[TokenSequence]) -> list[TokenSequence] | None:
        """Who joins now; waits while there is nothing to do. A replica takes no more than its share of all texts."""
        with self._changed:
            if not running and not self._waiting:
                rows.rest()
            while not running and not self._waiting:
                if self._ended:
                    return None
                self._changed.wait()
            if not running:
                self._gather(rows.max_batch)
            share = min(rows.max_batch, -(-(self._running + len(self._waiting)) // self._replicas))
            arrived: list[TokenSequence] = []
            reach = max((_reach(t) for t in running), default=0)
            longest = 0
            while self._waiting and len(running) + len(arrived) < share:
                first = self._waiting[0]
                if first.closed:
                    self._waiting.popleft()
                    continue
                longest, reach = max(longest, len(first.tokens)), max(reach, _reach(first))
                many = len(running) + len(arrived)
                if many and reach * (many + 1) > rows.room:
                    break
                if arrived and longest * (len(arrived) + 1) > _PROMPT_TOKENS:
                    break
                arrived.append(self._waiting.popleft())
            self._running += len(arrived)
            return arrived

    def _gather(self, max_batch: int) -> None:
        """Those who ask at the same time do so within moments of each other: one batch is faster than many joins."""
        before = 0
        while before < len(self._waiting) < max_batch * self._replicas:
            before = len(self._waiting)
            self._changed.wait(_MOMENT_S)

    def _step(
        self,
        rows: DecodingBatch,
        running: list[TokenSequence],
        first: int,
        texts: Sequence[TokenSequence],
        new: Sequence[Sequence[int]],
    ) -> None:
        """One token for each of the texts; those that arrived become rows, those that ended leave."""
        logits = rows.advance(first, new, [len(t.tokens) for t in texts])
        if first == len(running):
            running.extend(texts)
        for text, row in zip(list(texts), logits, strict=True):
            if not text.closed:
                text.take(row, self._ends)
        for number in reversed(range(len(running))):
            text = running[number]
            if not text.closed:
                continue
            text.leave()
            last = running.pop()
            if last is not text:
                rows.move(len(running), number, len(last.tokens))
                running[number] = last


def _reach(text: TokenSequence) -> int:
    return len(text.order.prompt) + text.order.max_tokens

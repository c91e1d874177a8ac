"""Callers at the same time share a model: waiting requests join the batch at work, finished ones leave it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from taleward.backends.sampling import Sampler, Sampling
from taleward.core.errors import BackendError

WAITING = 10_000
"""Requests that may wait for a place; one more is refused."""

_PROMPT_TOKENS = 1024
"""Prompt tokens, padding included, that join a batch at once: those at work wait meanwhile."""

Answer = int | None | Exception
"""A token; `None` at the end; or what went wrong."""


class Rows(Protocol):
    """Texts under way in a network, one a row; see `LlamaRows`."""

    @property
    def most(self) -> int: ...  # noqa: D102

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        """Read new tokens into rows; logits behind each row's last one, shape (rows, vocabulary)."""

    def move(self, row: int, to: int, length: int) -> None:
        """Put a row of so many tokens in the place of another."""


@dataclass(eq=False)
class _Request:
    """A text under way."""

    tokens: list[int]
    sampler: Sampler
    left: int
    give: Callable[[Answer], None]
    left_by_caller: bool = field(default=False)


class Engine:
    """Continuous batching (Yu et al. 2022, Orca): each replica's thread advances all its texts, token by token.

    Requests are taken in the order in which they came. What a request gives does not depend on the others, up to the
    rounding of sums in batches of another size.

    Args:
        replicas: Each works in a daemon thread of its own.
        end: The token that ends a text.
    """

    def __init__(self, replicas: Sequence[Rows], *, end: int) -> None:
        self._end = end
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._running = 0
        self._replicas = len(replicas)
        for number, rows in enumerate(replicas):
            name = f"taleward-engine-{number}"
            threading.Thread(target=self._work, args=(rows,), daemon=True, name=name).start()

    def write(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> list[int]:
        """All tokens after the prompt, up to the end token (not given out) or `most` of them.

        Raises:
            BackendError: Too many requests are waiting.
        """
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        request = self._enter(prompt, sampling, seed, most, _only_ends(answers.put))
        try:
            _check(answers.get())
        finally:
            request.left_by_caller = True
        return request.tokens[len(prompt) :]

    async def awrite(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> list[int]:
        """As `write`, without blocking the event loop."""
        answers, give = _async_queue()
        request = self._enter(prompt, sampling, seed, most, _only_ends(give))
        try:
            _check(await answers.get())
        finally:
            request.left_by_caller = True
        return request.tokens[len(prompt) :]

    def tokens(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> Iterator[int]:
        """As `write`, each token as soon as it is there; closing the iterator frees its place in the batch."""
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        request = self._enter(prompt, sampling, seed, most, answers.put)
        try:
            while (answer := answers.get()) is not None:
                yield _check(answer)
        finally:
            request.left_by_caller = True

    async def atokens(
        self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int
    ) -> AsyncIterator[int]:
        """As `tokens`, without blocking the event loop."""
        answers, give = _async_queue()
        request = self._enter(prompt, sampling, seed, most, give)
        try:
            while (answer := await answers.get()) is not None:
                yield _check(answer)
        finally:
            request.left_by_caller = True

    def _enter(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        seed: int | None,
        most: int,
        give: Callable[[Answer], None],
    ) -> _Request:
        request = _Request(list(prompt), Sampler(sampling, seed, prompt), most, give)
        with self._changed:
            if len(self._waiting) >= WAITING:
                raise BackendError(
                    f"{WAITING} requests wait for this model already.",
                    hint="Ask again later, or for fewer at once: batch(..., config={'max_concurrency': 64}).",
                )
            self._waiting.append(request)
            self._changed.notify()
        return request

    def _work(self, rows: Rows) -> None:
        running: list[_Request] = []
        while True:
            arrived = self._arrived(rows.most, running)
            before = len(running) + len(arrived)
            try:
                if arrived:
                    self._step(rows, running, len(running), arrived, [r.tokens for r in arrived])
                elif running:
                    self._step(rows, running, 0, running, [r.tokens[-1:] for r in running])
            except Exception as error:  # noqa: BLE001  each caller gets it
                for request in (*running, *(r for r in arrived if r not in running)):
                    request.give(error)
                running.clear()
            with self._changed:
                self._running -= before - len(running)

    def _arrived(self, most: int, running: Sequence[_Request]) -> list[_Request]:
        """Who joins now; waits while there is nothing to do. A replica takes no more than its share of all texts."""
        with self._changed:
            while not running and not self._waiting:
                self._changed.wait()
            share = -(-(self._running + len(self._waiting)) // self._replicas)
            arrived: list[_Request] = []
            longest = 0
            while self._waiting and len(running) + len(arrived) < min(share, most):
                longest = max(longest, len(self._waiting[0].tokens))
                if arrived and longest * (len(arrived) + 1) > _PROMPT_TOKENS:
                    break
                request = self._waiting.popleft()
                if not request.left_by_caller:
                    arrived.append(request)
            self._running += len(arrived)
            return arrived

    def _step(
        self,
        rows: Rows,
        running: list[_Request],
        first: int,
        requests: Sequence[_Request],
        new: Sequence[Sequence[int]],
    ) -> None:
        """One token for each of the requests; those that arrived become rows, those that ended leave."""
        logits = rows.advance(first, new, [len(r.tokens) for r in requests])
        if first == len(running):
            running.extend(requests)
        for request, row in zip(list(requests), logits, strict=True):
            token = request.sampler.choose(row)
            if token == self._end:
                request.left = 0
                continue
            request.tokens.append(token)
            request.left -= 1
            request.give(token)
        for number in reversed(range(len(running))):
            request = running[number]
            if request.left > 0 and not request.left_by_caller:
                continue
            request.give(None)
            last = running.pop()
            if last is not request:
                rows.move(len(running), number, len(last.tokens))
                running[number] = last


def _check(answer: Answer) -> int:
    if isinstance(answer, Exception):
        raise answer
    return answer or 0


def _only_ends(give: Callable[[Answer], None]) -> Callable[[Answer], None]:
    """Tokens stay with the request: a caller who wants all of them is woken once."""

    def end(answer: Answer) -> None:
        if answer is None or isinstance(answer, Exception):
            give(answer)

    return end


def _async_queue() -> tuple[asyncio.Queue[Answer], Callable[[Answer], None]]:
    """A queue, and how another thread puts something into it."""
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[Answer] = asyncio.Queue()

    def give(answer: Answer) -> None:
        if not loop.is_closed():  # its caller is gone
            loop.call_soon_threadsafe(answers.put_nowait, answer)

    return answers, give

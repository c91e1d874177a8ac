"""A text that is being written for a caller: what was asked for, and how its tokens come."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from taleward.backends.engine.sampling import Sampler, Sampling, Score
from taleward.core.errors import BackendError, DeadlineExceeded

Answer = int | None | Exception
"""A token; `None` at the end; or what went wrong."""


@dataclass(frozen=True)
class GenerationRequest:
    """A text that is asked for.

    Attributes:
        prompt: Tokens to go on from.
        sampling: How tokens are drawn.
        seed: The same seed draws the same; `None` draws one.
        max_tokens: Tokens to write at most, from 1 up.
        grammar: What the text must follow, see `compile_grammar`.
        logprobs: How many of the likeliest tokens are scored beside each that is chosen; `None` scores none.
        deadline: When the caller gives up, by `time.monotonic()`.
    """

    prompt: Sequence[int]
    sampling: Sampling
    seed: int | None
    max_tokens: int
    grammar: str | None = None
    logprobs: int | None = None
    deadline: float | None = None


class TokenSequence:
    """A text that is being written for a caller, who leaves by closing it.

    Attributes:
        written: The tokens so far, without the end token.
        ended: Whether the model or the grammar ended it, and not the limit.
    """

    def __init__(self, order: GenerationRequest, sampler: Sampler, give: Callable[[Answer], None]) -> None:
        self.tokens = list(order.prompt)
        self.written: list[int] = []
        self.ended = self.closed = False
        self.order, self.sampler, self._give = order, sampler, give

    @property
    def scores(self) -> list[Score]:
        """One for each token written, where they were asked for; there may be one more, for the end token."""
        return self.sampler.scores

    def close(self) -> None:
        """Leave; its place in the batch becomes free."""
        self.closed = True

    def take(self, logits: Any, ends: Collection[int]) -> None:
        """Choose the next token, and say so; for the engine."""
        try:
            token = self.sampler.choose(logits, self.order.max_tokens - len(self.written))
        except Exception as error:  # noqa: BLE001  its caller gets it, the others in the batch go on
            self.fail(error)
            return
        if token not in ends:
            self.tokens.append(token)
            self.written.append(token)
            self._give(token)
        self.ended = token in ends or self.sampler.complete
        if self.ended or len(self.written) >= self.order.max_tokens:
            self.close()

    def leave(self) -> None:
        """The last the caller hears; for the engine."""
        self._give(None)

    def fail(self, error: Exception) -> None:
        """Something went wrong; for the engine."""
        self.closed = True
        self._give(error)

    def _next(self, answer: Answer) -> int | None:
        if isinstance(answer, BackendError):
            raise answer
        if isinstance(answer, Exception):
            raise BackendError(f"the model failed while it was writing: {answer}") from answer
        return answer

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"the time was up after {len(self.written)} of up to {self.order.max_tokens} tokens.",
            hint="Give a longer timeout, a lower max_tokens, or ask for less at once.",
        )

    def _left(self) -> float | None:
        return None if self.order.deadline is None else max(0.0, self.order.deadline - time.monotonic())


class SyncTokenSequence(TokenSequence):
    """For a caller in a thread: iterate, or `wait` for all of it."""

    def __init__(self, order: GenerationRequest, sampler: Sampler, *, each: bool) -> None:
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        super().__init__(order, sampler, self._answers.put if each else _only_ends(self._answers.put))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[int]:
        while True:
            try:
                answer = self._answers.get(timeout=self._left())
            except queue.Empty:
                raise self._late() from None
            if (token := self._next(answer)) is None:
                return
            yield token


class AsyncTokenSequence(TokenSequence):
    """For a caller on an event loop: iterate, or `wait` for all of it."""

    def __init__(self, order: GenerationRequest, sampler: Sampler, *, each: bool) -> None:
        self._answers, give = _async_queue()
        super().__init__(order, sampler, give if each else _only_ends(give))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[int]:
        while True:
            try:
                async with asyncio.timeout(self._left()):
                    answer = await self._answers.get()
            except TimeoutError:
                raise self._late() from None
            if (token := self._next(answer)) is None:
                return
            yield token


def _only_ends(give: Callable[[Answer], None]) -> Callable[[Answer], None]:
    """Tokens stay with the text: a caller who wants all of them is woken once."""

    def end(answer: Answer) -> None:
        if answer is None or isinstance(answer, Exception):
            give(answer)

    return end


def _async_queue() -> tuple[asyncio.Queue[Answer], Callable[[Answer], None]]:
    """A queue, and how another thread puts something into it."""
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[Answer] = asyncio.Queue()

    def give(answer: Answer) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: its caller is gone
            loop.call_soon_threadsafe(answers.put_nowait, answer)

    return answers, give

"""Generation requests, and the token sequences through which callers receive the result."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from taleward.backends.engine.sampling import Sampler, Sampling, TokenLogprob
from taleward.core.errors import BackendError, DeadlineExceeded

TokenEvent = int | None | Exception
"""What the engine sends a caller: a token, `None` at the end, or the error that ended generation."""


@dataclass(frozen=True)
class GenerationRequest:
    """A request to generate text.

    Attributes:
        prompt: Tokens of the prompt.
        sampling: How tokens are sampled; its `max_tokens` does not apply here.
        seed: Equal seeds give equal samples; `None` picks a random seed.
        max_tokens: Maximum number of tokens to generate, at least 1.
        grammar: The grammar that the text must follow, from `compile_grammar`.
        logprobs: How many of the most likely tokens to report with each generated token's log-probability; 0 reports
            the generated token's alone, `None` nothing.
        deadline: When the caller gives up, in seconds of `time.monotonic()`.
    """

    prompt: Sequence[int]
    sampling: Sampling
    seed: int | None
    max_tokens: int
    grammar: str | None = None
    logprobs: int | None = None
    deadline: float | None = None


class TokenSequence:
    """A sequence that the engine is generating; closing it cancels the rest.

    Attributes:
        request: The request.
        tokens: Tokens of the prompt and those generated so far.
        written: Tokens generated so far, without the end token.
        ended: Whether the model or the grammar ended the text, rather than `max_tokens`.
        closed: Whether generation is over: the text ended, failed, or the caller closed it.
    """

    def __init__(self, request: GenerationRequest, sampler: Sampler, emit: Callable[[TokenEvent], None]) -> None:
        self.tokens = list(request.prompt)
        self.written: list[int] = []
        self.ended = self.closed = False
        self.request, self._sampler, self._emit = request, sampler, emit

    @property
    def logprobs(self) -> list[TokenLogprob]:
        """One per generated token if the request asks for them; possibly one more, for the end token."""
        return self._sampler.logprobs

    def close(self) -> None:
        """Cancel generation and free the sequence's place in the batch."""
        self.closed = True

    def sample(self, logits: Any, eos_token_ids: Collection[int]) -> None:
        """Sample the next token and send it to the caller; called by the engine."""
        try:
            token = self._sampler.choose(logits, self.request.max_tokens - len(self.written))
        except Exception as error:  # noqa: BLE001  only this caller receives it; the rest of the batch goes on
            self.fail(error)
            return
        if token not in eos_token_ids:
            self.tokens.append(token)
            self.written.append(token)
            self._emit(token)
        self.ended = token in eos_token_ids or self._sampler.complete
        if self.ended or len(self.written) >= self.request.max_tokens:
            self.close()

    def finish(self) -> None:
        """Send the end of the sequence to the caller; called by the engine."""
        self._emit(None)

    def fail(self, error: Exception) -> None:
        """Send an error to the caller; called by the engine."""
        self.closed = True
        self._emit(error)

    def _token_from(self, event: TokenEvent) -> int | None:
        if isinstance(event, BackendError):
            raise event
        if isinstance(event, Exception):
            raise BackendError(f"generation failed: {event}") from event
        return event

    def _deadline_exceeded(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"deadline exceeded after {len(self.written)} of up to {self.request.max_tokens} tokens.",
            hint="Use a longer timeout or a lower max_tokens, or send fewer requests at once.",
        )

    def _remaining_s(self) -> float | None:
        return None if self.request.deadline is None else max(0.0, self.request.deadline - time.monotonic())


class SyncTokenSequence(TokenSequence):
    """A token sequence for a caller in a thread: iterate over its tokens inside a `with` block.

    Args:
        request: The request.
        sampler: Samples its tokens.
        per_token: Whether iteration yields each token; otherwise it yields none and ends with the sequence.
    """

    def __init__(self, request: GenerationRequest, sampler: Sampler, *, per_token: bool) -> None:
        self._events: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
        super().__init__(request, sampler, self._events.put if per_token else _without_tokens(self._events.put))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[int]:
        while True:
            try:
                event = self._events.get(timeout=self._remaining_s())
            except queue.Empty:
                raise self._deadline_exceeded() from None
            if (token := self._token_from(event)) is None:
                return
            yield token


class AsyncTokenSequence(TokenSequence):
    """A token sequence for a caller on an event loop: iterate over its tokens inside an `async with` block.

    Args:
        request: The request.
        sampler: Samples its tokens.
        per_token: Whether iteration yields each token; otherwise it yields none and ends with the sequence.
    """

    def __init__(self, request: GenerationRequest, sampler: Sampler, *, per_token: bool) -> None:
        self._events, emit = _async_queue()
        super().__init__(request, sampler, emit if per_token else _without_tokens(emit))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[int]:
        while True:
            try:
                async with asyncio.timeout(self._remaining_s()):
                    event = await self._events.get()
            except TimeoutError:
                raise self._deadline_exceeded() from None
            if (token := self._token_from(event)) is None:
                return
            yield token


def _without_tokens(emit: Callable[[TokenEvent], None]) -> Callable[[TokenEvent], None]:
    """Pass on only the end or an error, so that a caller who wants the whole text is woken once."""

    def emit_end(event: TokenEvent) -> None:
        if event is None or isinstance(event, Exception):
            emit(event)

    return emit_end


def _async_queue() -> tuple[asyncio.Queue[TokenEvent], Callable[[TokenEvent], None]]:
    """Create a queue on the running event loop, and a function that fills it from another thread."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[TokenEvent] = asyncio.Queue()

    def emit(event: TokenEvent) -> None:
        with contextlib.suppress(RuntimeError):  # a closed loop has no caller left to tell
            loop.call_soon_threadsafe(events.put_nowait, event)

    return events, emit

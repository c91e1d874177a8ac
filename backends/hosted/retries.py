"""Attempts at a call: in line with others, in time, and again where that may help."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from taleward.backends.hosted.errors import headers_of, map_vendor_error, retry_after
from taleward.backends.hosted.rate_limits import Pace
from taleward.core.errors import BackendError, ConfigurationError, DeadlineExceeded, RateLimited

T = TypeVar("T")
_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_CLOSE_S = 0.01


@dataclass(frozen=True)
class Terms:
    """How a hosted model is called.

    Attributes:
        concurrency: Calls at the same time, at most; others wait in line.
        max_retries: How many times a call is made again where that may help.
        timeout_s: Seconds for one attempt, and between two pieces of a stream.
        total_timeout_s: Seconds for everything: waiting, attempts, and the whole of a stream.
        hedge_s: Seconds after which a call without an answer is made a second time beside the first; the first answer
            counts, and both are paid for. `None` never does.
    """

    concurrency: int = 64
    max_retries: int = 4
    timeout_s: float = 60.0
    total_timeout_s: float = 300.0
    hedge_s: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("max_retries", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigurationError(f"{name} is a whole number from {least}; got {value!r}.")
        for name in ("timeout_s", "total_timeout_s", "hedge_s"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and value > 0) and not (name == "hedge_s" and value is None):
                told = "timeout" if name == "timeout_s" else name
                raise ConfigurationError(f"{told} is a number of seconds above 0; got {value!r}.")


class Attempts:
    """The attempts at calls of one model.

    Args:
        spec: The model's spec.
        terms: How it is called.
        pace: How often, shared with all who call the same model of the same server.
    """

    def __init__(self, spec: str, terms: Terms, pace: Pace) -> None:
        self.spec, self.terms, self.pace = spec, terms, pace
        self._turns = asyncio.Semaphore(terms.concurrency)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[float]:
        """One of the places for calls at the same time; gives the moment at which the call has to be done."""
        ends_at = time.monotonic() + self.terms.total_timeout_s
        try:
            async with asyncio.timeout(self.terms.total_timeout_s):
                await self._turns.acquire()
        except TimeoutError as error:
            raise self._late("it stood in line behind other calls") from error
        try:
            yield ends_at
        finally:
            self._turns.release()

    async def insist(self, ask: Callable[[], Awaitable[T]], tokens: int, ends_at: float) -> T:
        """Ask, and again where that may help, until the retries or the time are used up."""
        tries = 0
        while True:
            try:
                async with asyncio.timeout_at(self._on_loop(ends_at)):
                    await self.pace.turn(tokens)
                    async with asyncio.timeout(self.terms.timeout_s):
                        return await self._hedged(ask)
            except Exception as error:  # noqa: BLE001  sorted out, or raised again
                raised, found = error, self._ours(error, ends_at)
            tries += 1
            pause = self._pause(raised, found, tries)
            if not found.retryable or tries > self.terms.max_retries or time.monotonic() + pause >= ends_at:
                if tries > 1:
                    found.add_note(f"It was asked {tries} times.")
                raise found from (None if found is raised else raised)
            _log.info("%s: attempt %d failed, again in %.1f s: %s", self.spec, tries, pause, found)
            await asyncio.sleep(pause)

    def _ours(self, error: Exception, ends_at: float) -> BackendError:
        """The error as ours; one that is not about the model is raised as it is."""
        if isinstance(error, TimeoutError):
            if time.monotonic() >= ends_at - _CLOSE_S:
                raise self._late("it waited for its turn, or for an answer") from error
            return DeadlineExceeded(
                f"{self.spec} did not answer within {self.terms.timeout_s:g} s.", hint="Give a larger timeout."
            )
        found = map_vendor_error(error, self.spec)
        if found is None:
            raise error
        return found

    def _pause(self, raised: Exception, found: BackendError, tries: int) -> float:
        """Seconds until the next attempt: what the server asks for, else a random time that grows with the attempts."""
        headers = headers_of(raised)
        self.pace.learn(headers)
        asked = found.retry_after_s if isinstance(found, RateLimited) else retry_after(headers)
        if asked is not None:
            self.pace.close(asked)
            return asked + random.uniform(0, 0.1 * asked)  # noqa: S311  no secret
        return random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**tries))  # noqa: S311

    async def _hedged(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The first answer of one call, or of two where the first takes long."""
        if self.terms.hedge_s is None:
            return await ask()
        calls = [asyncio.ensure_future(ask())]
        won: T | None = None
        try:
            await asyncio.wait(calls, timeout=self.terms.hedge_s)
            if not calls[0].done():
                calls.append(asyncio.ensure_future(ask()))
            for done in asyncio.as_completed(list(calls)):
                try:
                    won = await done
                except Exception as error:  # noqa: BLE001  the other may answer
                    failed = error
                else:
                    return won
            raise failed
        finally:
            await asyncio.gather(*(_dropped(call, won) for call in calls))

    def _late(self, why: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self.spec} was not done within {self.terms.total_timeout_s:g} s: {why}.",
            hint="Give a larger total_timeout_s.",
        )

    def _on_loop(self, moment: float) -> float:
        return asyncio.get_running_loop().time() + moment - time.monotonic()


async def _dropped(call: asyncio.Future[Any], won: object) -> None:
    """End a call, unless its answer is the one that won."""
    call.cancel()
    for result in await asyncio.gather(call, return_exceptions=True):
        if result is not won and hasattr(result, "aclose"):
            await result.aclose()

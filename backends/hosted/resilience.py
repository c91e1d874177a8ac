"""Retries, timeouts, hedging and the concurrency limit of calls to a hosted model."""

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
from taleward.backends.hosted.rate_limits import RateLimiter
from taleward.core.errors import BackendError, ConfigurationError, DeadlineExceeded, RateLimited
from taleward.core.redaction import without_secrets

T = TypeVar("T")
_log = logging.getLogger(__name__)
_FIRST_DELAY_S = 0.5
_MAX_DELAY_S = 30.0
_RETRY_AFTER_JITTER = 0.1
_DEADLINE_TOLERANCE_S = 0.01
"""A timeout may fire this much before the deadline that it stands for."""


@dataclass(frozen=True)
class CallSettings:
    """How a hosted model is called.

    Attributes:
        concurrency: Maximum number of calls at the same time; further calls wait.
        max_retries: Maximum number of attempts after the first, for errors that may pass.
        timeout_s: Seconds for one attempt, and between two chunks of a stream.
        total_timeout_s: Seconds for the whole call: waiting, all attempts, and all of a stream.
        hedge_s: Seconds after which an unanswered call is sent a second time. The first answer is used; both are
            billed. `None` turns hedging off.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    concurrency: int = 64
    max_retries: int = 4
    timeout_s: float = 60.0
    total_timeout_s: float = 300.0
    hedge_s: float | None = None

    def __post_init__(self) -> None:
        for name, minimum in (("concurrency", 1), ("max_retries", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ConfigurationError(f"{name} must be an integer of at least {minimum}; got {value!r}.")
        for name in ("timeout_s", "total_timeout_s", "hedge_s"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and value > 0) and not (name == "hedge_s" and value is None):
                option = "timeout" if name == "timeout_s" else name
                raise ConfigurationError(f"{option} must be a positive number of seconds; got {value!r}.")


class Retrier:
    """Runs calls of one model within its concurrency limit, rate limit and timeouts, and retries them.

    Args:
        spec: The model's spec, for messages.
        settings: Timeouts, retries and concurrency.
        rate_limiter: Shared by all who call the same model on the same server.
    """

    def __init__(self, spec: str, settings: CallSettings, rate_limiter: RateLimiter) -> None:
        self.spec, self.settings, self.rate_limiter = spec, settings, rate_limiter
        self._slots = asyncio.Semaphore(settings.concurrency)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Hold one of the concurrent calls; yields the call's deadline on the `time.monotonic()` clock.

        Raises:
            DeadlineExceeded: If no slot became free in time.
        """
        deadline = time.monotonic() + self.settings.total_timeout_s
        try:
            async with asyncio.timeout(self.settings.total_timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise self._deadline_error("it waited behind other calls") from error
        try:
            yield deadline
        finally:
            self._slots.release()

    async def call_with_retries(self, call: Callable[[], Awaitable[T]], tokens: int, deadline: float) -> T:
        """Make a call, retrying errors that may pass, until the retries or the time are used up.

        Args:
            call: Makes one attempt.
            tokens: About how many tokens the call takes from the rate limit.
            deadline: From `slot`.

        Raises:
            BackendError: The last attempt's error.
        """
        attempts = 0
        while True:
            try:
                async with asyncio.timeout_at(_loop_time(deadline)):
                    await self.rate_limiter.acquire(tokens)
                    async with asyncio.timeout(self.settings.timeout_s):
                        return await self._call_with_hedge(call)
            except Exception as error:  # noqa: BLE001  mapped, or raised again
                original, mapped = error, self._map_error(error, deadline)
            attempts += 1
            delay = self._retry_delay_s(original, mapped, attempts)
            is_last = attempts > self.settings.max_retries or time.monotonic() + delay >= deadline
            if is_last or not mapped.retryable:
                if attempts > 1:
                    mapped.add_note(f"Attempted {attempts} times.")
                raise mapped from (None if mapped is original else without_secrets(original))
            _log.info("%s: attempt %d failed, retrying in %.1f s: %s", self.spec, attempts, delay, mapped)
            await asyncio.sleep(delay)

    def _map_error(self, error: Exception, deadline: float) -> BackendError:
        """Map the error to ours; one that is not about the model is raised as it is."""
        if isinstance(error, TimeoutError):
            if time.monotonic() >= deadline - _DEADLINE_TOLERANCE_S:
                raise self._deadline_error("it waited for the rate limit or for an answer") from error
            return DeadlineExceeded(
                f"{self.spec} did not answer within {self.settings.timeout_s:g} s.", hint="Increase timeout."
            )
        mapped = map_vendor_error(error, self.spec)
        if mapped is None:
            raise without_secrets(error)
        return mapped

    def _retry_delay_s(self, original: Exception, mapped: BackendError, attempts: int) -> float:
        """Seconds until the next attempt: the server's `Retry-After`, else exponential backoff with full jitter."""
        headers = headers_of(original)
        self.rate_limiter.update(headers)
        requested = mapped.retry_after_s if isinstance(mapped, RateLimited) else retry_after(headers)
        if requested is not None:
            self.rate_limiter.block(requested)
            return requested + random.uniform(0, _RETRY_AFTER_JITTER * requested)  # noqa: S311  no secret
        return random.uniform(0, min(_MAX_DELAY_S, _FIRST_DELAY_S * 2**attempts))  # noqa: S311

    async def _call_with_hedge(self, call: Callable[[], Awaitable[T]]) -> T:
        """The first answer of one call, or of two if the first takes longer than `hedge_s`."""
        if self.settings.hedge_s is None:
            return await call()
        calls = [asyncio.ensure_future(call())]
        winner: T | None = None
        try:
            await asyncio.wait(calls, timeout=self.settings.hedge_s)
            if not calls[0].done():
                calls.append(asyncio.ensure_future(call()))
            for finished in asyncio.as_completed(list(calls)):
                try:
                    winner = await finished
                except Exception as error:  # noqa: BLE001  the other call may answer
                    last_error = error
                else:
                    return winner
            raise last_error
        finally:
            await asyncio.gather(*(_cancel(future, winner) for future in calls))

    def _deadline_error(self, reason: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self.spec} did not finish within {self.settings.total_timeout_s:g} s: {reason}.",
            hint="Increase total_timeout_s.",
        )


def _loop_time(moment: float) -> float:
    """Convert from the `time.monotonic()` clock to the event loop's."""
    return asyncio.get_running_loop().time() + moment - time.monotonic()


async def _cancel(call: asyncio.Future[Any], winner: object) -> None:
    """Cancel a call, and close the stream it opened, unless its result won."""
    call.cancel()
    for result in await asyncio.gather(call, return_exceptions=True):
        if result is not winner and hasattr(result, "aclose"):
            await result.aclose()

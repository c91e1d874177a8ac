"""Client-side rate limits: requests and tokens per minute, as configured or as the server's headers report."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MINUTE_S = 60.0


class TokenBucket:
    """A token bucket: full at first, refilled at a steady rate.

    Args:
        per_minute: Its capacity, refilled every minute. `None` imposes no limit until a server reports one.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self._capacity, self._level, self._updated_at = per_minute, per_minute or 0.0, time.monotonic()
        self._rate = (per_minute or 0.0) / _MINUTE_S
        self._is_configured = per_minute is not None

    def wait_s(self, amount: float) -> float:
        """Seconds until `amount` is available; for more than the capacity, until the bucket is full."""
        if self._capacity is None:
            return 0.0
        now = time.monotonic()
        self._level = min(self._capacity, self._level + (now - self._updated_at) * self._rate)
        self._updated_at = now
        return max(0.0, (min(amount, self._capacity) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Take `amount` out."""
        if self._capacity is not None:
            self._level -= min(amount, self._capacity)

    def update(self, limit: float, remaining: float, reset_s: float | None) -> None:
        """Adopt the state that a server reports. A configured capacity stays.

        Args:
            limit: The server's limit; ignored unless it is positive.
            remaining: How much of it is left.
            reset_s: Seconds until all of it is available again, if known.
        """
        if limit <= 0:
            return
        self.wait_s(0)
        is_first, self._updated_at = self._capacity is None, time.monotonic()
        self._level = remaining if is_first else min(self._level, remaining)
        if not self._is_configured:
            self._capacity = limit
            self._rate = (limit - remaining) / reset_s if reset_s and limit > remaining else limit / _MINUTE_S


class RateLimiter:
    """The rate limit of one model on one server, shared by all its callers in this process.

    Callers are served in order of arrival.

    Args:
        requests_per_minute: Maximum rate; `None` learns it from the server's headers.
        tokens_per_minute: Maximum rate of prompt and answer tokens together; `None` learns it.
    """

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self.requests, self.tokens = TokenBucket(requests_per_minute), TokenBucket(tokens_per_minute)
        self._blocked_until = 0.0
        # Held while waiting, which makes the queue first come, first served.
        self._queue = asyncio.Lock()

    async def acquire(self, tokens: float) -> None:
        """Wait until a request of about `tokens` tokens may be sent."""
        async with self._queue:
            while (wait := self._wait_s(tokens)) > 0:
                await asyncio.sleep(wait)
            self.requests.take(1)
            self.tokens.take(tokens)

    def _wait_s(self, tokens: float) -> float:
        return max(self._blocked_until - time.monotonic(), self.requests.wait_s(1), self.tokens.wait_s(tokens))

    def block(self, seconds: float) -> None:
        """Send nothing for so many seconds, as `Retry-After` asks."""
        self._blocked_until = max(self._blocked_until, time.monotonic() + seconds)

    def update(self, headers: Mapping[str, str]) -> None:
        """Adopt the limits in a response's headers: OpenAI's, which many servers send too, or Anthropic's."""
        for bucket, unit in ((self.requests, "requests"), (self.tokens, "tokens")):
            for template in ("x-ratelimit-{0}-" + unit, f"anthropic-ratelimit-{unit}-{{0}}"):
                limit = _parse_number(headers.get(template.format("limit")))
                remaining = _parse_number(headers.get(template.format("remaining")))
                if limit is not None and remaining is not None:
                    bucket.update(limit, remaining, parse_duration_s(headers.get(template.format("reset"), "")))


def parse_duration_s(text: str) -> float | None:
    """Seconds from a duration such as `6m0s`, `20ms` or `1.5`, or until a date such as `2026-11-23T12:00:00Z`."""
    if (number := _parse_number(text)) is not None:
        return number
    if parts := _DURATION_PART.findall(text):
        return sum(float(value) * _SECONDS[unit] for value, unit in parts)
    try:
        return max(0.0, (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _parse_number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None

"""How often a server may be asked: requests and tokens a minute, as was said or as its headers tell."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MINUTE_S = 60.0


class Bucket:
    """So many of something a minute; a bucket that is full at first and fills up again steadily.

    Args:
        per_minute: How many; `None` is as many as wanted, until a server tells.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self._most, self._level, self._at = per_minute, per_minute or 0.0, time.monotonic()
        self._rate = (per_minute or 0.0) / _MINUTE_S
        self._given = per_minute is not None

    def wait_s(self, amount: float) -> float:
        """Seconds until so many are there; more than the bucket holds count as a full bucket."""
        if self._most is None:
            return 0.0
        now = time.monotonic()
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (min(amount, self._most) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Take so many out; a negative amount is put back."""
        if self._most is not None:
            self._level -= min(amount, self._most)

    def learn(self, most: float, left: float, reset_s: float | None) -> None:
        """What a server says: how many it takes, how many are left, and the seconds until all are there again.

        A number that was given stays.
        """
        if most <= 0:
            return
        self.wait_s(0)
        first, self._at = self._most is None, time.monotonic()
        self._level = left if first else min(self._level, left)
        if not self._given:
            self._most = most
            self._rate = (most - left) / reset_s if reset_s and most > left else most / _MINUTE_S


class Pace:
    """The pace at which one model of one server is asked, for all who ask it in this process.

    Callers wait in line: who came first is let through first.

    Args:
        requests_per_minute: The most; `None` learns it from the server's headers.
        tokens_per_minute: The most, those that are read and those that may be written; `None` learns it.
    """

    def __init__(self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None) -> None:
        self.requests, self.tokens = Bucket(requests_per_minute), Bucket(tokens_per_minute)
        self._closed_until = 0.0
        self._line = asyncio.Lock()

    async def turn(self, tokens: float) -> None:
        """Wait until a request of so many tokens may go out."""
        async with self._line:
            while (wait := self._wait_s(tokens)) > 0:
                await asyncio.sleep(wait)
            self.requests.take(1)
            self.tokens.take(tokens)

    def _wait_s(self, tokens: float) -> float:
        return max(self._closed_until - time.monotonic(), self.requests.wait_s(1), self.tokens.wait_s(tokens))

    def close(self, seconds: float) -> None:
        """Let nobody through for so long: a server asked for it."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take over what a server says of its limits: OpenAI's headers, which many have taken on, or Anthropic's."""
        for bucket, what in ((self.requests, "requests"), (self.tokens, "tokens")):
            for form in ("x-ratelimit-{0}-" + what, f"anthropic-ratelimit-{what}-{{0}}"):
                most, left = _number(headers.get(form.format("limit"))), _number(headers.get(form.format("remaining")))
                if most is not None and left is not None:
                    bucket.learn(most, left, seconds_of(headers.get(form.format("reset"), "")))


def seconds_of(text: str) -> float | None:
    """A span as `6m0s`, `20ms` or `1.5`, or seconds from now until a date as `2026-11-23T12:00:00Z`."""
    if (number := _number(text)) is not None:
        return number
    if parts := _SPAN.findall(text):
        return sum(float(value) * _SECONDS[unit] for value, unit in parts)
    try:
        return max(0.0, (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None

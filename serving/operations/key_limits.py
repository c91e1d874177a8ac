"""Limits of API keys: requests and tokens in a minute, and a budget, counted in the keys file for all workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from taleward.serving.operations.api_keys import ApiKey, ApiKeys, BudgetPeriod
from taleward.serving.operations.error_responses import Rejection

_MINUTE_S = 60.0
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Admission:
    """Whether a request may run.

    Attributes:
        headers: OpenAI's `x-ratelimit-` headers.
        rejection: Why it may not; `None` if it may.
    """

    headers: Mapping[str, str]
    rejection: Rejection | None = None


class KeyMeter:
    """Counts what keys use.

    Each limit is a bucket that holds a minute's worth and refills steadily. A request takes one from the bucket of
    requests. Tokens and cost are known only afterwards, so they are taken then: a key can overdraw by what its running
    requests use, and waits until the debt is paid.

    Args:
        keys: The keys.
    """

    def __init__(self, keys: ApiKeys) -> None:
        self._database, self._clock = keys.database, keys.clock

    def admit(self, key: ApiKey) -> Admission:
        """Count a request, unless a limit is reached."""
        limits, now = key.limits, self._clock()
        if not limits.any:
            return Admission({})
        with self._database.writing() as connection:
            usage = _Usage.read(connection, key, now)
            rejection = usage.rejection(key, now)
            if rejection is None:
                usage.requests -= 1
            usage.write(connection, key, now)
        return Admission(usage.headers(key), rejection)

    def charge(self, key: ApiKey, tokens: int, cost_usd: float) -> None:
        """Count what a request used."""
        limits, now = key.limits, self._clock()
        if (limits.tokens_per_minute is None or not tokens) and (limits.budget_usd is None or not cost_usd):
            return
        with self._database.writing() as connection:
            usage = _Usage.read(connection, key, now)
            usage.tokens -= tokens
            usage.spent_usd += cost_usd
            usage.write(connection, key, now)

    def spent_usd(self, key: ApiKey) -> float:
        """Return what the key spent in the current period of its budget."""
        with self._database.reading() as connection:
            return _Usage.read(connection, key, self._clock()).spent_usd


@dataclass
class _Usage:
    """What a key has left: requests and tokens in their buckets, and what it spent in a period."""

    requests: float
    tokens: float
    period: str
    spent_usd: float

    @classmethod
    def read(cls, connection: Any, key: ApiKey, now: float) -> _Usage:
        limits, period = key.limits, _period(key.limits.budget_period, now)
        full_requests, full_tokens = limits.requests_per_minute or 0, limits.tokens_per_minute or 0
        row = connection.execute(
            "SELECT updated, requests, tokens, period, spent_usd FROM usage WHERE id = ?", (key.id,)
        ).fetchone()
        if row is None:
            return cls(full_requests, full_tokens, period, 0.0)
        updated, requests, tokens, stored_period, spent_usd = row
        # A clock that was set back must not empty the buckets.
        minutes = max(0.0, now - updated) / _MINUTE_S
        return cls(
            requests=min(full_requests, requests + minutes * full_requests),
            tokens=min(full_tokens, tokens + minutes * full_tokens),
            period=period,
            spent_usd=spent_usd if stored_period == period else 0.0,
        )

    def write(self, connection: Any, key: ApiKey, now: float) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?, ?, ?)",
            (key.id, now, self.requests, self.tokens, self.period, self.spent_usd),
        )

    def rejection(self, key: ApiKey, now: float) -> Rejection | None:
        limits = key.limits
        if limits.budget_usd is not None and self.spent_usd >= limits.budget_usd:
            renewed = _renewal_s(limits.budget_period, now)
            when = {"day": "It starts anew at midnight UTC.", "month": "It starts anew next month."}
            return Rejection(
                status=429,
                message="This key's budget is spent. "
                + when.get(limits.budget_period, "Ask the people who run the server."),
                code="insufficient_quota",
                headers={} if renewed is None else {"x-taleward-budget-reset": str(int(renewed))},
            )
        waits = (
            ("requests", limits.requests_per_minute, 1 - self.requests),
            ("tokens", limits.tokens_per_minute, 1 - self.tokens),
        )
        for kind, limit, missing in waits:
            if limit is not None and missing > _ROUNDING:
                wait_s = missing * _MINUTE_S / limit
                return Rejection(
                    status=429,
                    message=f"This key's limit of {limit:,} {kind} a minute is reached. Try again in {wait_s:.1f} s.",
                    code="rate_limit_exceeded",
                    retry_after_s=wait_s,
                )
        return None

    def headers(self, key: ApiKey) -> dict[str, str]:
        headers: dict[str, str] = {}
        buckets = (
            ("requests", key.limits.requests_per_minute, self.requests),
            ("tokens", key.limits.tokens_per_minute, self.tokens),
        )
        for kind, limit, left in buckets:
            if limit is not None:
                headers[f"x-ratelimit-limit-{kind}"] = str(limit)
                headers[f"x-ratelimit-remaining-{kind}"] = str(max(0, int(left)))
                headers[f"x-ratelimit-reset-{kind}"] = f"{max(0.0, limit - left) * _MINUTE_S / limit:.3f}s"
        return headers


def _period(kind: BudgetPeriod, now: float) -> str:
    moment = datetime.fromtimestamp(now, UTC)
    return {"day": f"{moment:%Y-%m-%d}", "month": f"{moment:%Y-%m}", "total": ""}[kind]


def _renewal_s(kind: BudgetPeriod, now: float) -> float | None:
    """Return the seconds until a budget starts anew, `None` if it never does."""
    moment = datetime.fromtimestamp(now, UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        return (midnight + timedelta(days=1) - moment).total_seconds()
    if kind == "month":
        first = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        return (first - moment).total_seconds()
    return None

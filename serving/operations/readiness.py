"""`/health`, `/ready` and `/metrics`: whether the process lives, whether it can work, and what it did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from taleward.moderation.judges.base import Judge
from taleward.serving.operations.generation_queue import GenerationQueue
from taleward.serving.operations.metrics import CONTENT_TYPE, ServerMetrics

Check = Callable[[], Awaitable[bool]]
_PROBE_TEXT = "The cat slept in the sun."
_CHECK_TIMEOUT_S = 20.0


class Readiness:
    """Says whether a server can work: its models are loaded, its judges answer, and it is not shutting down.

    Args:
        queue: The queue, which knows of a shutdown.
        interval_s: Seconds for which an answer is repeated, since asking a hosted judge costs money.
        clock: Returns seconds, for tests.
    """

    def __init__(
        self, queue: GenerationQueue, interval_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue, self._interval_s, self._clock = queue, interval_s, clock
        self._checks: dict[str, Check] = {}
        self._lock = asyncio.Lock()
        self._results: Mapping[str, bool] = {}
        self._checked_s: float | None = None

    def add(self, name: str, check: Check) -> None:
        """Add a check; a check that raises or takes longer than 20 s has failed."""
        self._checks[name] = check

    async def results(self) -> Mapping[str, bool]:
        """Return for each check whether it succeeded."""
        async with self._lock:
            if self._checked_s is None or self._clock() - self._checked_s >= self._interval_s:
                outcomes = await asyncio.gather(*map(_succeeds, self._checks.values()))
                self._results = dict(zip(self._checks, outcomes, strict=True))
                self._checked_s = self._clock()
        return {**self._results, "accepts requests": not self._queue.draining}


async def _succeeds(check: Check) -> bool:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            return await check()
    except Exception:  # noqa: BLE001  whatever it is, the server is not ready
        return False


def judge_check(judge: Judge) -> Check:
    """Return the check that a judge answers, whatever its verdict."""

    async def answers() -> bool:
        verdict = await judge.ainvoke(_PROBE_TEXT)
        return verdict.outcome in ("pass", "fail", "abstain")

    return answers


def operation_routes(readiness: Readiness, metrics: ServerMetrics) -> list[Route]:
    """Return the routes `/health`, `/ready` and `/metrics`."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        results = await readiness.results()
        is_ready = all(results.values())
        body = {"status": "ready" if is_ready else "not ready", "checks": results}
        return JSONResponse(body, 200 if is_ready else 503)

    async def show_metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(metrics.text), media_type=CONTENT_TYPE)

    return [
        Route("/health", health, methods=["GET"]),
        Route("/ready", ready, methods=["GET"]),
        Route("/metrics", show_metrics, methods=["GET"]),
    ]

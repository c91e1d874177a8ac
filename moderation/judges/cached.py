"""Cache the verdicts of a judge."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import Self

from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.redaction import format_error
from taleward.core.tale import digest
from taleward.core.verdict import Passage, Verdict
from taleward.moderation.calibration.calibration import Calibration
from taleward.moderation.judges.base import Assessment, Judge, as_passage
from taleward.moderation.judges.fingerprint import judge_fingerprint
from taleward.moderation.verdict_cache.cache import VerdictCache
from taleward.moderation.verdict_cache.encrypted_entry import VerdictEntry

_log = logging.getLogger(__name__)


class CachedJudge(Judge):
    """Return a cached verdict if the judge has seen the passage before; `Verdict.cached` tells which verdicts are.

    The cache key is exact: the judge with its settings, the policy's content, age band, calibration, text and context.
    Only `pass` and `fail` are cached. If the cache cannot be read or written, the judge is called and the problem is
    logged once.

    Args:
        judge: The judge to call on a cache miss.
        cache: A cache, or the path of its file.
        extra_key: Anything else that distinguishes this judge from others with the same settings, such as the version
            of a model whose name stays the same.
    """

    def __init__(self, judge: Judge, cache: VerdictCache | str | Path, *, extra_key: str = "") -> None:
        super().__init__(judge.spec, policy=judge.policy, band=judge.band)
        self.judge = judge
        self.cache = cache if isinstance(cache, VerdictCache) else VerdictCache(cache)
        self.rules, self.calibration, self.max_chars = judge.rules, judge.calibration, judge.max_chars
        self._fingerprint = judge_fingerprint(judge, extra_key)
        self._extra_key, self._warned = extra_key, False

    def assess(self, passage: Passage) -> Assessment:
        """Assess a passage with the judge itself, bypassing the cache."""
        return self.judge.assess(passage)

    def calibrated(self, calibration: Calibration | str | Path) -> Self:
        """Return a copy whose judge decides by fitted scores and thresholds; see `Judge.calibrated`."""
        return type(self)(self.judge.calibrated(calibration), self.cache, extra_key=self._extra_key)

    def _judge_input(self, input: str | Passage) -> Verdict:
        passage = as_passage(input)
        cached = self._look_up(passage)
        if cached is not None:
            return cached
        verdict = self.judge.invoke(passage)
        self._store(verdict, passage)
        return verdict

    async def _ajudge_input(self, input: str | Passage) -> Verdict:
        passage = as_passage(input)
        cached = await run_in_thread(partial(self._look_up, passage))
        if cached is not None:
            return cached
        verdict = await self.judge.ainvoke(passage)
        await run_in_thread(partial(self._store, verdict, passage))
        return verdict

    def _look_up(self, passage: Passage) -> Verdict | None:
        started_at = time.perf_counter()
        try:
            entry = self.cache.get(self._key(passage), passage)
            if entry is None:
                return None
            verdict = entry.to_verdict(self.spec, self.policy.id, self.band)
        except Exception as error:  # noqa: BLE001  a broken cache must not stop the judge
            self._warn(error)
            return None
        return verdict.model_copy(update={"latency_s": time.perf_counter() - started_at, "cost_usd": 0.0})

    def _store(self, verdict: Verdict, passage: Passage) -> None:
        try:
            entry = VerdictEntry.from_verdict(verdict, passage)
            if entry is not None:
                self.cache.put(self._key(passage), passage, entry)
        except Exception as error:  # noqa: BLE001  the verdict is valid even if it cannot be cached
            self._warn(error)

    def _key(self, passage: Passage) -> str:
        # Only digests: the cache file must not hold a child's words.
        parts = [self._fingerprint, self.band, digest(passage.text), digest(passage.context)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "the verdict cache %s cannot be used, so the judge is called for every text: %s",
                self.cache.path,
                format_error(error),
            )

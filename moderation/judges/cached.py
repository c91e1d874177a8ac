"""A judge that remembers."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import Self

from taleward.core.concurrency.threads import run_in_thread
from taleward.core.redaction import format_error
from taleward.core.tale import digest
from taleward.core.verdict import Passage, Verdict
from taleward.moderation.calibration.calibration import Calibration
from taleward.moderation.judges.base import Assessment, Judge, as_passage
from taleward.moderation.judges.identity import identity
from taleward.moderation.verdict_cache.cache import VerdictCache
from taleward.moderation.verdict_cache.entry import Entry

_log = logging.getLogger(__name__)


class CachedJudge(Judge):
    """Answers from a cache what its judge has answered before; `Verdict.cached` says which it was.

    The key is exact: the judge with its settings, the policy's content, band, calibration, text and context. Only a
    plain pass or fail is kept. A cache that cannot be read or written is as good as empty: the judge is asked, and the
    trouble is logged once.

    Args:
        judge: The judge to ask.
        cache: A cache, or the path of its file.
        more: What else tells this judge from others with the same settings, for example the version of a model behind a
            name that stays.
    """

    def __init__(self, judge: Judge, cache: VerdictCache | str | Path, *, more: str = "") -> None:
        super().__init__(judge.spec, policy=judge.policy, band=judge.band)
        self.judge = judge
        self.cache = cache if isinstance(cache, VerdictCache) else VerdictCache(cache)
        self.rules, self.calibration = judge.rules, judge.calibration
        self._identity = identity(judge, more)
        self._more, self._warned = more, False

    def assess(self, passage: Passage) -> Assessment:
        """The judge's own, not from the cache."""
        return self.judge.assess(passage)

    def calibrated(self, calibration: Calibration | str | Path) -> Self:
        """A copy whose judge decides by fitted scores and thresholds; see `Judge.calibrated`."""
        return type(self)(self.judge.calibrated(calibration), self.cache, more=self._more)

    def _answer(self, input: str | Passage) -> Verdict:
        passage = as_passage(input)
        found = self._look_up(passage)
        if found is not None:
            return found
        verdict = self.judge.invoke(passage)
        self._keep(verdict, passage)
        return verdict

    async def _aanswer(self, input: str | Passage) -> Verdict:
        passage = as_passage(input)
        found = await run_in_thread(partial(self._look_up, passage))
        if found is not None:
            return found
        verdict = await self.judge.ainvoke(passage)
        await run_in_thread(partial(self._keep, verdict, passage))
        return verdict

    def _look_up(self, passage: Passage) -> Verdict | None:
        begun = time.perf_counter()
        try:
            entry = self.cache.get(self._key(passage))
            if entry is None:
                return None
            verdict = entry.verdict(passage, self.spec, self.policy.id, self.band)
        except Exception as error:  # noqa: BLE001  whatever is wrong with the cache, the judge is there
            self._warn(error)
            return None
        return verdict.model_copy(update={"latency_s": time.perf_counter() - begun, "cost_usd": 0.0})

    def _keep(self, verdict: Verdict, passage: Passage) -> None:
        try:
            entry = Entry.of(verdict, passage)
            if entry is not None:
                self.cache.put(self._key(passage), passage.text, entry)
        except Exception as error:  # noqa: BLE001  the verdict is there; only its copy is lost
            self._warn(error)

    def _key(self, passage: Passage) -> str:
        parts = [self._identity, self.band, digest(passage.text), digest(passage.context)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "the verdict cache %s cannot be used, the judge is asked: %s",
                self.cache.path,
                format_error(error),
            )

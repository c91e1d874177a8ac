"""What every judge shares: a Runnable from text to verdict that fails closed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.frozen import Frozen, FrozenDict
from taleward.core.policy import Policy, Probability, exceeds
from taleward.core.redact import redact
from taleward.core.verdict import Finding, Outcome, Passage, Verdict
from taleward.moderation.blocking import in_thread
from taleward.moderation.language import seems_foreign
from taleward.moderation.policy import load_policy
from taleward.moderation.windows import Window


class Assessment(Frozen):
    """What a judge found, before the policy's word on it.

    Attributes:
        scores: Category to the probability, 0..1, that the text breaks the policy there.
        findings: The places that speak against the text.
        outcome: Set where the judge has no plain answer (`abstain`, `unparsable`), or says `fail` beyond what
            scores and findings tell; `None` leaves the decision to the policy.
        detail: Why there is no plain answer, or a remark.
        cost_usd: What the answer cost, `None` where that is not known.
    """

    scores: FrozenDict[str, Probability] = FrozenDict()
    findings: tuple[Finding, ...] = ()
    outcome: Outcome | None = None
    detail: str = ""
    cost_usd: float | None = None


class Judge(Runnable[str | Passage, Verdict], ABC):
    """A Runnable from a text to a verdict under one policy and age band.

    A subclass answers `assess`; this class decides by the policy, times the call, and turns every exception
    into a verdict with outcome `error`, so that a judge in trouble never lets a text pass.

    Args:
        spec: What the judge calls itself in verdicts.
        policy: A policy, or the name or path of one.
        band: A band of the policy.
    """

    def __init__(self, spec: str, *, policy: Policy | str, band: str) -> None:
        self.spec = spec
        self.policy = load_policy(policy) if isinstance(policy, str) else policy
        self.policy.band(band)
        self.band = band

    @abstractmethod
    def assess(self, passage: Passage) -> Assessment:
        """Judge a text that is not blank."""

    async def aassess(self, passage: Passage) -> Assessment:
        """Judge without blocking the event loop; by default `assess` in a thread."""
        return await in_thread(partial(self.assess, passage))

    def invoke(self, input: str | Passage, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """The verdict on a text; exceptions become outcome `error`."""
        return self._call_with_config(self._answer, input, config, run_type="chain")

    async def ainvoke(self, input: str | Passage, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """As `invoke`, without blocking the event loop."""
        return await self._acall_with_config(self._aanswer, input, config, run_type="chain")

    def _answer(self, input: str | Passage) -> Verdict:
        passage, begun = _passage(input), time.perf_counter()
        try:
            found = self.assess(passage) if passage.text.strip() else _BLANK
        except Exception as error:  # noqa: BLE001  whatever went wrong, nothing passes
            found = _failed(error)
        return self._verdict(found, begun)

    async def _aanswer(self, input: str | Passage) -> Verdict:
        passage, begun = _passage(input), time.perf_counter()
        try:
            found = await self.aassess(passage) if passage.text.strip() else _BLANK
        except Exception as error:  # noqa: BLE001  whatever went wrong, nothing passes
            found = _failed(error)
        return self._verdict(found, begun)

    def _verdict(self, found: Assessment, begun: float) -> Verdict:
        return Verdict(
            outcome=found.outcome or self._decide(found),
            judge=self.spec,
            policy=self.policy.id,
            band=self.band,
            scores=found.scores,
            findings=found.findings,
            detail=found.detail,
            latency_s=time.perf_counter() - begun,
            cost_usd=found.cost_usd,
        )

    def english_only(self, found: Assessment, text: str, windows: Iterable[Window], begin: int) -> Assessment:
        """For a judge that reads English alone: abstain where a window is in another language, unless it fails.

        Args:
            found: What it found.
            text: What it read.
            windows: Places in it; those that end before `begin` are left out.
            begin: Where the judged passage begins.
        """
        if self._decide(found) == "fail" or not any(seems_foreign(w.of(text)) for w in windows if w.end > begin):
            return found
        return found.model_copy(update={"outcome": "abstain", "detail": "a part of the text is not in English"})

    def _decide(self, found: Assessment) -> Outcome:
        over = any(score >= self.policy.threshold(c, self.band) for c, score in found.scores.items())
        worse = any(exceeds(f.severity, self.policy.tolerance(f.category, self.band)) for f in found.findings)
        return "fail" if over or worse else "pass"


_BLANK = Assessment(outcome="abstain", detail="the text is blank: there is nothing to judge")


def _passage(input: str | Passage) -> Passage:
    if isinstance(input, Passage):
        return input
    if isinstance(input, str):
        return Passage(text=input)
    raise TypeError(f"a judge takes a text (str) or a Passage; got {type(input).__name__}")


def _failed(error: Exception) -> Assessment:
    return Assessment(outcome="error", detail=redact(f"{type(error).__name__}: {error}"))

"""What every judge shares: a Runnable from text to verdict that fails closed."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.concurrency.threads import run_in_thread
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.policy import SEVERITIES, Policy, Probability, exceeds
from taleward.core.redaction import format_error
from taleward.core.verdict import Finding, Outcome, Passage, Verdict
from taleward.moderation.calibration.calibration import Calibration, load_calibration
from taleward.moderation.policies.load import load_policy
from taleward.moderation.text.language import looks_foreign
from taleward.moderation.text.windows import Window

_SHOWN = 12


class Assessment(FrozenModel):
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

    Attributes:
        policy: The policy; what `assess` goes by.
        rules: The policy with the fitted thresholds of a calibration, by which verdicts and their scores are read; the
            policy itself where there is none.
        calibration: The fitted scores and thresholds, if any.
        calibratable: Whether the verdict follows from scores, so that a calibration means something.
    """

    calibratable: ClassVar[bool] = True

    def __init__(self, spec: str, *, policy: Policy | str, band: str) -> None:
        self.spec = spec
        self.policy = load_policy(policy) if isinstance(policy, str) else policy
        self.policy.band(band)
        self.band = band
        self.rules = self.policy
        self.calibration: Calibration | None = None
        self._calibration_id: str | None = None

    def calibrated(self, calibration: Calibration | str | Path) -> Self:
        """A copy of this judge that decides by fitted scores and thresholds.

        In a fitted category the score alone decides; findings there inform. In all others nothing changes.

        Args:
            calibration: A calibration, or the path of one.

        Raises:
            ConfigurationError: It was fitted for another judge, policy or band, or this judge combines others.
            InvalidFile: The file is none.
        """
        if not self.calibratable:
            raise ConfigurationError(
                f"judge {self.spec!r} combines the verdicts of others and has no scores of its own to calibrate.",
                hint="Calibrate the judges that it combines.",
            )
        fitted = calibration if isinstance(calibration, Calibration) else load_calibration(calibration)
        fitted.check(self.spec, self.policy, self.band)
        made = copy.copy(self)
        made.calibration, made.rules = fitted, fitted.rules(self.policy)
        made._calibration_id = fitted.sha256[:_SHOWN]
        return made

    @abstractmethod
    def assess(self, passage: Passage) -> Assessment:
        """Judge a text that is not blank."""

    async def aassess(self, passage: Passage) -> Assessment:
        """Judge without blocking the event loop; by default `assess` in a thread."""
        return await run_in_thread(partial(self.assess, passage))

    def invoke(self, input: str | Passage, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """The verdict on a text; exceptions become outcome `error`."""
        return self._call_with_config(self._answer, input, config, run_type="chain")

    async def ainvoke(self, input: str | Passage, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """As `invoke`, without blocking the event loop."""
        return await self._acall_with_config(self._aanswer, input, config, run_type="chain")

    def _answer(self, input: str | Passage) -> Verdict:
        passage, begun = as_passage(input), time.perf_counter()
        try:
            found = self.assess(passage) if passage.text.strip() else _BLANK
        except Exception as error:  # noqa: BLE001  whatever went wrong, nothing passes
            found = _failed(error)
        return self._verdict(found, begun)

    async def _aanswer(self, input: str | Passage) -> Verdict:
        passage, begun = as_passage(input), time.perf_counter()
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
            scores=FrozenDict(self._scores_of(found)),
            findings=(*found.findings, *self._unnamed(found)),
            detail=found.detail,
            latency_s=time.perf_counter() - begun,
            cost_usd=found.cost_usd,
            calibration=self._calibration_id,
        )

    def english_only(self, found: Assessment, text: str, windows: Iterable[Window], begin: int) -> Assessment:
        """For a judge that reads English alone: abstain where a window is in another language, unless it fails.

        Args:
            found: What it found.
            text: What it read.
            windows: Places in it; those that end before `begin` are left out.
            begin: Where the judged passage begins.
        """
        if self._decide(found) == "fail" or not any(looks_foreign(w.of(text)) for w in windows if w.end > begin):
            return found
        return found.model_copy(update={"outcome": "abstain", "detail": "a part of the text is not in English"})

    def _decide(self, found: Assessment) -> Outcome:
        scores = self._scores_of(found)
        fitted = {c for c in scores if self.calibration and c in self.calibration.categories}
        over = any(self._over(c, score) for c, score in scores.items())
        worse = any(
            exceeds(f.severity, self.policy.tolerance(f.category, self.band))
            for f in found.findings
            if f.category not in fitted
        )
        return "fail" if over or worse else "pass"

    def _scores_of(self, found: Assessment) -> dict[str, float]:
        return self.calibration.mapped(found.scores) if self.calibration else dict(found.scores)

    def _over(self, category: str, score: float) -> bool:
        return score >= self.rules.threshold(category, self.band)

    def _unnamed(self, found: Assessment) -> Iterable[Finding]:
        """A finding without a place for each category that fails by its fitted score and that no finding names."""
        named = {f.category for f in found.findings}
        for category, score in self._scores_of(found).items():
            fitted = self.calibration is not None and category in self.calibration.categories
            level = SEVERITIES.index(self.policy.tolerance(category, self.band)) + 1
            if fitted and category not in named and self._over(category, score):
                at = self.rules.threshold(category, self.band)
                why = f"the fitted score {score:.2f} is at least {at:.2f}"
                severity = SEVERITIES[min(level, len(SEVERITIES) - 1)]
                yield Finding(category=category, severity=severity, rationale=why)


_BLANK = Assessment(outcome="abstain", detail="the text is blank: there is nothing to judge")


def as_passage(input: str | Passage) -> Passage:
    """What a judge was given, as a passage."""
    if isinstance(input, Passage):
        return input
    if isinstance(input, str):
        return Passage(text=input)
    raise TypeError(f"a judge takes a text (str) or a Passage; got {type(input).__name__}")


def check_judge(what: str, judge: object) -> None:
    """Raise `ConfigurationError` where something is no judge; `what` needs it, as a noun phrase."""
    if not isinstance(judge, Judge):
        raise ConfigurationError(
            f"{what} needs a judge; got {type(judge).__name__}.",
            hint="Make one with taleward.judge('embedded:judge', policy='kids', band='6-8').",
        )


def check_timeout(seconds: float | None) -> None:
    """Raise `ConfigurationError` where a budget of time is none."""
    if seconds is not None and seconds <= 0:
        raise ConfigurationError(f"seconds must be above 0, or None for no limit; got {seconds}.")


def _failed(error: Exception) -> Assessment:
    return Assessment(outcome="error", detail=format_error(error))

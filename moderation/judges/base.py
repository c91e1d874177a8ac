"""Base class of judges: a Runnable from text to verdict that fails closed."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.concurrency.abandoned_calls import LeftBehind
from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.policy import SEVERITIES, Policy, Probability, exceeds
from taleward.core.redaction import format_error
from taleward.core.surrogates import replace_surrogates
from taleward.core.verdict import Finding, Outcome, Passage, Verdict
from taleward.moderation.calibration.calibration import Calibration, load_calibration
from taleward.moderation.policies.load import load_policy

_CALIBRATION_ID_LENGTH = 12
MAX_JUDGED_CHARS = 1_000_000
"""Characters that a judge reads by default, text and context together."""


class Assessment(FrozenModel):
    """A judge's raw result, before the policy turns it into a verdict.

    Attributes:
        scores: For each category, the probability in 0..1 that the text violates the policy.
        findings: The passages that count against the text.
        outcome: `None` to let the policy decide by scores and findings. Set it when the judge has no clear answer
            (`abstain`, `unparsable`), or when it fails a text for reasons that scores and findings do not show
            (`fail`).
        detail: Why there is no clear answer, or a remark.
        cost_usd: Cost in US dollars; `None` if unknown.
    """

    scores: FrozenMapping[str, Probability] = FrozenDict()
    findings: tuple[Finding, ...] = ()
    outcome: Outcome | None = None
    detail: str = ""
    cost_usd: float | None = None


class Judge(Runnable[str | Passage, Verdict], ABC):
    """A Runnable from text to verdict, under one policy and age band.

    Subclasses implement `assess`. This class applies the policy, measures the latency, and turns every exception into
    a verdict with the outcome `error`, so that a failing judge never releases a text.

    Args:
        spec: The judge's name in verdicts.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.

    Attributes:
        policy: The policy that `assess` works with.
        rules: The policy with the fitted thresholds of the calibration; the policy itself without a calibration. Use
            it to interpret the scores of a verdict.
        calibration: The fitted scores and thresholds, or `None`.
        calibratable: Whether verdicts follow from scores, so that the judge can be calibrated.
        max_chars: Characters that the judge reads, text and context together; it abstains from longer ones. Assign
            another number to change it.
    """

    calibratable: ClassVar[bool] = True
    max_chars: int = MAX_JUDGED_CHARS

    def __init__(self, spec: str, *, policy: Policy | str, band: str) -> None:
        self.spec = spec
        self.policy = load_policy(policy) if isinstance(policy, str) else policy
        self.policy.band(band)
        self.band = band
        self.rules = self.policy
        self.calibration: Calibration | None = None
        self._calibration_id: str | None = None
        self._left_behind = LeftBehind(f"the judge {spec}")

    @property
    def left_behind(self) -> LeftBehind:
        """The calls of this judge that were given up and still run."""
        return self._left_behind

    def calibrated(self, calibration: Calibration | str | Path) -> Self:
        """Return a copy of this judge that decides by fitted scores and thresholds.

        In a fitted category only the score decides, and findings are informative. Other categories are unchanged.

        Args:
            calibration: A calibration, or the path of one.

        Raises:
            ConfigurationError: If it was fitted for another judge, policy or band, or if this judge combines others.
            InvalidFile: If the file is not a valid calibration.
        """
        if not self.calibratable:
            raise ConfigurationError(
                f"judge {self.spec!r} combines the verdicts of others and has no scores of its own to calibrate.",
                hint="Calibrate the judges that it combines.",
            )
        fitted = calibration if isinstance(calibration, Calibration) else load_calibration(calibration)
        fitted.check(self.spec, self.policy, self.band)
        judge = copy.copy(self)
        judge.calibration, judge.rules = fitted, fitted.apply_thresholds(self.policy)
        judge._calibration_id = fitted.sha256[:_CALIBRATION_ID_LENGTH]
        return judge

    def outcome_from(self, verdict: Verdict) -> Outcome:
        """Return the outcome that this judge's calibration gives a text, without judging the text again.

        Args:
            verdict: The verdict on the text of the same judge without a calibration.
        """
        if verdict.outcome not in ("pass", "fail"):
            return verdict.outcome
        uncalibrated = copy.copy(self)
        uncalibrated.calibration, uncalibrated.rules = None, self.policy
        assessment = Assessment(scores=verdict.scores, findings=verdict.findings)
        # A judge may fail a text for reasons that its scores and findings do not show.
        forced = verdict.outcome == "fail" and uncalibrated._decide(assessment) == "pass"
        return "fail" if forced else self._decide(assessment)

    @abstractmethod
    def assess(self, passage: Passage) -> Assessment:
        """Judge a passage whose text is not blank."""

    async def aassess(self, passage: Passage) -> Assessment:
        """Judge without blocking the event loop. The default runs `assess` in a thread."""
        return await run_in_thread(partial(self.assess, passage), self._left_behind)

    def invoke(self, input: str | Passage, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """Judge a text. Exceptions become a verdict with the outcome `error`."""
        return self._call_with_config(self._judge_input, input, config, run_type="chain")

    async def ainvoke(self, input: str | Passage, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """Judge a text without blocking the event loop; see `invoke`."""
        return await self._acall_with_config(self._ajudge_input, input, config, run_type="chain")

    def _judge_input(self, input: str | Passage) -> Verdict:
        passage, started_at = as_passage(input), time.perf_counter()
        try:
            assessment = self._unreadable(passage) or self.assess(passage)
        except Exception as error:  # noqa: BLE001  fail closed: any exception must become a verdict
            assessment = _error_assessment(error)
        return self._verdict(assessment, started_at)

    async def _ajudge_input(self, input: str | Passage) -> Verdict:
        passage, started_at = as_passage(input), time.perf_counter()
        try:
            assessment = self._unreadable(passage) or await self.aassess(passage)
        except Exception as error:  # noqa: BLE001  fail closed: any exception must become a verdict
            assessment = _error_assessment(error)
        return self._verdict(assessment, started_at)

    def _unreadable(self, passage: Passage) -> Assessment | None:
        """Return the assessment of a passage that is not given to the judge."""
        chars = len(passage.text) + len(passage.context)
        if chars > self.max_chars:
            detail = f"the text has {chars:,} characters; this judge reads up to max_chars={self.max_chars:,}"
            return Assessment(outcome="abstain", detail=detail)
        return None if passage.text.strip() else _BLANK

    def _verdict(self, assessment: Assessment, started_at: float) -> Verdict:
        return Verdict(
            outcome=assessment.outcome or self._decide(assessment),
            judge=self.spec,
            policy=self.policy.id,
            band=self.band,
            scores=FrozenDict(self._calibrated_scores(assessment)),
            findings=(*assessment.findings, *self._findings_from_scores(assessment)),
            detail=assessment.detail,
            latency_s=time.perf_counter() - started_at,
            cost_usd=assessment.cost_usd,
            calibration=self._calibration_id,
        )

    def abstain_unless_read(self, assessment: Assessment, unread: str) -> Assessment:
        """Abstain if part of the text could not be read; for judges that understand English only.

        An assessment that fails the text is returned unchanged: harm that was recognized stands.

        Args:
            assessment: The judge's assessment of the text.
            unread: Why a part of it could not be read, see `ReadablePassage`; empty if all was.
        """
        if not unread or self._decide(assessment) == "fail":
            return assessment
        return assessment.model_copy(update={"outcome": "abstain", "detail": unread})

    def _decide(self, assessment: Assessment) -> Outcome:
        scores = self._calibrated_scores(assessment)
        fitted = {c for c in scores if self.calibration and c in self.calibration.categories}
        score_fails = any(self._reaches_threshold(category, score) for category, score in scores.items())
        finding_fails = any(
            exceeds(f.severity, self.policy.tolerance(f.category, self.band))
            for f in assessment.findings
            if f.category not in fitted
        )
        return "fail" if score_fails or finding_fails else "pass"

    def _calibrated_scores(self, assessment: Assessment) -> dict[str, float]:
        return self.calibration.calibrate_scores(assessment.scores) if self.calibration else dict(assessment.scores)

    def _reaches_threshold(self, category: str, score: float) -> bool:
        return score >= self.rules.threshold(category, self.band)

    def _findings_from_scores(self, assessment: Assessment) -> Iterable[Finding]:
        """Yield a finding without a span for each category that only its calibrated score fails.

        Without it, a calibrated verdict could fail a text and name no category to revise.
        """
        named = {f.category for f in assessment.findings}
        for category, score in self._calibrated_scores(assessment).items():
            fitted = self.calibration is not None and category in self.calibration.categories
            level = SEVERITIES.index(self.policy.tolerance(category, self.band)) + 1
            if fitted and category not in named and self._reaches_threshold(category, score):
                threshold = self.rules.threshold(category, self.band)
                rationale = f"the fitted score {score:.2f} is at least {threshold:.2f}"
                severity = SEVERITIES[min(level, len(SEVERITIES) - 1)]
                yield Finding(category=category, severity=severity, rationale=rationale)


# Not left to the judges: a pass must mean that something was read.
_BLANK = Assessment(outcome="abstain", detail="the text is blank: there is nothing to judge")


def as_passage(input: str | Passage) -> Passage:
    """Convert a judge's input to a passage, with U+FFFD for lone surrogates, which no model can read.

    Raises:
        TypeError: If the input is neither a `str` nor a `Passage`.
    """
    if isinstance(input, str):
        return Passage(text=replace_surrogates(input))
    if isinstance(input, Passage):
        text, context = replace_surrogates(input.text), replace_surrogates(input.context)
        return input if (text, context) == (input.text, input.context) else Passage(text=text, context=context)
    raise TypeError(f"a judge takes a text (str) or a Passage; got {type(input).__name__}")


def check_judge(consumer: str, judge: object) -> None:
    """Check that an object is a judge.

    Args:
        consumer: What needs the judge, as a noun phrase for the message, such as `"a guard"`.
        judge: The object to check.

    Raises:
        ConfigurationError: If it is not a `Judge`.
    """
    if not isinstance(judge, Judge):
        raise ConfigurationError(
            f"{consumer} needs a judge; got {type(judge).__name__}.",
            hint="Make one with taleward.judge('embedded:judge', policy='kids', band='6-8').",
        )


def check_timeout(timeout_s: float | None) -> None:
    """Check a timeout in seconds.

    Raises:
        ConfigurationError: If it is 0 or negative.
    """
    if timeout_s is not None and timeout_s <= 0:
        raise ConfigurationError(f"timeout_s in seconds must be above 0, or None for no limit; got {timeout_s}.")


def _error_assessment(error: Exception) -> Assessment:
    return Assessment(outcome="error", detail=format_error(error))

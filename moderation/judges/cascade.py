"""Ask cheap judges first; escalate to the next one while a verdict is uncertain."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy
from taleward.core.verdict import Passage, Verdict
from taleward.moderation.calibration.bootstrap import bootstrap_weights
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.ensemble import check_judges, is_decided, total_cost

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_RESAMPLES = 200
_CANDIDATE_QUANTILES = 21


def relative_risk(verdict: Verdict, policy: Policy, band: str) -> float:
    """Return the highest score of a verdict, rescaled to 0..1 so that every category's threshold lies at 0.5.

    Thresholds differ by category, so raw scores cannot be compared with one limit. Scores from 0 to the threshold are
    mapped linearly to 0..0.5, and scores from the threshold to 1 to 0.5..1. A verdict without scores has the risk 0 if
    it passed, else 1.

    Args:
        verdict: A verdict.
        policy: The policy with the thresholds, usually `judge.rules`.
        band: The age band.
    """
    if not verdict.scores:
        return 0.0 if verdict.passed else 1.0
    return max(_rescaled(score, policy.threshold(c, band)) for c, score in verdict.scores.items())


def _rescaled(score: float, threshold: float) -> float:
    if score < threshold:
        return 0.5 * score / threshold
    return 1.0 if threshold >= 1.0 else 0.5 + 0.5 * (score - threshold) / (1.0 - threshold)


@dataclass(frozen=True)
class UncertaintyBand:
    """The range of risks in which a judge of a cascade is uncertain, so that the next one is asked.

    Attributes:
        pass_below: A pass is certain if its `relative_risk` is below this, 0..0.5. With 0 no pass is certain: use it
            for word lists, for which finding nothing means little.
        fail_from: A fail is certain if its `relative_risk` is at least this, 0.5 or more. Above 1 no fail is certain.
    """

    pass_below: float = 0.2
    fail_from: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.pass_below <= 0.5 <= self.fail_from:
            raise ConfigurationError(
                "an uncertainty band needs 0 <= pass_below <= 0.5 <= fail_from; got "
                f"pass_below={self.pass_below} and fail_from={self.fail_from}."
            )

    def is_certain(self, verdict: Verdict, policy: Policy, band: str) -> bool:
        """Tell whether a verdict is certain, so that it can end a cascade.

        Args:
            verdict: The judge's verdict. Only `pass` and `fail` can be certain.
            policy: The policy with the thresholds, usually `judge.rules`.
            band: The age band.
        """
        if not is_decided(verdict):
            return False
        risk = relative_risk(verdict, policy, band)
        return risk < self.pass_below if verdict.passed else risk >= self.fail_from


class JudgeUsage(FrozenModel):
    """How often a judge of a cascade was called.

    Attributes:
        judge: The judge's spec.
        calls: The number of texts that reached it.
        share: `calls` as a share of all texts, 0..1.
        cost_usd: The total cost of its verdicts in US dollars; `None` if unknown.
        duration_s: The total latency of its verdicts in seconds.
    """

    judge: str
    calls: int = 0
    share: float = 0.0
    cost_usd: float | None = None
    duration_s: float = 0.0

    def plus(self, verdict: Verdict) -> JudgeUsage:
        """Return a copy that counts one more verdict."""
        costs = [cost for cost in (self.cost_usd, verdict.cost_usd) if cost is not None]
        return self.model_copy(
            update={
                "calls": self.calls + 1,
                "cost_usd": sum(costs) if costs else None,
                "duration_s": self.duration_s + verdict.latency_s,
            }
        )


class Cascade(Judge):
    """Ask judges one after another until one is certain; the last judge's verdict always stands.

    Args:
        judges: Two or more judges, from cheap to expensive, with the same policy and age band.
        bands: An uncertainty band for every judge but the last (not to be confused with the age band). By default only
            a fail of the lexicon is certain; every other judge is uncertain at a risk from 0.2 to below 0.8. Use
            `fit_uncertainty_band` to fit them to labeled texts.

    Raises:
        ConfigurationError: If the judges cannot be combined, or if the number of bands is wrong.
    """

    # The scores come from whichever judge decided, so no single curve can be fitted to them.
    calibratable = False

    def __init__(self, judges: Sequence[Judge], bands: Sequence[UncertaintyBand] | None = None) -> None:
        check_judges(judges)
        bands = [_default_band(judge) for judge in judges[:-1]] if bands is None else bands
        if len(bands) != len(judges) - 1:
            raise ConfigurationError(
                f"a cascade of {len(judges)} judges needs {len(judges) - 1} uncertainty bands, one for every judge but "
                f"the last; got {len(bands)}."
            )
        specs = ", ".join(judge.spec for judge in judges)
        super().__init__(f"cascade({specs})", policy=judges[0].policy, band=judges[0].band)
        self.max_chars = max(judge.max_chars for judge in judges)
        self.judges, self.bands = tuple(judges), tuple(bands)
        self._lock = threading.Lock()
        self._usage = [JudgeUsage(judge=judge.spec) for judge in judges]

    def assess(self, passage: Passage) -> Assessment:
        """Ask the judges in order until one is certain."""
        steps = self._steps()
        judge = next(steps)
        while True:
            try:
                judge = steps.send(judge.invoke(passage))
            except StopIteration as end:
                return self._assessment(end.value)

    async def aassess(self, passage: Passage) -> Assessment:
        """Ask the judges in order until one is certain, without blocking the event loop."""
        steps = self._steps()
        judge = next(steps)
        while True:
            verdict = await judge.ainvoke(passage)
            try:
                judge = steps.send(verdict)
            except StopIteration as end:
                return self._assessment(end.value)

    def usage(self) -> tuple[JudgeUsage, ...]:
        """Return how often each judge has been called so far, and what that cost."""
        with self._lock:
            texts = max(1, self._usage[0].calls)
            return tuple(usage.model_copy(update={"share": usage.calls / texts}) for usage in self._usage)

    # A generator, so that `assess` and `aassess` share the logic and differ only in how they call a judge.
    def _steps(self) -> Generator[Judge, Verdict, list[Verdict]]:
        """Yield the next judge to call, receive its verdict, and return all verdicts."""
        verdicts: list[Verdict] = []
        for number, judge in enumerate(self.judges):
            verdict = yield judge
            verdicts.append(verdict)
            with self._lock:
                self._usage[number] = self._usage[number].plus(verdict)
            # `judge.rules`, not `self.policy`: a calibrated judge decided by its fitted thresholds.
            if number < len(self.bands) and self.bands[number].is_certain(verdict, judge.rules, self.band):
                break
        return verdicts

    def _assessment(self, verdicts: Sequence[Verdict]) -> Assessment:
        last = verdicts[-1]
        detail = f"decided by {last.judge}, judge {len(verdicts)} of {len(self.judges)}"
        return Assessment(
            outcome=last.outcome,
            scores=last.scores,
            findings=last.findings,
            detail=f"{detail}; {last.detail}" if last.detail else detail,
            cost_usd=total_cost(verdicts),
        )


def fit_uncertainty_band(
    risks: Sequence[float],
    truth: Sequence[bool],
    expensive: Sequence[bool],
    *,
    max_f1_loss: float = 0.01,
    confidence: float = 0.8,
    seed: int = 0,
) -> UncertaintyBand:
    """Find the band that escalates the fewest texts while the cascade's F1 stays close to the expensive judge's.

    The loss is checked on 200 bootstrap resamples (Efron 1979), so that a small sample does not promise too much.

    Args:
        risks: The cheap judge's `relative_risk` of every text, 0..1.
        truth: For every text, whether it is harmful.
        expensive: For every text, whether the expensive judge fails it.
        max_f1_loss: The loss of F1 allowed compared with calling the expensive judge for every text, 0..1.
        confidence: The share of the resamples in which the loss must stay within `max_f1_loss`, 0..1.
        seed: Seed of the resampling.

    Raises:
        ConfigurationError: If the lists differ in length, or if not both harmful and harmless texts are given.
    """
    import numpy

    if not len(risks) == len(truth) == len(expensive):
        raise ConfigurationError(
            f"risks, truth and expensive must have the same length; got {len(risks)}, {len(truth)} and "
            f"{len(expensive)}."
        )
    risk = numpy.asarray(risks, float)
    harmful, expensive_fails = numpy.asarray(truth, bool), numpy.asarray(expensive, bool)
    if harmful.all() or not harmful.any():
        raise ConfigurationError("an uncertainty band is fitted on harmful and harmless texts; got only one kind.")
    # A resample is a vector of counts, so that F1 on all 200 of them is one matrix product per candidate.
    n = len(risk)
    counts = numpy.concatenate(list(bootstrap_weights(n, _RESAMPLES, seed))).astype(numpy.float32)

    def f1(failed: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        failed_or_harmful: npt.NDArray[np.float32] = counts @ (failed.astype(numpy.float32) + harmful)
        values: npt.NDArray[np.float32] = 2 * (counts @ (failed & harmful)) / numpy.maximum(failed_or_harmful, 1)
        return values

    # Compared within each resample: the two F1 move together, so their difference varies less than either.
    min_f1 = f1(expensive_fails) - max_f1_loss
    # Quantiles instead of a fixed grid: candidates lie as densely as the risks do. At 0.5 nothing is escalated on that
    # side of the threshold, at 0 or infinity everything is.
    steps = numpy.linspace(0.0, 1.0, _CANDIDATE_QUANTILES)
    lows = [0.0, *(numpy.quantile(risk[risk < 0.5], steps) if (risk < 0.5).any() else ()), 0.5]
    highs = [0.5, *(numpy.quantile(risk[risk >= 0.5], steps) if (risk >= 0.5).any() else ()), math.inf]
    best, fewest = UncertaintyBand(0.0, math.inf), n + 1
    for low in lows:
        for high in highs:
            escalated = (risk >= low) & (risk < high)
            cascade_fails = numpy.where(escalated, expensive_fails, risk >= 0.5)
            if escalated.sum() < fewest and (f1(cascade_fails) >= min_f1).mean() >= confidence:
                best, fewest = UncertaintyBand(float(low), float(high)), int(escalated.sum())
    return best


def _default_band(judge: Judge) -> UncertaintyBand:
    # The lexicon is exact about what it lists; that it lists nothing in a text does not make the text harmless.
    return UncertaintyBand(pass_below=0.0, fail_from=0.5) if judge.spec == "lexicon" else UncertaintyBand()

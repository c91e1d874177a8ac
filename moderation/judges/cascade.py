"""From cheap to dear: a judge that is not sure hands the text on."""

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
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.ensemble import check_judges, plain, total_cost

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def relative_risk(verdict: Verdict, policy: Policy, band: str) -> float:
    """How near a verdict is to the other one, in 0..1: below 0.5 every score is under its threshold.

    The highest over the categories of the score, stretched so that each category's threshold lies at 0.5. Without
    scores, 1 for a fail and 0 for a pass.
    """
    if not verdict.scores:
        return 0.0 if verdict.passed else 1.0
    return max(_stretched(score, policy.threshold(c, band)) for c, score in verdict.scores.items())


def _stretched(score: float, threshold: float) -> float:
    if score < threshold:
        return 0.5 * score / threshold
    return 1.0 if threshold >= 1.0 else 0.5 + 0.5 * (score - threshold) / (1.0 - threshold)


@dataclass(frozen=True)
class UncertaintyBand:
    """When a judge's answer ends a cascade.

    Attributes:
        pass_below: A pass with a risk below this ends it, 0..0.5; 0 hands every pass on, as a word list must, whose
            silence says nothing.
        fail_from: A fail with a risk from this on ends it, 0.5..1; above 1 hands every fail on.
    """

    pass_below: float = 0.2
    fail_from: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.pass_below <= 0.5 <= self.fail_from:
            raise ConfigurationError(
                f"a zone needs 0 <= pass_below <= 0.5 <= fail_from; got {self.pass_below} and {self.fail_from}."
            )

    def ends(self, verdict: Verdict, policy: Policy, band: str) -> bool:
        """Whether no further judge needs to be asked."""
        if not plain(verdict):
            return False
        at = relative_risk(verdict, policy, band)
        return at < self.pass_below if verdict.passed else at >= self.fail_from


class Share(FrozenModel):
    """How often a judge of a cascade was asked.

    Attributes:
        judge: Its spec.
        asked: Texts that reached it.
        share: Of all texts, 0..1.
        cost_usd: What its answers cost in all, `None` where that is not known.
        duration_s: What they took in all.
    """

    judge: str
    asked: int = 0
    share: float = 0.0
    cost_usd: float | None = None
    duration_s: float = 0.0

    def and_(self, verdict: Verdict) -> Share:
        """With one more answer."""
        costs = [cost for cost in (self.cost_usd, verdict.cost_usd) if cost is not None]
        return self.model_copy(
            update={
                "asked": self.asked + 1,
                "cost_usd": sum(costs) if costs else None,
                "duration_s": self.duration_s + verdict.latency_s,
            }
        )


class Cascade(Judge):
    """Asks the judges in their order, until one is sure; the last one's answer stands.

    Args:
        judges: Two or more, from cheap to dear, all of one policy and band.
        zones: For every judge but the last, when its answer ends the cascade. By default a lexicon ends it with a
            fail alone, and every other judge where its risk is below 0.2 or from 0.8 on; see `fit_uncertainty_band`.

    Raises:
        ConfigurationError: The judges do not fit together, or there are not as many zones as needed.
    """

    calibratable = False

    def __init__(self, judges: Sequence[Judge], zones: Sequence[UncertaintyBand] | None = None) -> None:
        check_judges(judges)
        zones = [_usual(judge) for judge in judges[:-1]] if zones is None else zones
        if len(zones) != len(judges) - 1:
            raise ConfigurationError(f"{len(judges)} judges need {len(judges) - 1} zones; got {len(zones)}.")
        named = ", ".join(judge.spec for judge in judges)
        super().__init__(f"cascade({named})", policy=judges[0].policy, band=judges[0].band)
        self.judges, self.zones = tuple(judges), tuple(zones)
        self._lock = threading.Lock()
        self._shares = [Share(judge=judge.spec) for judge in judges]

    def assess(self, passage: Passage) -> Assessment:
        """Ask from the first judge on, until one is sure."""
        plan = self._plan()
        judge = next(plan)
        while True:
            try:
                judge = plan.send(judge.invoke(passage))
            except StopIteration as end:
                return self._answer_of(end.value)

    async def aassess(self, passage: Passage) -> Assessment:
        """As `assess`, without blocking the event loop."""
        plan = self._plan()
        judge = next(plan)
        while True:
            verdict = await judge.ainvoke(passage)
            try:
                judge = plan.send(verdict)
            except StopIteration as end:
                return self._answer_of(end.value)

    def shares(self) -> tuple[Share, ...]:
        """How many texts each judge has been asked about so far, and what that cost."""
        with self._lock:
            first = max(1, self._shares[0].asked)
            return tuple(share.model_copy(update={"share": share.asked / first}) for share in self._shares)

    def _plan(self) -> Generator[Judge, Verdict, list[Verdict]]:
        asked: list[Verdict] = []
        for number, judge in enumerate(self.judges):
            verdict = yield judge
            asked.append(verdict)
            with self._lock:
                self._shares[number] = self._shares[number].and_(verdict)
            if number < len(self.zones) and self.zones[number].ends(verdict, judge.rules, self.band):
                break
        return asked

    def _answer_of(self, asked: Sequence[Verdict]) -> Assessment:
        last = asked[-1]
        detail = f"decided by {last.judge}, judge {len(asked)} of {len(self.judges)}"
        return Assessment(
            outcome=last.outcome,
            scores=last.scores,
            findings=last.findings,
            detail=f"{detail}; {last.detail}" if last.detail else detail,
            cost_usd=total_cost(asked),
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
    """The zone that hands the fewest texts on while the cascade's F1 stays near the dear judge's.

    The loss is looked at on 200 bootstrap resamples (Efron 1979), so that few texts do not promise too much.

    Args:
        risks: The cheap judge's `relative_risk` for every text, 0..1.
        truth: Whether the text is harmful.
        expensive: Whether the dear judge fails it.
        max_f1_loss: How much F1 may be lost against asking the dear judge about every text, 0..1.
        confidence: The share of the resamples in which no more may be lost, 0..1.
        seed: Of the resampling.

    Raises:
        ConfigurationError: The lists differ in length, or lack one of the two labels.
    """
    import numpy

    if not len(risks) == len(truth) == len(expensive):
        raise ConfigurationError(
            f"risks, truth and dear must be of one length; got {len(risks)}, {len(truth)} and {len(expensive)}."
        )
    at, harmful, given = numpy.asarray(risks, float), numpy.asarray(truth, bool), numpy.asarray(expensive, bool)
    if harmful.all() or not harmful.any():
        raise ConfigurationError("a zone is fitted on harmful and harmless texts; got only one of the two.")
    times = numpy.random.default_rng(seed).multinomial(len(at), [1 / len(at)] * len(at), size=200).astype(numpy.float32)

    def f1(failed: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        marked: npt.NDArray[np.float32] = times @ (failed.astype(numpy.float32) + harmful)
        found: npt.NDArray[np.float32] = 2 * (times @ (failed & harmful)) / numpy.maximum(marked, 1)
        return found

    floor = f1(given) - max_f1_loss
    steps = numpy.linspace(0.0, 1.0, 21)
    lows = [0.0, *(numpy.quantile(at[at < 0.5], steps) if (at < 0.5).any() else ()), 0.5]
    highs = [0.5, *(numpy.quantile(at[at >= 0.5], steps) if (at >= 0.5).any() else ()), math.inf]
    best, fewest = UncertaintyBand(0.0, math.inf), len(at) + 1
    for low in lows:
        for high in highs:
            up = (at >= low) & (at < high)
            if up.sum() < fewest and (f1(numpy.where(up, given, at >= 0.5)) >= floor).mean() >= confidence:
                best, fewest = UncertaintyBand(float(low), float(high)), int(up.sum())
    return best


def _usual(judge: Judge) -> UncertaintyBand:
    return UncertaintyBand(pass_below=0.0, fail_from=0.5) if judge.spec == "lexicon" else UncertaintyBand()

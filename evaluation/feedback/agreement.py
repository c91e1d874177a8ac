"""How far the judge and people agree on recorded tales, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pydantic import AwareDatetime

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.evaluation.feedback.store import FeedbackStore
from taleward.evaluation.metrics.agreement import Alpha
from taleward.evaluation.metrics.base import Metric, MetricScore, ratio
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats

PERIODS: Mapping[str, str] = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "all": "all"}
"""The periods, and how each is named."""


class Agreement(FrozenModel):
    """The judge and people on the tales of one period; each person's answer on a tale counts once.

    Attributes:
        period: Which, as `2026-W48`.
        begun: When its first tale was told.
        tales: Tales that people answered on.
        answers: Their answers.
        kappa: Cohen's kappa (1960) of "passed" and "kid-friendly": 1 agree always, 0 as chance would.
        alpha: Krippendorff's alpha (2004) of the judge and all people, who may disagree among themselves too.
        agreed: Share of answers that say what the judge said.
        let_through: Share of the tales' answers "not kid-friendly" where the judge had passed the text.
    """

    period: str
    begun: AwareDatetime
    tales: int
    answers: int
    kappa: MetricScore
    alpha: MetricScore
    agreed: float
    let_through: float | None


def judge_agreement(store: FeedbackStore, *, by: str = "week", resamples: int = 1000, seed: int = 0) -> list[Agreement]:
    """The agreement of each period, oldest first; without a plain verdict a tale is in none.

    Args:
        store: Where the feedback is.
        by: `day`, `week` (ISO), `month` or `all`: when tales were told.
        resamples: Bootstrap resamples behind the intervals; tales are drawn, not answers.
        seed: Of the resamples.

    Raises:
        UnknownName: There is no such period.
    """
    if by not in PERIODS:
        raise UnknownName("period", by, PERIODS)
    periods: dict[str, list[_Answered]] = {}
    for tale, said in store.tales():
        if tale.verdict is None or tale.verdict.outcome not in ("pass", "fail"):
            continue
        answers = {f.person: f.kid_friendly for f in said if f.kid_friendly is not None}
        if answers:
            held = _Answered(tale.id, tale.at, tale.verdict.passed, answers)
            periods.setdefault(tale.at.strftime(PERIODS[by]), []).append(held)
    return [_agreement(name, held, resamples, seed) for name, held in periods.items()]


class _Answered(NamedTuple):
    """A tale that people answered on."""

    id: str
    at: datetime
    passed: bool
    answers: Mapping[str, bool]

    @property
    def ratings(self) -> dict[str, str]:
        """What the judge and each person said, in the judge's words."""
        people = {f"person {name}": "pass" if friendly else "fail" for name, friendly in self.answers.items()}
        return {"judge": "pass" if self.passed else "fail", **people}


class JudgeKappa(Metric):
    """Cohen's kappa from a tale's counts: both say yes, the judge alone, people alone, nobody."""

    name = "judge_kappa"
    higher_is_better = True

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Not from samples: its rows come from feedback."""
        raise ConfigurationError("judge_kappa is measured on feedback; see judge_agreement.")

    def value(self, total: Floats) -> Floats:
        """The kappa."""
        both, judge, person, neither = (total[..., n] for n in range(4))
        n = both + judge + person + neither
        chance = (both + judge) * (both + person) + (person + neither) * (judge + neither)
        return ratio(n * (both + neither) - chance, n * n - chance)


def _agreement(name: str, held: Sequence[_Answered], resamples: int, seed: int) -> Agreement:
    import numpy as np

    cells = ((True, True), (True, False), (False, True), (False, False))
    said = [[(tale.passed, friendly) for friendly in tale.answers.values()] for tale in held]
    rows = np.array([[answers.count(cell) for cell in cells] for answers in said], float)
    samples = [Sample(id=tale.id, ratings=FrozenDict(tale.ratings)) for tale in held]
    both, judge, _, neither = rows.sum(0).tolist()
    against = judge + neither
    return Agreement(
        period=name,
        begun=held[0].at,
        tales=len(held),
        answers=int(rows.sum()),
        kappa=JudgeKappa().score_rows(rows, resamples=resamples, seed=seed),
        alpha=Alpha().score(samples, resamples=resamples, seed=seed),
        agreed=(both + neither) / float(rows.sum()),
        let_through=judge / against if against else None,
    )

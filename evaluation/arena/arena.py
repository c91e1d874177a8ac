"""Compare outputs in pairs, and rate their systems: `arena()`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from taleward.core.errors import ConfigurationError
from taleward.evaluation.arena.bradley_terry import strengths, win_probabilities
from taleward.evaluation.arena.preference import LLMPreference, Preference, PreferenceJudge
from taleward.evaluation.arena.result import ArenaComparison, ArenaPair, ArenaRating, ArenaResult
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.resampling import paired_test
from taleward.evaluation.result import Evaluation
from taleward.evaluation.run_samples import progress_bar, run_async
from taleward.evaluation.sample import Sample, as_samples

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Contestants = Sequence[Evaluation] | Mapping[str, Iterable[Sample | Mapping[str, Any] | str]]
"""Evaluations with their samples, or outputs by contestant."""

_FEW_SAMPLES = 20
_SUSPICIOUS_ORDER_SHARE = 1 / 3


@dataclass(frozen=True)
class _Meeting:
    sample: Sample
    first: str
    second: str
    texts: tuple[str, str]


def arena(
    contestants: Contestants,
    judge: PreferenceJudge | str,
    *,
    without_output: Literal["loses", "skip"] = "loses",
    level: float = 0.05,
    resamples: int = 1_000,
    concurrency: int = 8,
    seed: int = 0,
    progress: bool = True,
) -> ArenaResult:
    """Let a judge choose between the outputs of every two systems, and rate the systems.

    Each pair of texts is shown in both orders, unless the judge is blind to the order; an answer that changes with the
    order counts as a tie. Ratings are Bradley-Terry strengths. Their intervals are percentiles of a bootstrap over
    samples, since comparisons of one sample are not independent; pairs are tested by sign flips, as in `compare`.

    Args:
        contestants: Two or more evaluations of one dataset with their samples, or a mapping from the contestant's name
            to its samples or texts. Samples meet by id; texts have their number as id.
        judge: Who chooses: a `PreferenceJudge`, such as an `LLMPreference` or a filled-in `ChoiceSheet`, or the spec
            of a chat model for an `LLMPreference`.
        without_output: Whether a contestant without an output for a sample, for example because its guard refused,
            loses to one that has an output, or the comparison is skipped. Two without an output never meet.
        level: The significance level of the tests; intervals hold with 1 - level.
        resamples: The number of bootstrap resamples, and of random sign flips for more than 14 samples.
        concurrency: How many comparisons run at once.
        seed: Seed of the resamples.
        progress: Whether to show a progress bar if standard error is a terminal.

    Raises:
        ConfigurationError: If there are fewer than two contestants, two of the same name, no sample in common, or no
            comparison with a usable answer; or if a number is out of range.
    """
    if concurrency < 1 or resamples < 1 or not 0 < level < 1:
        raise ConfigurationError(
            "concurrency and resamples must be at least 1, and level between 0 and 1; got "
            f"{concurrency}, {resamples} and {level}."
        )
    preference_judge = LLMPreference(judge) if isinstance(judge, str) else judge
    outputs = samples_by_contestant(contestants)
    meetings, forfeits = _meetings(outputs, without_output)
    answers: dict[int, tuple[Preference, ...]] = {}

    async def compare_all() -> None:
        remaining = iter(list(enumerate(meetings)))
        with progress_bar(progress, len(meetings), 0) as advance:

            async def worker() -> None:
                for number, meeting in remaining:
                    answers[number] = await _ask(preference_judge, meeting)
                    advance()

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(concurrency):
                        group.create_task(worker())
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None

    run_async(compare_all)
    comparisons = [*forfeits]
    costs = [p.cost_usd for given in answers.values() for p in given if p.cost_usd is not None]
    unusable = 0
    for number, meeting in enumerate(meetings):
        comparison = _comparison(meeting, answers[number])
        if comparison is None:
            unusable += 1
        else:
            comparisons.append(comparison)
    if not comparisons:
        reason = next((p.reason for given in answers.values() for p in given if p.preferred is None), "no outputs")
        raise ConfigurationError(
            f"none of {len(meetings)} comparisons has a usable answer; the first: {reason}",
            hint="Ask a model that follows instructions, with enough tokens for an answer.",
        )
    return _rate(
        list(outputs), comparisons, preference_judge, unusable, sum(costs) if costs else None, level, resamples, seed
    )


def samples_by_contestant(contestants: Contestants) -> dict[str, dict[str, Sample]]:
    """Return the samples by contestant and id.

    Raises:
        ConfigurationError: If there are fewer than two contestants, two of the same name, or an evaluation without
            samples.
    """
    if isinstance(contestants, Mapping):
        named = {name: as_samples(rows) for name, rows in contestants.items()}
    else:
        for evaluation in contestants:
            if not evaluation.samples:
                raise ConfigurationError(
                    f"the evaluation {evaluation.name!r} has no samples: one that is loaded from MLflow comes without.",
                    hint="Load it with load_evaluation(run_id, samples=True).",
                )
        if len({evaluation.name for evaluation in contestants}) < len(contestants):
            raise ConfigurationError(
                "two evaluations have the same name.", hint="Pass a mapping: {name: evaluation.samples, ...}."
            )
        named = {evaluation.name: evaluation.samples for evaluation in contestants}
    if len(named) < 2:
        raise ConfigurationError(f"an arena needs at least two contestants; got {len(named)}.")
    return {name: {sample.id: sample for sample in samples} for name, samples in named.items()}


def _meetings(
    outputs: Mapping[str, Mapping[str, Sample]], without_output: Literal["loses", "skip"]
) -> tuple[list[_Meeting], list[ArenaComparison]]:
    """Return the comparisons to ask for, and those that are decided since one of the two has no output."""
    meetings, forfeits = [], []
    for a, b in combinations(outputs, 2):
        for sample_id, sample in outputs[a].items():
            if sample_id not in outputs[b]:
                continue
            first, second = sample.output, outputs[b][sample_id].output
            if first is not None and second is not None:
                meetings.append(_Meeting(sample, a, b, (first, second)))
            elif first != second and without_output == "loses":
                score = 0.0 if first is None else 1.0
                forfeits.append(ArenaComparison(sample=sample_id, first=a, second=b, score=score))
    if not meetings and not forfeits:
        raise ConfigurationError(
            "the contestants have no sample with an output in common.", hint="Evaluate all of them on one dataset."
        )
    return meetings, forfeits


async def _ask(judge: PreferenceJudge, meeting: _Meeting) -> tuple[Preference, ...]:
    first, second = meeting.texts
    answers = [await judge.prefer(meeting.sample.inputs, first, second)]
    if judge.asks_both_orders and answers[0].preferred is not None:
        answers.append(await judge.prefer(meeting.sample.inputs, second, first))
    return tuple(answers)


def _comparison(meeting: _Meeting, answers: tuple[Preference, ...]) -> ArenaComparison | None:
    """Return the comparison, or `None` if one of the answers cannot be used."""
    if any(answer.preferred is None for answer in answers):
        return None
    points = {"first": 1.0, "tie": 0.5, "second": 0.0}
    scores = [points[str(answers[0].preferred)], *(1.0 - points[str(answer.preferred)] for answer in answers[1:])]
    mean = sum(scores) / len(scores)
    return ArenaComparison(
        sample=meeting.sample.id,
        first=meeting.first,
        second=meeting.second,
        # A preference in one order and a tie in the other is a preference; two that contradict each other are a tie.
        score=1.0 if mean > 0.5 else 0.0 if mean < 0.5 else 0.5,
        order_decided=len(set(scores)) > 1,
        preferences=answers,
    )


def _rate(
    names: Sequence[str],
    comparisons: Sequence[ArenaComparison],
    judge: PreferenceJudge,
    unusable: int,
    cost_usd: float | None,
    level: float,
    resamples: int,
    seed: int,
) -> ArenaResult:
    import numpy as np

    n = len(names)
    wins_by_sample: dict[str, Floats] = {}
    for c in comparisons:
        wins = wins_by_sample.setdefault(c.sample, np.zeros((n, n)))
        first, second = names.index(c.first), names.index(c.second)
        wins[first, second] += c.score
        wins[second, first] += 1 - c.score
    samples = np.array(list(wins_by_sample.values()))
    strength = strengths(samples.sum(0))
    chances = win_probabilities(strength)
    random = np.random.default_rng(seed)
    weights = random.multinomial(len(samples), np.full(len(samples), 1 / len(samples)), size=resamples)
    resampled = win_probabilities(strengths(np.einsum("rs,sij->rij", weights, samples)))
    low, high = np.quantile(resampled, [level / 2, 1 - level / 2], axis=0)
    ratings = []
    for i, name in enumerate(names):
        won, tied, lost = _record(comparisons, name)
        ratings.append(
            ArenaRating(
                name=name,
                strength=float(strength[i]),
                preferred=float(chances[i]),
                low=min(float(low[i]), float(chances[i])),
                high=max(float(high[i]), float(chances[i])),
                wins=won,
                ties=tied,
                losses=lost,
            )
        )
    ratings.sort(key=lambda rating: -rating.strength)
    pairs = _pairs([r.name for r in ratings], comparisons, level, resamples, seed)
    asked_twice = [c for c in comparisons if len(c.preferences) > 1]
    order_decided = sum(c.order_decided for c in asked_twice) / len(asked_twice) if asked_twice else None
    warnings = []
    if len(samples) < _FEW_SAMPLES:
        warnings.append(f"{len(samples)} samples are few: below {_FEW_SAMPLES}, only large differences show")
    if order_decided is not None and order_decided > _SUSPICIOUS_ORDER_SHARE:
        warnings.append(
            f"{judge.name} changed its mind with the order of the texts in {order_decided:.0%} of the pairs"
        )
    return ArenaResult(
        judge=judge.name,
        ratings=tuple(ratings),
        pairs=tuple(pairs),
        comparisons=tuple(comparisons),
        unusable=unusable,
        order_decided=order_decided,
        cost_usd=cost_usd,
        level=level,
        warnings=tuple(warnings),
    )


def _record(comparisons: Iterable[ArenaComparison], name: str) -> tuple[int, int, int]:
    """Return a contestant's wins, ties and losses."""
    scores = [c.score if c.first == name else 1 - c.score for c in comparisons if name in (c.first, c.second)]
    return scores.count(1.0), scores.count(0.5), scores.count(0.0)


class _PreferredShare(MeanMetric):
    """The share of comparisons won; a tie is half."""

    name = "preferred"

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        raise NotImplementedError  # the comparisons are given to the test as they are


def _pairs(
    ranking: Sequence[str], comparisons: Sequence[ArenaComparison], level: float, resamples: int, seed: int
) -> list[ArenaPair]:
    import numpy as np

    pairs = []
    ranked = list(combinations(ranking, 2))
    for a, b in ranked:
        met = [c for c in comparisons if {c.first, c.second} == {a, b}]
        scores = np.array([c.score if c.first == a else 1 - c.score for c in met])
        if scores.sum() < len(scores) / 2:
            a, b, scores = b, a, 1 - scores
        ones = np.ones(len(scores))
        test = paired_test(
            _PreferredShare(),
            np.stack([scores, ones], axis=1),
            np.stack([1 - scores, ones], axis=1),
            level=level,
            comparisons=len(ranked),
            resamples=resamples,
            seed=seed,
        )
        won, tied, lost = (int((scores == value).sum()) for value in (1.0, 0.5, 0.0))
        pairs.append(ArenaPair(first=a, second=b, wins=won, ties=tied, losses=lost, test=test))
    return pairs

"""Which of two stories is better: a chat model is asked for each request, in both orders."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.capabilities import capabilities
from taleward.backends.chat_models import chat_model
from taleward.chains.classification.result import Classification
from taleward.chains.classification.zero_shot import ZeroShotClassifier
from taleward.chains.model_kind import model_name
from taleward.chains.task_definitions import LabelTask
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.result import Evaluation, MetricResult
from taleward.evaluation.sample import Sample

FIRST, SECOND, NEITHER = "first", "second", "neither"
_POINTS = {FIRST: 1.0, NEITHER: 0.5, SECOND: 0.0}


class PreferenceShare(MeanMetric):
    """The share of comparisons that a system wins, 0..1; a tie counts half.

    Each pair of stories is shown in both orders, so that a model which favors a position says nothing. A pair with an
    answer that cannot be read in either order has no value, and neither has one of which a story is missing.

    Args:
        model: A model spec or a LangChain chat model; not the writer of either story.
        policy: The policy of the age band.
        band: The age band that the stories are for.

    Raises:
        ConfigurationError: If the model cannot compare stories, or the band is unknown.
    """

    name = "preference"
    unit = "wins"
    higher_is_better = True

    def __init__(self, model: str | BaseChatModel, *, policy: Policy, band: str) -> None:
        youngest, oldest = policy.band(band).ages
        task = LabelTask(
            name="preference",
            version="1",
            description="Which of two stories for the same request is better.",
            question=f"Which story suits the request and children of {youngest} to {oldest} years better?",
            noun="comparison",
            answer="better",
            labels=FrozenDict(
                {
                    FIRST: "the first story is better",
                    SECOND: "the second story is better",
                    NEITHER: "both are equally good or equally bad",
                }
            ),
        )
        chat = chat_model(model, temperature=0) if isinstance(model, str) else model
        if not capabilities(chat).follows_instructions:
            raise ConfigurationError(
                f"{model_name(model)} follows no instructions, and cannot say which of two stories is better.",
                hint="Name a model that does, such as 'openai:gpt-5-mini' or 'hf:Qwen/Qwen3-4B'.",
            )
        self._classifier = ZeroShotClassifier(chat, task=task)
        self._band = f"{policy.id}/{band}"

    @property
    def options(self) -> Mapping[str, object]:
        """The model, its task and the age band."""
        task = self._classifier.task
        return {"model": self._classifier.spec, "task": f"{task.name}@{task.version}", "policy": self._band}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Not available: a preference needs two systems, see `compare_preference`."""
        msg = "a preference is measured on two systems"
        raise NotImplementedError(msg)

    def wins(self, samples: Sequence[Sample], others: Sequence[Sample]) -> list[float | None]:
        """Return the points of each sample's story against the other one; `None` where there is no answer."""
        asked = [
            (number, _comparison(mine, first, second))
            for number, (mine, other) in enumerate(zip(samples, others, strict=True))
            if mine.output is not None and other.output is not None
            for first, second in ((mine.output, other.output), (other.output, mine.output))
        ]
        answers = self._classifier.batch([text for _, text in asked])
        points: list[float | None] = [None] * len(samples)
        for index in range(0, len(asked), 2):
            forward, backward = (_points(answer) for answer in answers[index : index + 2])
            if forward is not None and backward is not None:
                points[asked[index][0]] = (forward + 1 - backward) / 2
        return points


def compare_preference(
    candidate: Evaluation, champion: Evaluation, metric: PreferenceShare, *, resamples: int = 500, seed: int = 0
) -> tuple[Evaluation, Evaluation]:
    """Return both evaluations with the preference as a further metric.

    Args:
        candidate: An evaluation with its samples.
        champion: Another one on the same dataset.
        metric: Who is asked.
        resamples: The number of bootstrap resamples for the intervals.
        seed: Seed of the resamples.
    """
    others = {sample.id: sample for sample in champion.samples}
    common = [sample for sample in candidate.samples if sample.id in others]
    wins = dict(zip((s.id for s in common), metric.wins(common, [others[s.id] for s in common]), strict=True))

    def with_points(evaluation: Evaluation, points: Mapping[str, float | None]) -> Evaluation:
        result = _metric_result(metric, [points.get(sample_id) for sample_id in evaluation.ids], resamples, seed)
        return evaluation.model_copy(update={"metrics": FrozenDict({**evaluation.metrics, metric.name: result})})

    losses = {sample_id: None if points is None else 1 - points for sample_id, points in wins.items()}
    return with_points(candidate, wins), with_points(champion, losses)


def _metric_result(metric: PreferenceShare, values: Sequence[float | None], resamples: int, seed: int) -> MetricResult:
    import numpy as np

    statistics = tuple(() if value is None else (value, 1.0) for value in values)
    rows = np.array([row or (np.nan, np.nan) for row in statistics], float).reshape(-1, 2)
    score = metric.score_rows(rows, resamples=resamples, seed=seed)
    return MetricResult(score=score, values=tuple(values), statistics=statistics)


def _points(answer: Classification) -> float | None:
    return None if answer.label is None else _POINTS[answer.label]


def _comparison(sample: Sample, first: str, second: str) -> str:
    """Return the text to classify; no story can know the marks between which it stands."""
    mark = secrets.token_hex(4)
    request = "\n".join(f"{name}: {value}" for name, value in sample.inputs.items())
    parts: tuple[tuple[str, Any], ...] = (("request", request), ("first story", first), ("second story", second))
    return "\n\n".join(f"[{name} {mark}]\n{text}\n[end of the {name} {mark}]" for name, text in parts)

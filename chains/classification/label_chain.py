"""LabelChain: the base class of classifiers, shared by single and batch, sync and async calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list

from taleward.chains.classification.result import Classification, ClassificationOutcome
from taleward.chains.task_definitions import LabelTask
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.stores.example_retriever import LabeledExample


class ClassificationQuery(NamedTuple):
    """A text to classify.

    Attributes:
        text: The text, not blank.
        examples: Labeled examples to show before it.
    """

    text: str
    examples: tuple[LabeledExample, ...] = ()


class LabelPrediction(NamedTuple):
    """A model's answer for one text.

    Attributes:
        scores: A score from 0 to 1 for each label; `None` if the model only names labels.
        labels: The labels that the model named, used if there are no scores; `None` if its answer was unparsable.
        detail: Why the answer was unparsable, or what was left out of the text.
    """

    scores: dict[str, float] | None
    labels: tuple[str, ...] | None = None
    detail: str = ""


class LabelReader(Protocol):
    """Gets labels or label scores out of a model.

    Attributes:
        spec: The model's name for results.
    """

    spec: str

    def read(
        self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]
    ) -> Sequence[LabelPrediction | Exception]:
        """Return a prediction, or the exception that was raised, for each query."""

    async def aread(
        self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]
    ) -> Sequence[LabelPrediction | Exception]:
        """Async version of `read`."""


class LabelChain(Runnable[str, Classification]):
    """A Runnable that classifies a text.

    `batch` and `abatch` pass all texts to the model together.

    Args:
        reader: Gets label scores out of the model.
        task: The labels and the question.
        multi_label: Whether several labels may apply at once.
        threshold: The minimum score, from 0 to 1. If the best label scores lower, the outcome is `abstain`. In a
            multi-label task labels below it are left out, and `None` means 0.5. A model without scores abstains by
            answering that no label fits.

    Raises:
        ConfigurationError: If the threshold is not from 0 to 1.
    """

    def __init__(self, reader: LabelReader, task: LabelTask, *, multi_label: bool, threshold: float | None) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigurationError(f"threshold must be from 0 to 1, or None; got {threshold}.")
        self._reader = reader
        self.spec, self.task, self.multi_label, self.threshold = reader.spec, task, multi_label, threshold

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Classification:
        """Classify a text; the outcome for a blank text is `abstain`."""
        return self._call_with_config(self._classify, input, self._with_metadata(config), run_type="chain")

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Classification:
        """Async version of `invoke`."""
        return await self._acall_with_config(self._aclassify, input, self._with_metadata(config), run_type="chain")

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Classification]:
        """Classify several texts; the results are in the order of the texts."""
        configs = self._configs_with_metadata(config, inputs)
        return self._batch_with_config(
            self._classify_batch, inputs, configs, return_exceptions=return_exceptions, run_type="chain"
        )

    async def abatch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Classification]:
        """Async version of `batch`."""
        configs = self._configs_with_metadata(config, inputs)
        return await self._abatch_with_config(
            self._aclassify_batch, inputs, configs, return_exceptions=return_exceptions, run_type="chain"
        )

    def queries(self, texts: Sequence[str]) -> list[ClassificationQuery]:
        """Return a query for each text, with the examples to show before it."""
        return [ClassificationQuery(text) for text in texts]

    def _with_metadata(self, config: RunnableConfig | None) -> RunnableConfig:
        metadata = {"prompt_name": self.task.name, "prompt_version": self.task.version}
        config = config or {}
        return {**config, "metadata": {**(config.get("metadata") or {}), **metadata}}

    def _configs_with_metadata(
        self, config: RunnableConfig | list[RunnableConfig] | None, inputs: list[str]
    ) -> list[RunnableConfig]:
        return [self._with_metadata(each) for each in get_config_list(config, len(inputs))]

    def _classify(self, input: str, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Classification:
        [result] = self._classify_batch([input], [run_manager], [config])
        return _raise_if_exception(result)

    async def _aclassify(
        self, input: str, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> Classification:
        [result] = await self._aclassify_batch([input], [run_manager], [config])
        return _raise_if_exception(result)

    def _classify_batch(
        self, inputs: list[str], run_manager: list[CallbackManagerForChainRun], config: list[RunnableConfig]
    ) -> list[Exception | Classification]:
        indices = _non_blank_indices(inputs)
        predictions = self._reader.read(self.queries([inputs[i] for i in indices]), [config[i] for i in indices])
        return self._results(len(inputs), indices, predictions)

    async def _aclassify_batch(
        self, inputs: list[str], run_manager: list[AsyncCallbackManagerForChainRun], config: list[RunnableConfig]
    ) -> list[Exception | Classification]:
        indices = _non_blank_indices(inputs)
        predictions = await self._reader.aread(self.queries([inputs[i] for i in indices]), [config[i] for i in indices])
        return self._results(len(inputs), indices, predictions)

    def _results(
        self, count: int, indices: Sequence[int], predictions: Sequence[LabelPrediction | Exception]
    ) -> list[Exception | Classification]:
        prediction_at = dict(zip(indices, predictions, strict=True))
        return [self._result(prediction_at[i]) if i in prediction_at else self._blank() for i in range(count)]

    def _result(self, prediction: LabelPrediction | Exception) -> Exception | Classification:
        if isinstance(prediction, Exception):
            return prediction
        if prediction.scores is None:
            if prediction.labels is None:
                return self._classification("unparsable", detail=prediction.detail)
            # In a multi-label task "none of them" is an answer; with one label a text it means abstaining.
            answered = bool(prediction.labels) or self.multi_label
            return self._classification("label" if answered else "abstain", prediction.labels, detail=prediction.detail)
        # Rounding can push a probability slightly out of [0, 1], which `Classification` rejects.
        scores = {label: min(1.0, max(0.0, prediction.scores[label])) for label in self.task.labels}
        ranked = sorted(scores, key=lambda label: -scores[label])
        if self.multi_label:
            threshold = 0.5 if self.threshold is None else self.threshold
            labels = tuple(label for label in ranked if scores[label] >= threshold)
            return self._classification("label", labels, scores, prediction.detail)
        best = ranked[0]
        if self.threshold is not None and scores[best] < self.threshold:
            reason = f"the best label, {best!r}, scores {scores[best]:.2f}, below the threshold of {self.threshold:g}"
            detail = "; ".join(part for part in (reason, prediction.detail) if part)
            return self._classification("abstain", (), scores, detail)
        return self._classification("label", (best,), scores, prediction.detail)

    def _blank(self) -> Classification:
        return self._classification("abstain", detail="the text is blank: there is nothing to classify")

    def _classification(
        self,
        outcome: ClassificationOutcome,
        labels: tuple[str, ...] = (),
        scores: Mapping[str, float] | None = None,
        detail: str = "",
    ) -> Classification:
        return Classification(
            outcome=outcome,
            labels=labels,
            scores=FrozenDict(scores),
            model=self.spec,
            prompt=self.task.prompt,
            detail=detail,
        )


def _non_blank_indices(inputs: Sequence[str]) -> list[int]:
    for text in inputs:
        if not isinstance(text, str):
            raise TypeError(f"a classifier takes a text (str); got {type(text).__name__}")
    return [i for i, text in enumerate(inputs) if text.strip()]


def _raise_if_exception(result: Exception | Classification) -> Classification:
    if isinstance(result, Exception):
        raise result
    return result

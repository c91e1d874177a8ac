"""What classifiers share: one core for a text and for many, sync and async; a reader gives the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list

from taleward.chains.classification.result import Classification, ClassificationOutcome
from taleward.chains.task import LabelTask
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.stores.example_retriever import LabeledExample

ExampleSelector = tuple[LabeledExample, ...]


class Question(NamedTuple):
    """A text that is not blank, and the examples shown before it."""

    text: str
    shots: ExampleSelector = ()


class Reading(NamedTuple):
    """What a model says of a text.

    Attributes:
        scores: A number from 0 to 1 a label; `None` where the model only chose.
        chosen: The labels that it chose, which count where it gave no scores; `None` where its words were no answer.
        detail: Why they were none; or what was left out of the text.
    """

    scores: dict[str, float] | None
    chosen: tuple[str, ...] | None = None
    detail: str = ""


class Reader(Protocol):
    """Reads scores out of a model.

    Attributes:
        spec: What the model is called.
    """

    spec: str

    def read(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> Sequence[Reading | Exception]:
        """A reading, or what went wrong, for each question."""

    async def aread(
        self, questions: Sequence[Question], configs: list[RunnableConfig]
    ) -> Sequence[Reading | Exception]:
        """As `read`, without blocking the event loop."""


class LabelChain(Runnable[str, Classification]):
    """A Runnable from a text to its label.

    `batch` and `abatch` put all texts to the model together.

    Args:
        reader: The model.
        task: What is asked.
        multi_label: Whether several labels may hold at once.
        threshold: The least score of an answer. Below it the outcome is `abstain`; in a multi-label task the label is
            left out, and 0.5 stands for `None`. A model without scores abstains by its own word.

    Raises:
        ConfigurationError: The threshold is not from 0 to 1.
    """

    def __init__(self, reader: Reader, task: LabelTask, *, multi_label: bool, threshold: float | None) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigurationError(f"threshold is from 0 to 1, or None; got {threshold}.")
        self._reader = reader
        self.spec, self.task, self.multi_label, self.threshold = reader.spec, task, multi_label, threshold

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Classification:
        """The text's label; a blank text has none."""
        return self._call_with_config(self._one, input, self._named(config), run_type="chain")

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Classification:
        """As `invoke`, without blocking the event loop."""
        return await self._acall_with_config(self._aone, input, self._named(config), run_type="chain")

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Classification]:
        """The labels of all texts, in their order."""
        return self._batch_with_config(
            self._many, inputs, self._all_named(config, inputs), return_exceptions=return_exceptions, run_type="chain"
        )

    async def abatch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[Classification]:
        """As `batch`, without blocking the event loop."""
        return await self._abatch_with_config(
            self._amany, inputs, self._all_named(config, inputs), return_exceptions=return_exceptions, run_type="chain"
        )

    def questions(self, texts: Sequence[str]) -> list[Question]:
        """The texts with the examples to show before each."""
        return [Question(text) for text in texts]

    def _named(self, config: RunnableConfig | None) -> RunnableConfig:
        metadata = {"prompt_name": self.task.name, "prompt_version": self.task.version}
        config = config or {}
        return {**config, "metadata": {**(config.get("metadata") or {}), **metadata}}

    def _all_named(
        self, config: RunnableConfig | list[RunnableConfig] | None, inputs: list[str]
    ) -> list[RunnableConfig]:
        return [self._named(each) for each in get_config_list(config, len(inputs))]

    def _one(self, input: str, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Classification:
        [answer] = self._many([input], [run_manager], [config])
        return _raised(answer)

    async def _aone(
        self, input: str, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> Classification:
        [answer] = await self._amany([input], [run_manager], [config])
        return _raised(answer)

    def _many(
        self, inputs: list[str], run_manager: list[CallbackManagerForChainRun], config: list[RunnableConfig]
    ) -> list[Exception | Classification]:
        asked = _asked(inputs)
        readings = self._reader.read(self.questions([inputs[i] for i in asked]), [config[i] for i in asked])
        return self._answers(len(inputs), asked, readings)

    async def _amany(
        self, inputs: list[str], run_manager: list[AsyncCallbackManagerForChainRun], config: list[RunnableConfig]
    ) -> list[Exception | Classification]:
        asked = _asked(inputs)
        readings = await self._reader.aread(self.questions([inputs[i] for i in asked]), [config[i] for i in asked])
        return self._answers(len(inputs), asked, readings)

    def _answers(
        self, count: int, asked: Sequence[int], readings: Sequence[Reading | Exception]
    ) -> list[Exception | Classification]:
        read = dict(zip(asked, readings, strict=True))
        return [self._answer(read[i]) if i in read else self._blank() for i in range(count)]

    def _answer(self, reading: Reading | Exception) -> Exception | Classification:
        if isinstance(reading, Exception):
            return reading
        if reading.scores is None:
            if reading.chosen is None:
                return self._made("unparsable", detail=reading.detail)
            held = bool(reading.chosen) or self.multi_label
            return self._made("label" if held else "abstain", reading.chosen, detail=reading.detail)
        scores = {label: min(1.0, max(0.0, reading.scores[label])) for label in self.task.labels}
        best = sorted(scores, key=lambda label: -scores[label])
        if self.multi_label:
            least = 0.5 if self.threshold is None else self.threshold
            found = tuple(label for label in best if scores[label] >= least)
            return self._made("label", found, scores, reading.detail)
        if self.threshold is not None and scores[best[0]] < self.threshold:
            said = f"the likeliest label, {best[0]!r}, has {scores[best[0]]:.2f}; {self.threshold:g} is the least"
            return self._made("abstain", (), scores, "; ".join(part for part in (said, reading.detail) if part))
        return self._made("label", (best[0],), scores, reading.detail)

    def _blank(self) -> Classification:
        return self._made("abstain", detail="the text is blank: there is nothing to classify")

    def _made(
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


def _asked(inputs: Sequence[str]) -> list[int]:
    """Which of the texts have words."""
    for text in inputs:
        if not isinstance(text, str):
            raise TypeError(f"a classifier takes a text (str); got {type(text).__name__}")
    return [i for i, text in enumerate(inputs) if text.strip()]


def _raised(answer: Exception | Classification) -> Classification:
    if isinstance(answer, Exception):
        raise answer
    return answer

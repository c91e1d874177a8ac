"""Classification by a few examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from taleward.chains.classification.chain import LabelChain, Question
from taleward.chains.classification.examples import ExampleSelector, Select
from taleward.chains.classification.readers.select import By, reader
from taleward.chains.model_kind import family, name_of
from taleward.chains.task import LabelTask, label_task
from taleward.core.errors import ConfigurationError
from taleward.stores.example_retriever import ExampleRetriever, LabeledExample
from taleward.stores.vector.base import TalewardStore


class FewShotClassifier(LabelChain):
    """A Runnable from a text to its label, by examples.

    A completion model gets them above the text, each behind the separator `###`; a chat model as turns; embeddings as
    the middle of each label's vectors. From a model that runs here the label is read as log-probabilities, so that it
    is always one of the labels.

    Args:
        model: A spec or a model, see `ZeroShotClassifier`.
        labels: Labels of one's own: their names, or names with descriptions.
        task: In their place a ready task: `sentiment`, `age-band`, the path of a `.yaml` file, or a `LabelTask`.
        examples: Labeled texts: `(text, label)` each; or a store or `ExampleRetriever` that holds them. `None` takes
            the task's own.
        select: Which are shown, see `taleward.chains.classification.examples.Select`.
        k: How many; `None` takes all, or four of a store's.
        seed: For a balanced draw.
        threshold: The least score of an answer, see `LabelChain`.
        by: How a model that writes answers, see `taleward.chains.classification.readers.select.By`.
        calibrate: Take out the bias that model and examples have towards labels (of log-probabilities alone).
        options: For the model.

    Raises:
        ConfigurationError: Labels or examples cannot be used, or the model's family takes no examples.
    """

    def __init__(
        self,
        model: str | BaseChatModel | Embeddings = "embedded:minilm",
        labels: Sequence[str] | Mapping[str, str] | None = None,
        *,
        task: str | Path | LabelTask | None = None,
        examples: Iterable[LabeledExample | tuple[str, str] | Mapping[str, str]]
        | TalewardStore
        | ExampleRetriever
        | None = None,
        select: Select | None = None,
        k: int | None = None,
        seed: int = 0,
        threshold: float | None = None,
        by: By = "auto",
        calibrate: bool = True,
        **options: Any,
    ) -> None:
        chosen = label_task(labels, task, None)
        if family(model) == "classifier":
            raise ConfigurationError(
                f"{name_of(model)} is an NLI model, which takes no examples.",
                hint="Use ZeroShotClassifier, or embeddings or a model that writes.",
            )
        self._shots = ExampleSelector(chosen, examples, select=select, k=k, seed=seed)
        found = reader(
            model,
            chosen,
            by=by,
            multi_label=False,
            calibrate=calibrate,
            abstains=threshold is not None,
            options=options,
        )
        super().__init__(found, chosen, multi_label=False, threshold=threshold)

    def questions(self, texts: Sequence[str]) -> list[Question]:
        """The texts with the examples picked for each."""
        return [Question(text, shots) for text, shots in zip(texts, self._shots.pick(texts), strict=True)]

"""FewShotClassifier: classify texts with the help of labeled examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from taleward.chains.classification.example_selection import ExampleSelector, SelectionMethod
from taleward.chains.classification.label_chain import ClassificationQuery, LabelChain
from taleward.chains.classification.readers.select import AnswerMethod, select_reader
from taleward.chains.model_kind import model_kind, model_name
from taleward.chains.task_definitions import LabelTask, resolve_label_task
from taleward.core.errors import ConfigurationError
from taleward.stores.example_retriever import ExampleRetriever, LabeledExample
from taleward.stores.vector.base import TalewardStore


class FewShotClassifier(LabelChain):
    """A Runnable that classifies a text with the help of labeled examples.

    A completion model sees the examples before the text, separated by `###`, and so does every model that runs in this
    process; a hosted chat model sees them as turns; embeddings are compared with the mean vector of each label's
    examples. A model that runs in this process is read through its log-probabilities, so that the answer is always one
    of the labels.

    Args:
        model: A spec or a model, see `ZeroShotClassifier`.
        labels: Your own labels: their names, or a mapping from names to descriptions.
        task: A ready-made task instead of labels: `sentiment`, `age-band`, the path of a `.yaml` file, or a
            `LabelTask`.
        examples: Labeled texts as `(text, label)`, or a store or `ExampleRetriever` that contains them. `None` uses the
            task's own.
        select: How to select the examples to show, see `SelectionMethod` in `example_selection.py`.
        k: Maximum number of examples; `None` means all, or four from a store.
        seed: Seed of the balanced draw.
        threshold: The minimum score, see `LabelChain`.
        by: How a generative model answers, see `taleward.chains.classification.readers.select.AnswerMethod`.
        calibrate: Remove the bias of model and examples towards some labels; takes two passes (log-probabilities only).
        options: Options for the model.

    Raises:
        ConfigurationError: If the labels or examples are invalid, or this kind of model cannot use examples.
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
        select: SelectionMethod | None = None,
        k: int | None = None,
        seed: int = 0,
        threshold: float | None = None,
        by: AnswerMethod = "auto",
        calibrate: bool = True,
        **options: Any,
    ) -> None:
        label_task = resolve_label_task(labels, task, None)
        if model_kind(model) == "classifier":
            raise ConfigurationError(
                f"{model_name(model)} is an NLI model, which cannot use examples.",
                hint="Use ZeroShotClassifier, or embeddings or a chat model.",
            )
        self._selector = ExampleSelector(label_task, examples, select=select, k=k, seed=seed)
        reader = select_reader(
            model,
            label_task,
            by=by,
            multi_label=False,
            calibrate=calibrate,
            abstains=threshold is not None,
            options=options,
        )
        super().__init__(reader, label_task, multi_label=False, threshold=threshold)

    def queries(self, texts: Sequence[str]) -> list[ClassificationQuery]:
        """Return a query for each text, with the examples selected for it."""
        selections = self._selector.select(texts)
        return [ClassificationQuery(text, examples) for text, examples in zip(texts, selections, strict=True)]

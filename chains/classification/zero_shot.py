"""Classification without examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from taleward.chains.classification.chain import LabelChain
from taleward.chains.classification.readers.select import By, reader
from taleward.chains.task import LabelTask, label_task


class ZeroShotClassifier(LabelChain):
    """A Runnable from a text to its label, by the labels' names and descriptions alone.

    The model's family says how: embeddings compare vectors; an NLI model says how far the text entails a sentence
    about each label (Yin et al. 2019, arXiv 1909.00161); a model that writes is asked.

    Args:
        model: A spec such as `embedded:minilm`, `hf:cross-encoder/nli-deberta-v3-small` or `openai:gpt-5-mini`; or a
            LangChain chat model or embeddings.
        labels: Labels of one's own: their names, or names with descriptions.
        task: In their place a ready task: `sentiment`, `age-band`, the path of a `.yaml` file, or a `LabelTask`.
        multi_label: Whether several labels may hold at once. Scores then stand each for itself, else they sum to 1.
        threshold: The least score of an answer, see `LabelChain`.
        hypothesis: For an NLI model: a sentence with `{label}` or `{description}` in it.
        by: How a model that writes answers, see `taleward.chains.classification.readers.select.By`.
        calibrate: Take out the bias that a model has towards labels (of log-probabilities alone).
        options: For the model.

    Raises:
        ConfigurationError: The labels cannot be used, or the model's family does not classify.
    """

    def __init__(
        self,
        model: str | BaseChatModel | Embeddings = "embedded:minilm",
        labels: Sequence[str] | Mapping[str, str] | None = None,
        *,
        task: str | Path | LabelTask | None = None,
        multi_label: bool = False,
        threshold: float | None = None,
        hypothesis: str | None = None,
        by: By = "auto",
        calibrate: bool = True,
        **options: Any,
    ) -> None:
        chosen = label_task(labels, task, hypothesis)
        found = reader(
            model,
            chosen,
            by=by,
            multi_label=multi_label,
            calibrate=calibrate,
            abstains=threshold is not None,
            options=options,
        )
        super().__init__(found, chosen, multi_label=multi_label, threshold=threshold)

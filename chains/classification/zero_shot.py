"""ZeroShotClassifier: classify texts by the names and descriptions of labels, without examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from taleward.chains.classification.label_chain import LabelChain
from taleward.chains.classification.readers.select import AnswerMethod, select_reader
from taleward.chains.task_definitions import LabelTask, resolve_label_task


class ZeroShotClassifier(LabelChain):
    """A Runnable that classifies a text by the names and descriptions of labels.

    How depends on the kind of model: embeddings compare the text's vector with the labels'; an NLI model scores how
    far the text entails a sentence about each label (Yin et al. 2019, arXiv 1909.00161); a chat model is asked.

    Args:
        model: A spec such as `embedded:minilm`, `hf:cross-encoder/nli-deberta-v3-small` or `openai:gpt-5-mini`, or a
            LangChain chat model or embeddings.
        labels: Your own labels: their names, or a mapping from names to descriptions.
        task: A ready-made task instead of labels: `sentiment`, `age-band`, the path of a `.yaml` file, or a
            `LabelTask`.
        multi_label: Whether several labels may apply at once. Each score then stands alone; otherwise they sum to 1.
        threshold: The minimum score, see `LabelChain`.
        hypothesis: For NLI models: a sentence that contains `{label}` or `{description}`.
        by: How a generative model answers, see `taleward.chains.classification.readers.select.AnswerMethod`.
        calibrate: Remove the model's bias towards some labels; takes two passes (log-probabilities only).
        options: Options for the model.

    Raises:
        ConfigurationError: If the labels are invalid, or this kind of model cannot classify.
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
        by: AnswerMethod = "auto",
        calibrate: bool = True,
        **options: Any,
    ) -> None:
        label_task = resolve_label_task(labels, task, hypothesis)
        reader = select_reader(
            model,
            label_task,
            by=by,
            multi_label=multi_label,
            calibrate=calibrate,
            abstains=threshold is not None,
            options=options,
        )
        super().__init__(reader, label_task, multi_label=multi_label, threshold=threshold)

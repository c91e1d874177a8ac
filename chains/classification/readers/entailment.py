"""Zero-shot classification with NLI models: score how far a text entails a sentence about each label.

The method is that of Yin et al. 2019, arXiv 1909.00161.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig

from taleward.backends.transformers.classifier import Classifier, classifier
from taleward.chains.classification.label_chain import ClassificationQuery, LabelPrediction
from taleward.chains.task_definitions import LabelTask
from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.errors import ConfigurationError
from taleward.moderation.text.windows import windows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_MAX_WORDS = 300
"""Words of a text to pair with a hypothesis: together they fit into the usual 512 tokens."""


class EntailmentLabelReader:
    """Scores labels by how far the text entails the task's hypothesis for each.

    The scores equal those of Hugging Face's zero-shot pipeline. With one label per text they are a softmax of the
    labels' entailment logits; in a multi-label task each is the probability of entailment against contradiction. All
    pairs of a batch go through the model together. A text of more than 300 words is split at sentences, and its scores
    are the mean over its parts.

    Args:
        model: An `hf:` spec: a folder or the name of a repository.
        task: The labels and the hypothesis.
        multi_label: Whether each label is scored on its own.
        options: Options for the model, see `taleward.backends.transformers.classifier.Classifier`.
    """

    def __init__(self, model: str, task: LabelTask, *, multi_label: bool = False, **options: Any) -> None:
        self.model, self.spec = classifier(model, **options), model
        self.task, self.multi_label = task, multi_label

    def read(self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]) -> list[LabelPrediction]:
        """Return each label's score for each query."""
        labels = list(self.task.labels)
        hypotheses = [self.task.hypothesis_for(label) for label in labels]
        parts_of = [_split(query.text) for query in queries]
        flat = [part for parts in parts_of for part in parts]
        if self.multi_label:
            pairs = [(part, hypothesis) for part in flat for hypothesis in hypotheses]
            table = entailment_probabilities(self.model, pairs).reshape(-1, len(labels))
            scores = [dict(zip(labels, map(float, row), strict=True)) for row in table]
        else:
            # "{}": the hypotheses are complete sentences already.
            by_hypothesis = self.model.zero_shot(flat, hypotheses, hypothesis="{}")
            scores = [
                {label: row[hypothesis] for label, hypothesis in zip(labels, hypotheses, strict=True)}
                for row in by_hypothesis
            ]
        predictions, start = [], 0
        for parts in parts_of:
            part_scores, start = scores[start : start + len(parts)], start + len(parts)
            means = {label: sum(row[label] for row in part_scores) / len(part_scores) for label in labels}
            predictions.append(LabelPrediction(means))
        return predictions

    async def aread(
        self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]
    ) -> list[LabelPrediction]:
        """Run `read` in a thread."""
        return await run_in_thread(lambda: self.read(queries, configs))


def entailment_probabilities(model: Classifier, pairs: Sequence[tuple[str, str]]) -> Floats:
    """Return how far each premise entails its hypothesis: P(entailment) / (P(entailment) + P(contradiction)).

    Args:
        model: An NLI model. If it has no label for contradiction, the first label other than entailment is used.
        pairs: Premises and hypotheses.

    Returns:
        Probabilities from 0 to 1, shape (pairs,).

    Raises:
        ConfigurationError: If the model has no label `entailment`.
    """
    names = [label.lower() for label in model.labels]
    entailment = next((i for i, name in enumerate(names) if name.startswith("entail")), None)
    others = [i for i in range(len(names)) if i != entailment]
    contradiction = next((i for i in others if names[i].startswith("contra")), others[0] if others else None)
    if entailment is None or contradiction is None:
        raise ConfigurationError(
            f"{model.spec} is not an NLI model: its labels are {', '.join(model.labels)}, without 'entailment'.",
            hint="Use a model trained on entailment, for example 'hf:cross-encoder/nli-deberta-v3-small'.",
        )
    scores = model.scores([premise for premise, _ in pairs], [hypothesis for _, hypothesis in pairs])
    probabilities: Floats = scores[:, entailment] / (scores[:, entailment] + scores[:, contradiction])
    return probabilities


def _split(text: str) -> list[str]:
    if len(text.split()) <= _MAX_WORDS:
        return [text]
    return [window.of(text) for window in windows(text, size=_MAX_WORDS, max_words=_MAX_WORDS, overlap=0)]

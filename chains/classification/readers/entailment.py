"""Labels by entailment: how far a text implies a sentence about each label (Yin et al. 2019, arXiv 1909.00161)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig

from taleward.backends.transformers.classifier import Classifier, classifier
from taleward.chains.classification.chain import Question, Reading
from taleward.chains.task import LabelTask
from taleward.core.concurrency.threads import run_in_thread
from taleward.core.errors import ConfigurationError
from taleward.moderation.text.windows import windows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_WORDS = 300
"""Words of a text that are read together with a hypothesis: they fit the usual 512 tokens."""


class EntailmentReader:
    """Scores by the task's hypothesis for each label; they are those of the Hugging Face pipeline for the same texts.

    With one label a text the scores are a softmax of the labels' entailment logits; with several each is entailment's
    share of entailment and contradiction. All pairs of a batch go through the model together. A text of more than 300
    words is read in parts of whole sentences, and its scores are their mean.

    Args:
        model: `hf:` and a folder or the name of a repository.
        task: The labels and the hypothesis.
        multi_label: Whether each label stands for itself.
        options: For the model, see `taleward.backends.transformers.classifier.Classifier`.
    """

    def __init__(self, model: str, task: LabelTask, *, multi_label: bool = False, **options: Any) -> None:
        self.model, self.spec = classifier(model, **options), model
        self.task, self.multi_label = task, multi_label

    def read(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading]:
        """Each label's score for each question."""
        names = list(self.task.labels)
        claims = [self.task.supposed(name) for name in names]
        cut = [_parts(question.text) for question in questions]
        flat = [part for parts in cut for part in parts]
        if self.multi_label:
            chances = entailed(self.model, [(part, claim) for part in flat for claim in claims])
            rows = [dict(zip(names, map(float, row), strict=True)) for row in chances.reshape(-1, len(names))]
        else:
            found = self.model.zero_shot(flat, claims, hypothesis="{}")
            rows = [{name: row[claim] for name, claim in zip(names, claims, strict=True)} for row in found]
        readings, at = [], 0
        for parts in cut:
            mine, at = rows[at : at + len(parts)], at + len(parts)
            readings.append(Reading({name: sum(row[name] for row in mine) / len(mine) for name in names}))
        return readings

    async def aread(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading]:
        """As `read`, in a thread."""
        return await run_in_thread(lambda: self.read(questions, configs))


def entailed(model: Classifier, pairs: Sequence[tuple[str, str]]) -> Floats:
    """How far each first text entails the second: entailment's share of entailment and what speaks against it.

    Args:
        model: An NLI model; against entailment speaks its contradiction, or where it has none its other label.
        pairs: Premises and hypotheses.

    Returns:
        From 0 to 1, shape (pairs,).

    Raises:
        ConfigurationError: The model has no label `entailment`.
    """
    names = [label.lower() for label in model.labels]
    entails = next((i for i, name in enumerate(names) if name.startswith("entail")), None)
    rest = [i for i in range(len(names)) if i != entails]
    against = next((i for i in rest if names[i].startswith("contra")), rest[0] if rest else None)
    if entails is None or against is None:
        raise ConfigurationError(
            f"{model.spec} is no NLI model: its labels are {', '.join(model.labels)}, without 'entailment'.",
            hint="Take one trained on entailment, for example 'hf:cross-encoder/nli-deberta-v3-small'.",
        )
    scores = model.scores([premise for premise, _ in pairs], [hypothesis for _, hypothesis in pairs])
    share: Floats = scores[:, entails] / (scores[:, entails] + scores[:, against])
    return share


def _parts(text: str) -> list[str]:
    if len(text.split()) <= _WORDS:
        return [text]
    return [window.of(text) for window in windows(text, size=_WORDS, max_words=_WORDS, overlap=0)]

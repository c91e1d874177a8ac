"""Labels by entailment: how far a text implies a sentence about each label (Yin et al. 2019, arXiv 1909.00161)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.runnables import RunnableConfig

from taleward.backends.pairs import PairClassifier, pair_classifier
from taleward.backends.spec import parse_spec
from taleward.chains.classify import Question, Reading
from taleward.chains.task import LabelTask
from taleward.core.errors import ConfigurationError
from taleward.moderation.blocking import in_thread

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class Entailment:
    """An NLI model: a classifier of pairs one of whose labels is `entailment`.

    Args:
        model: `hf:` and a folder or the name of a repository.
        device: A torch device; `None` takes a GPU where there is one.

    Raises:
        ConfigurationError: The spec is none of a local model.
    """

    def __init__(self, model: str, *, device: str | None = None) -> None:
        spec = parse_spec(model)
        if spec.provider != "hf":
            raise ConfigurationError(f"an NLI model runs here; {model!r} does not.", hint="Give 'hf:REPOSITORY'.")
        self.spec, self._path, self._device = model, spec.model, device

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Logits of each premise and hypothesis, shape (pairs, 2): what speaks against entailment, then entailment.

        Raises:
            ConfigurationError: The model has no label `entailment`.
        """
        import numpy

        model = pair_classifier(self._path, self._device)
        against, entails = self._columns(model)
        both: Floats = numpy.asarray(model.logits(pairs)[:, [against, entails]], dtype=numpy.float64)
        return both

    def chances(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Entailment's share of entailment and contradiction, 0..1, shape (pairs,)."""
        import numpy

        logits = self.logits(pairs)
        found: Floats = 1 / (1 + numpy.exp(numpy.clip(logits[:, 0] - logits[:, 1], -60, 60)))
        return found

    def _columns(self, model: PairClassifier) -> tuple[int, int]:
        names = [label.lower() for label in model.labels]
        entails = next((i for i, name in enumerate(names) if name.startswith("entail")), None)
        if entails is None or len(names) < 2:
            raise ConfigurationError(
                f"{self.spec} is no NLI model: its labels are {', '.join(model.labels)}, without 'entailment'.",
                hint="Take one trained on entailment, for example 'hf:cross-encoder/nli-deberta-v3-small'.",
            )
        rest = [i for i in range(len(names)) if i != entails]
        return next((i for i in rest if names[i].startswith("contra")), rest[0]), entails


class EntailmentReader:
    """Scores by the task's hypothesis for each label; they are those of the Hugging Face pipeline for the same texts.

    With one label a text the scores are a softmax of the labels' entailment logits; with several each is entailment's
    share of entailment and contradiction. All pairs of a batch go through the model together.

    Args:
        model: `hf:` and a folder or the name of a repository.
        task: The labels and the hypothesis.
        multi_label: Whether each label stands for itself.
        device: A torch device; `None` takes a GPU where there is one.
    """

    def __init__(self, model: str, task: LabelTask, *, multi_label: bool = False, device: str | None = None) -> None:
        self.model, self.spec = Entailment(model, device=device), model
        self.task, self.multi_label = task, multi_label

    def read(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading]:
        """Each label's score for each question."""
        import numpy

        names = list(self.task.labels)
        supposed = [self.task.supposed(name) for name in names]
        pairs = [(question.text, sentence) for question in questions for sentence in supposed]
        if self.multi_label:
            chances = self.model.chances(pairs).reshape(-1, len(names))
        else:
            entails = self.model.logits(pairs)[:, 1].reshape(-1, len(names))
            chances = numpy.exp(entails - entails.max(axis=1, keepdims=True))
            chances /= chances.sum(axis=1, keepdims=True)
        return [Reading(dict(zip(names, map(float, row), strict=True))) for row in chances]

    async def aread(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading]:
        """As `read`, in a thread."""
        return await in_thread(lambda: self.read(questions, configs))

"""Labels by likeness: a text's vector against those of the labels and of their examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig

from taleward.chains.classification.chain import Question, Reading
from taleward.chains.task import LabelTask
from taleward.core.concurrency.threads import run_in_thread
from taleward.moderation.text.windows import windows
from taleward.stores.fingerprint import embed_array

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from taleward.stores.fingerprint import Floats

_SHARPNESS = 0.04
"""What cosines are divided by before the softmax; fitted to stories that the benchmark leaves out."""
_LABEL_WEIGHT = 0.3
"""The label's own vector beside the mean of its examples'."""
_UNRELATED = (
    "The train to the city leaves at nine.",
    "She painted the kitchen wall yellow.",
    "Our team lost the match by two goals.",
    "The company sold its shares last year.",
    "Water boils at a hundred degrees.",
    "He forgot his keys on the table again.",
    "The museum is closed on Mondays.",
    "A new road was built across the hills.",
)
"""Sentences about this and that: how like a label they are is how like it a text is that has nothing to do with it."""
_SPREADS = 3.0
"""A label holds for itself from so many standard deviations above the mean of those."""
_KEPT = 10_000
"""Vectors of examples that are kept."""


class VectorReader:
    """Scores by cosine. A label is the mean of its name's and its description's vector, a text that of its windows'.

    With one label a text the scores are a softmax; with several each is a sigmoid of how much more the text is like
    the label than sentences about other things are. Both rank well; neither is a calibrated probability.

    Args:
        embeddings: The embeddings.
        spec: What they are called.
        task: The labels.
        multi_label: Whether each label stands for itself.
    """

    def __init__(self, embeddings: Embeddings, spec: str, task: LabelTask, *, multi_label: bool = False) -> None:
        self.embeddings, self.spec, self.task, self.multi_label = embeddings, spec, task, multi_label
        self._labels: Floats | None = None
        self._above: npt.NDArray[np.float64] | None = None
        self._known: dict[str, Floats] = {}

    def read(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading]:
        """Each label's score for each question."""
        import numpy

        if not questions:
            return []
        names = list(self.task.labels)
        texts = self._texts([question.text for question in questions])
        readings = []
        for question, text in zip(questions, texts, strict=True):
            likeness = (self._with_shots(question) @ text).astype(numpy.float64)
            if self.multi_label:
                chances = 1 / (1 + numpy.exp(-(likeness - self._bars()) / _SHARPNESS))
            else:
                chances = numpy.exp((likeness - likeness.max()) / _SHARPNESS)
                chances /= chances.sum()
            readings.append(Reading(dict(zip(names, map(float, chances), strict=True))))
        return readings

    async def aread(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading]:
        """As `read`, in a thread."""
        return await run_in_thread(lambda: self.read(questions, configs))

    def _with_shots(self, question: Question) -> Floats:
        """The labels' vectors, moved to their examples; shape (labels, dimensions)."""
        import numpy

        own = self._label_rows()
        if not question.shots:
            return own
        if len(self._known) > _KEPT:
            self._known.clear()
        new = [text for text in dict.fromkeys(shot.text for shot in question.shots) if text not in self._known]
        self._known.update(zip(new, self._texts(new), strict=True))
        rows = own.copy()
        for i, label in enumerate(self.task.labels):
            mine = [self._known[shot.text] for shot in question.shots if shot.label == label]
            if mine:
                rows[i] = _unit(_unit(numpy.mean(mine, axis=0, dtype=numpy.float32)) + _LABEL_WEIGHT * own[i])
        return rows

    def _label_rows(self) -> Floats:
        if self._labels is None:
            import numpy

            told = [_told(name, said) for name, said in self.task.labels.items()]
            flat = _unit(embed_array(self.embeddings, [text for pair in told for text in pair]))
            rows, at = [], 0
            for pair in told:
                rows.append(flat[at : at + len(pair)].mean(axis=0))
                at += len(pair)
            self._labels = _unit(numpy.array(rows, dtype=numpy.float32))
        return self._labels

    def _bars(self) -> npt.NDArray[np.float64]:
        """The likeness from which each label rather holds than not, shape (labels,)."""
        if self._above is None:
            usual = (self._label_rows() @ _unit(embed_array(self.embeddings, _UNRELATED)).T).astype("float64")
            self._above = usual.mean(axis=1) + _SPREADS * usual.std(axis=1)
        return self._above

    def _texts(self, texts: Sequence[str]) -> Floats:
        """A vector a text; a long one is read whole, window by window."""
        import numpy

        cut = [[w.of(text) for w in windows(text, size=8, max_words=150, overlap=0)] for text in texts]
        flat = embed_array(self.embeddings, [piece for pieces in cut for piece in pieces])
        rows, at = [], 0
        for pieces in cut:
            rows.append(_unit(flat[at : at + len(pieces)]).mean(axis=0))
            at += len(pieces)
        return _unit(numpy.array(rows, dtype=numpy.float32)) if rows else flat


def _told(name: str, said: str) -> list[str]:
    """What stands for a label; a name such as "3-5" says nothing beside a description."""
    return [said] if said and not any(letter.isalpha() for letter in name) else [name, said] if said else [name]


def _unit(rows: Floats) -> Floats:
    import numpy

    lengths = numpy.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: Floats = (rows / numpy.where(lengths == 0, 1, lengths)).astype(numpy.float32)
    return scaled

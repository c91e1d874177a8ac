"""Classify with embeddings: compare a text's vector with those of the labels and their examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig

from taleward.chains.classification.label_chain import ClassificationQuery, LabelPrediction
from taleward.chains.task_definitions import LabelTask
from taleward.core.concurrency.sync_async import run_in_thread
from taleward.moderation.text.windows import windows
from taleward.stores.embedding_fingerprint import embed_array

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from taleward.stores.embedding_fingerprint import Floats

_TEMPERATURE = 0.04
"""Divisor of the cosines before the softmax; fitted on stories that the benchmark leaves out."""
_LABEL_WEIGHT = 0.3
"""Weight of a label's own vector against the mean of its examples' vectors, which weighs 1."""
_BACKGROUND_SENTENCES = (
    "The train to the city leaves at nine.",
    "She painted the kitchen wall yellow.",
    "Our team lost the match by two goals.",
    "The company sold its shares last year.",
    "Water boils at a hundred degrees.",
    "He forgot his keys on the table again.",
    "The museum is closed on Mondays.",
    "A new road was built across the hills.",
)
"""Sentences on unrelated topics. Their similarity to a label is what an unrelated text would have, and differs a lot
from label to label, so that one fixed cutoff would not do."""
_CUTOFF_DEVIATIONS = 3.0
"""In a multi-label task a label applies from this many standard deviations above the background's mean similarity."""
_MAX_CACHED_EXAMPLES = 10_000
"""The number of example vectors to keep in memory."""


class EmbeddingLabelReader:
    """Scores labels by cosine similarity.

    A label's vector is the mean of its name's and its description's, a text's the mean of its windows'. With one label
    per text the scores are a softmax of the cosines. In a multi-label task each score is a sigmoid of how far the
    cosine exceeds that of unrelated sentences. Scores rank labels well but are not calibrated probabilities.

    Args:
        embeddings: The embeddings.
        spec: Their name for results.
        task: The labels.
        multi_label: Whether each label is scored on its own.
    """

    def __init__(self, embeddings: Embeddings, spec: str, task: LabelTask, *, multi_label: bool = False) -> None:
        self.embeddings, self.spec, self.task, self.multi_label = embeddings, spec, task, multi_label
        self._label_vectors: Floats | None = None
        self._cutoffs: npt.NDArray[np.float64] | None = None
        self._example_vectors: dict[str, Floats] = {}

    def read(self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]) -> list[LabelPrediction]:
        """Return each label's score for each query."""
        import numpy

        if not queries:
            return []
        labels = list(self.task.labels)
        text_vectors = self._embed_texts([query.text for query in queries])
        predictions = []
        for query, text_vector in zip(queries, text_vectors, strict=True):
            similarities = (self._vectors_with_examples(query) @ text_vector).astype(numpy.float64)
            if self.multi_label:
                scores = 1 / (1 + numpy.exp(-(similarities - self._label_cutoffs()) / _TEMPERATURE))
            else:
                scores = numpy.exp((similarities - similarities.max()) / _TEMPERATURE)
                scores /= scores.sum()
            predictions.append(LabelPrediction(dict(zip(labels, map(float, scores), strict=True))))
        return predictions

    async def aread(
        self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]
    ) -> list[LabelPrediction]:
        """Run `read` in a thread."""
        return await run_in_thread(lambda: self.read(queries, configs))

    def _vectors_with_examples(self, query: ClassificationQuery) -> Floats:
        """Return the labels' vectors, moved towards their examples; shape (labels, dimensions)."""
        import numpy

        label_vectors = self._embed_labels()
        if not query.examples:
            return label_vectors
        if len(self._example_vectors) > _MAX_CACHED_EXAMPLES:
            self._example_vectors.clear()
        texts = dict.fromkeys(example.text for example in query.examples)
        new_texts = [text for text in texts if text not in self._example_vectors]
        self._example_vectors.update(zip(new_texts, self._embed_texts(new_texts), strict=True))
        vectors = label_vectors.copy()
        for i, label in enumerate(self.task.labels):
            of_label = [self._example_vectors[example.text] for example in query.examples if example.label == label]
            if of_label:
                mean = _normalize(numpy.mean(of_label, axis=0, dtype=numpy.float32))
                vectors[i] = _normalize(mean + _LABEL_WEIGHT * label_vectors[i])
        return vectors

    def _embed_labels(self) -> Floats:
        """Return a vector for each label, shape (labels, dimensions)."""
        if self._label_vectors is None:
            import numpy

            label_texts = [_label_texts(label, description) for label, description in self.task.labels.items()]
            flat = _normalize(embed_array(self.embeddings, [text for texts in label_texts for text in texts]))
            rows, start = [], 0
            for texts in label_texts:
                rows.append(flat[start : start + len(texts)].mean(axis=0))
                start += len(texts)
            self._label_vectors = _normalize(numpy.array(rows, dtype=numpy.float32))
        return self._label_vectors

    def _label_cutoffs(self) -> npt.NDArray[np.float64]:
        """Return the cosine at which each label's multi-label score is 0.5, shape (labels,)."""
        if self._cutoffs is None:
            background = _normalize(embed_array(self.embeddings, _BACKGROUND_SENTENCES))
            similarities = (self._embed_labels() @ background.T).astype("float64")
            self._cutoffs = similarities.mean(axis=1) + _CUTOFF_DEVIATIONS * similarities.std(axis=1)
        return self._cutoffs

    def _embed_texts(self, texts: Sequence[str]) -> Floats:
        """Return a vector for each text, shape (texts, dimensions).

        Embeddings models cut off what exceeds their context, so a long text is embedded window by window.
        """
        import numpy

        pieces_of = [[window.of(text) for window in windows(text, size=8, max_words=150, overlap=0)] for text in texts]
        flat = embed_array(self.embeddings, [piece for pieces in pieces_of for piece in pieces])
        rows, start = [], 0
        for pieces in pieces_of:
            rows.append(_normalize(flat[start : start + len(pieces)]).mean(axis=0))
            start += len(pieces)
        return _normalize(numpy.array(rows, dtype=numpy.float32)) if rows else flat


def _label_texts(label: str, description: str) -> list[str]:
    """Return the texts that represent a label; a name without letters, such as "3-5", adds nothing to a description."""
    if not description:
        return [label]
    return [label, description] if any(character.isalpha() for character in label) else [description]


def _normalize(rows: Floats) -> Floats:
    """Scale each row to length 1; rows of zeros stay."""
    import numpy

    norms = numpy.linalg.norm(rows, axis=-1, keepdims=True)
    normalized: Floats = (rows / numpy.where(norms == 0, 1, norms)).astype(numpy.float32)
    return normalized

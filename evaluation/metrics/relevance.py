"""Whether the outputs are about what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langchain_core.embeddings import Embeddings

from taleward.backends.embedding_models import embeddings as make_embeddings
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample
from taleward.moderation.guard.inputs import input_texts


class Relevance(MeanMetric):
    """Mean cosine similarity of output and inputs, -1..1.

    Inputs are the values that are text. A blank output, or inputs without text, have no value.

    Args:
        embeddings: A spec, or LangChain embeddings.
    """

    name = "relevance"
    unit = "cosine"
    higher_is_better = True
    needs = ("output", "inputs")

    def __init__(self, embeddings: str | Embeddings = "embedded:minilm") -> None:
        self._called = embeddings if isinstance(embeddings, str) else type(embeddings).__name__
        self.embeddings = make_embeddings(embeddings)

    @property
    def options(self) -> Mapping[str, object]:
        """Whose embeddings."""
        return {"embeddings": self._called}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """The similarity of each output to its inputs."""
        import numpy as np

        pairs = [(s.text, input_texts(s.inputs)) for s in samples]
        whole = [all(text.strip() for text in pair) for pair in pairs]
        asked = [text for pair, both in zip(pairs, whole, strict=True) if both for text in pair]
        found = np.full(len(samples), np.nan)
        if asked:
            vectors = np.asarray(self.embeddings.embed_documents(asked), float)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            found[np.array(whole)] = (vectors[0::2] * vectors[1::2]).sum(axis=1)
        return found.tolist()

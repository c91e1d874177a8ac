"""Relevance of outputs to their inputs, by embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langchain_core.embeddings import Embeddings

from taleward.backends.embedding_models import embeddings as make_embeddings
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample
from taleward.moderation.guard.input_checks import input_texts


class Relevance(MeanMetric):
    """The mean cosine similarity of an output and the text values of its inputs, -1..1.

    Samples with a blank output, or without text in their inputs, have no value.

    Args:
        embeddings: A model spec, or LangChain embeddings.
    """

    name = "relevance"
    unit = "cosine"
    higher_is_better = True
    needs = ("output", "inputs")

    def __init__(self, embeddings: str | Embeddings = "embedded:minilm") -> None:
        self._embeddings_name = embeddings if isinstance(embeddings, str) else type(embeddings).__name__
        self.embeddings = make_embeddings(embeddings)

    @property
    def options(self) -> Mapping[str, object]:
        """The embedding model."""
        return {"embeddings": self._embeddings_name}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the similarity of each output to its inputs."""
        import numpy as np

        pairs = [(s.text, input_texts(s.inputs)) for s in samples]
        has_texts = [all(text.strip() for text in pair) for pair in pairs]
        texts = [text for pair, is_complete in zip(pairs, has_texts, strict=True) if is_complete for text in pair]
        similarities = np.full(len(samples), np.nan)
        if texts:
            vectors = np.asarray(self.embeddings.embed_documents(texts), float)
            # A zero vector has no direction; its similarity is 0 instead of NaN.
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            similarities[np.array(has_texts)] = (vectors[0::2] * vectors[1::2]).sum(axis=1)
        return similarities.tolist()

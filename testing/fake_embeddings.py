"""Fake embeddings for tests: similarity by common words, without a model."""

from __future__ import annotations

import hashlib
import math
import re

from langchain_core.embeddings import Embeddings


class WordEmbeddings(Embeddings):
    """Embeddings in which texts with common words are similar; equal texts have equal vectors of length 1.

    Example:
        ```python
        embeddings = WordEmbeddings()
        cached = tw.CachedEmbeddings(embeddings, tmp_path / "cache.db")
        cached.embed_documents(["a fox", "a fox"])
        assert embeddings.embedded_texts == ["a fox"]
        ```

    Args:
        dimensions: The length of a vector.
        name: The fingerprint of the pretended model; stores do not mix vectors of different models.

    Attributes:
        dimensions: The length of a vector.
        fingerprint: The fingerprint of the pretended model.
        symmetric: Always True: queries and documents have the same vectors.
        embedded_texts: Every text that was embedded, in order. What a cache already had is not among them.
    """

    def __init__(self, dimensions: int = 64, name: str = "test:words") -> None:
        self.dimensions, self.fingerprint, self.symmetric = dimensions, name, True
        self.embedded_texts: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts; one vector per text."""
        self.embedded_texts += texts
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed a query, which gets the same vector as a document."""
        return self.embed_documents([text])[0]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimensions
        for word in re.findall(r"\w+", text.lower()) or [text]:
            # Python's own `hash` of a string differs from process to process.
            word_hash = hashlib.sha256(word.encode()).digest()
            vector[int.from_bytes(word_hash[:4], "big") % self.dimensions] += 1.0
            vector[int.from_bytes(word_hash[4:8], "big") % self.dimensions] += 0.5
        length = math.sqrt(sum(x * x for x in vector))
        return [x / length for x in vector]

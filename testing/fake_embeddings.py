"""Embeddings for tests: no model, a place in space for every text."""

from __future__ import annotations

import hashlib
import math
import re

from langchain_core.embeddings import Embeddings


class WordEmbeddings(Embeddings):
    """Texts that share words are alike; the same text always gives the same vector of length 1.

    Args:
        dimensions: Numbers in a vector.
        name: The model's fingerprint.

    Attributes:
        asked: Every text that was embedded, in order: what a cache should have kept away.
    """

    def __init__(self, dimensions: int = 64, name: str = "test:words") -> None:
        self.dimensions, self.fingerprint, self.symmetric = dimensions, name, True
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text."""
        self.asked += texts
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The same as `embed_documents` gives."""
        return self.embed_documents([text])[0]

    def _vector(self, text: str) -> list[float]:
        row = [0.0] * self.dimensions
        for word in re.findall(r"\w+", text.lower()) or [text]:
            found = hashlib.sha256(word.encode()).digest()
            row[int.from_bytes(found[:4], "big") % self.dimensions] += 1.0
            row[int.from_bytes(found[4:8], "big") % self.dimensions] += 0.5
        length = math.sqrt(sum(x * x for x in row))
        return [x / length for x in row]

"""Extractive summarization: select the most central sentences of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from taleward.chains.summarization.result import SourceSpan
from taleward.moderation.text.sentences import sentences
from taleward.stores.embedding_fingerprint import embed_array

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from taleward.stores.embedding_fingerprint import Floats

_FULL_WEIGHT_WORDS = 25
"""Sentences of at least this many words get full weight, shorter ones a proportional share: they say less."""
_BLOCK_ROWS = 1024
"""Rows of the similarity matrix to compute at a time, so that memory grows linearly with the text."""


def source_spans(text: str) -> list[SourceSpan]:
    """Split a text into sentences, without surrounding whitespace; blank ones are left out."""
    spans: list[SourceSpan] = []
    end = 0
    for sentence in sentences(text):
        start, end = end, end + len(sentence)
        if quote := sentence.strip():
            start += len(sentence) - len(sentence.lstrip())
            spans.append(SourceSpan(quote=quote, start=start, end=start + len(quote)))
    return spans


def central_sentences(text: str, embeddings: Embeddings, max_sentences: int) -> list[SourceSpan]:
    """Select the sentences that represent a text, in the order of the text.

    The first sentence is always selected, since a story begins by saying who and where. The rest is divided into
    as many sections of about equal length as sentences are still needed, and each contributes its most central one. A
    sentence is central if its vector is similar to those of all others (degree centrality: Erkan and Radev 2004, arXiv
    1109.2128), weighted by its length. If `max_sentences` is 1, the most central sentence of the text is selected.

    Args:
        text: Any text.
        embeddings: The embeddings.
        max_sentences: Maximum number of sentences; a text with no more than that is returned whole.
    """
    spans = source_spans(text)
    if len(spans) <= max_sentences:
        return spans
    import numpy

    quotes = [span.quote for span in spans]
    word_counts = numpy.array([len(quote.split()) for quote in quotes])
    weights = centrality(embed_array(embeddings, quotes)) * numpy.minimum(1.0, word_counts / _FULL_WEIGHT_WORDS)
    lead = [0] if max_sentences > 1 else []
    sections = numpy.array_split(numpy.arange(len(lead), len(spans)), max_sentences - len(lead))
    return [spans[i] for i in [*lead, *(int(section[weights[section].argmax()]) for section in sections)]]


def centrality(vectors: Floats) -> npt.NDArray[np.float64]:
    """Return how similar each row is to all others: the sum of its positive cosines with them.

    Args:
        vectors: One row per sentence, shape (rows, dimensions).

    Returns:
        Shape (rows,).
    """
    import numpy

    unit = vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    sums = [
        numpy.maximum(unit[start : start + _BLOCK_ROWS] @ unit.T, 0.0).sum(axis=1)
        for start in range(0, len(unit), _BLOCK_ROWS)
    ]
    # Minus one: the cosine of each row with itself.
    degrees: npt.NDArray[np.float64] = numpy.concatenate(sums).astype(numpy.float64) - 1.0
    return degrees

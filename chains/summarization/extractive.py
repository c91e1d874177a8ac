"""Extractive summaries: sentences of the text itself, chosen by how central they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from taleward.chains.summarization.result import SourceSpan
from taleward.moderation.text.sentences import sentences
from taleward.stores.fingerprint import embed_array

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from taleward.stores.fingerprint import Floats

_FULL_WORDS = 25
"""Words from which a sentence counts in full; a shorter one by its share of them, since it says less."""
_ROWS = 1024


def source_spans(text: str) -> list[SourceSpan]:
    """The sentences of a text that have words, without the white space around them."""
    spans: list[SourceSpan] = []
    end = 0
    for sentence in sentences(text):
        start, end = end, end + len(sentence)
        if quote := sentence.strip():
            start += len(sentence) - len(sentence.lstrip())
            spans.append(SourceSpan(quote=quote, start=start, end=start + len(quote)))
    return spans


def central_sentences(text: str, embeddings: Embeddings, max_sentences: int) -> list[SourceSpan]:
    """The sentences that stand for a text, in its order.

    A tale is told in order, so its first sentence is taken, which says who and where, and the rest is cut into as many
    stretches of like length as there are places left: each gives its most central sentence. Central is the sentence
    whose vector is most like those of all others (degree centrality: Erkan and Radev 2004, arXiv 1109.2128), weighted
    by its length. With one place the most central of all is taken.

    Args:
        text: Any text.
        embeddings: The embeddings.
        max_sentences: Sentences, at most.
    """
    spans = source_spans(text)
    if len(spans) <= max_sentences:
        return spans
    import numpy

    quotes = [span.quote for span in spans]
    words = numpy.array([len(quote.split()) for quote in quotes])
    weights = centrality(embed_array(embeddings, quotes)) * numpy.minimum(1.0, words / _FULL_WORDS)
    first = [0] if max_sentences > 1 else []
    stretches = numpy.array_split(numpy.arange(len(first), len(spans)), max_sentences - len(first))
    return [spans[i] for i in [*first, *(int(s[weights[s].argmax()]) for s in stretches)]]


def centrality(vectors: Floats) -> npt.NDArray[np.float64]:
    """How like all other rows each row is: the sum of its positive cosines with them, shape (rows,)."""
    import numpy

    unit = vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    sums = [numpy.maximum(unit[at : at + _ROWS] @ unit.T, 0.0).sum(axis=1) for at in range(0, len(unit), _ROWS)]
    found: npt.NDArray[np.float64] = numpy.concatenate(sums).astype(numpy.float64) - 1.0
    return found

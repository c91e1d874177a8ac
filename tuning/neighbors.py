"""Labeled neighbors: what people said about the texts that are most like one. They explain, and decide nothing.

On the 120 shipped passages the five nearest neighbors rank texts far worse than the embedded judge does (area under the
ROC curve .67 against .93), so no verdict rests on them.
"""

from __future__ import annotations

from langchain_core.embeddings import Embeddings
from pydantic import Field

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.moderation.calibration.labeled_texts import LabeledData
from taleward.tuning.text_vectors import text_vectors


class LabeledNeighbor(FrozenModel):
    """A labeled text that is like another.

    Attributes:
        text: The text.
        harmful: Whether people say that it must not be released.
        categories: What they say is wrong with it; may be empty.
        band: The age band that it was labeled for; empty if unknown.
        similarity: The cosine similarity of the two, at most 1.
    """

    text: str
    harmful: bool
    categories: tuple[str, ...] = ()
    band: str = ""
    similarity: float = Field(le=1.0)


def explain_with_neighbors(
    text: str, labeled: LabeledData, k: int = 3, *, embeddings: str | Embeddings = "embedded:minilm"
) -> tuple[LabeledNeighbor, ...]:
    """Return the labeled texts that are most like a text, the most similar first.

    Args:
        text: The text.
        labeled: The labeled texts; the same text among them is left out.
        k: The most neighbors to return.
        embeddings: An embedding model, or its spec. Pass a `CachedEmbeddings` to embed the labeled texts only once.

    Raises:
        ConfigurationError: If the text is blank, or `k` is below 1.
    """
    if not text.strip() or k < 1:
        raise ConfigurationError(f"neighbors need a text that is not blank and k of at least 1; got k={k}.")
    rows = [row for row in labeled.rows if row.text.strip() != text.strip()]
    if not rows:
        return ()
    vectors = text_vectors([text, *(row.text for row in rows)], embeddings)
    similarities = vectors[1:] @ vectors[0]
    return tuple(
        LabeledNeighbor(
            text=rows[n].text,
            harmful=rows[n].harmful,
            categories=rows[n].categories,
            band=rows[n].band,
            similarity=min(1.0, float(similarities[n])),
        )
        for n in (-similarities).argsort(kind="stable")[:k]
    )

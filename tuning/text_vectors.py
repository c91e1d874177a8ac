"""One vector per text, of however many sentences: the mean of the vectors of its sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from taleward.backends.embedding_models import embeddings as make_embeddings
from taleward.moderation.text.windows import sentence_windows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def text_vectors(texts: Sequence[str], embeddings: str | Embeddings = "embedded:minilm") -> Floats:
    """Return the vectors of texts, whose dot product is their cosine similarity.

    An encoder reads only the beginning of a long text, so each sentence is embedded.

    Args:
        texts: The texts, none of them blank.
        embeddings: An embedding model, or its spec.

    Returns:
        float64, shape (texts, dimensions), each row of length 1.
    """
    import numpy as np

    model = make_embeddings(embeddings)
    sentences = [[window.of(text) for window in sentence_windows(text)] for text in texts]
    vectors = np.array(model.embed_documents([sentence for of_text in sentences for sentence in of_text]), float)
    starts = np.cumsum([0, *map(len, sentences)])[:-1]
    sums: Floats = np.add.reduceat(vectors, starts) if len(texts) else np.zeros((0, 1))
    # A text whose sentences cancel out is near to nothing.
    unit: Floats = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return unit

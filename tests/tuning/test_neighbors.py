"""Labeled neighbors of a text, and the vectors they are found by."""

from __future__ import annotations

import numpy as np
import pytest

from taleward.core.errors import ConfigurationError
from taleward.moderation.calibration.labeled_texts import LabeledData, LabeledText
from taleward.testing import WordEmbeddings
from taleward.tuning import explain_with_neighbors
from taleward.tuning.text_vectors import text_vectors

LABELED = LabeledData(
    "people",
    "0" * 64,
    (
        LabeledText("The wolf bit the fox in the dark wood.", True, ("violence",), "6-8"),
        LabeledText("The bread rose in the warm oven.", False, band="6-8"),
        LabeledText("The wolf greeted the fox in the wood.", False),
    ),
)


def test_the_most_similar_texts_come_with_what_people_said() -> None:
    first, second = explain_with_neighbors("A wolf bit a fox.", LABELED, k=2, embeddings=WordEmbeddings())
    assert (first.text, first.harmful, first.categories, first.band) == (
        "The wolf bit the fox in the dark wood.", True, ("violence",), "6-8"
    )  # fmt: skip
    assert not second.harmful
    assert 1.0 >= first.similarity > second.similarity


def test_a_text_does_not_explain_itself() -> None:
    found = explain_with_neighbors(f" {LABELED.rows[0].text}\n", LABELED, embeddings=WordEmbeddings())
    assert [neighbor.text for neighbor in found] == [LABELED.rows[2].text, LABELED.rows[1].text]


def test_no_labels_give_no_neighbors_and_a_blank_text_is_refused() -> None:
    assert explain_with_neighbors("A wolf.", LabeledData("none", "", ()), embeddings=WordEmbeddings()) == ()
    with pytest.raises(ConfigurationError, match="not blank"):
        explain_with_neighbors(" ", LABELED, embeddings=WordEmbeddings())
    with pytest.raises(ConfigurationError, match="got k=0"):
        explain_with_neighbors("A wolf.", LABELED, k=0, embeddings=WordEmbeddings())


def test_a_vector_is_of_the_whole_text_however_long() -> None:
    embeddings = WordEmbeddings()
    beginning = "The hen walked to the pond. " * 300
    vectors = text_vectors([beginning, f"{beginning}The wolf came."], embeddings)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    assert not np.array_equal(vectors[0], vectors[1])
    assert text_vectors([], embeddings).shape[0] == 0

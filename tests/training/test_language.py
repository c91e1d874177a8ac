"""The language model learns from a few sentences, and its file holds what it learned."""

from __future__ import annotations

import pytest

pytest.importorskip("scipy")

from taleward.moderation.text.foreign_words import unpack
from training.language.train import fit, tokens

ENGLISH = ["The fox went home with the owl.", "She said that the sea was calm.", "They went to the sea and sang."]
FOREIGN = ["der hund ging nach haus", "sie sang und der mond schien", "das haus und der hund"]


def test_a_model_of_a_few_sentences_tells_them_apart() -> None:
    listed = sorted({word for text in ENGLISH for word, _ in tokens(text, lambda _: True)})
    read = listed.__contains__
    model = unpack(fit([tokens(t, read) for t in ENGLISH], [tokens(t, read) for t in FOREIGN], listed))

    def log_odds(text: str) -> float:
        return sum(model.known[w] if s == "known" else model.unlisted(w, s) for w, s in tokens(text, read)) + model.bias

    assert list(model.known) == listed
    assert all(log_odds(text) < 0 for text in ENGLISH)
    assert all(log_odds(text) > 0 for text in FOREIGN)


def test_a_word_has_the_shape_that_its_place_gives_it() -> None:
    assert tokens("Mia saw Ben’s fox", {"saw", "fox"}.__contains__) == [
        ("mia", "initial"),
        ("saw", "known"),
        ("ben's", "name"),
        ("fox", "known"),
    ]

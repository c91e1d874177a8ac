"""Windows cover every character and stay within their limits."""

import pytest
from hypothesis import given, strategies as st

from taleward.moderation.text.windows import sentence_windows, windows

texts = st.text(st.sampled_from("ab .!?\n\"'”Aé龍。"), max_size=400)


@given(texts)
def test_sentence_windows_cover_every_character_once(text: str) -> None:
    assert "".join(s.of(text) for s in sentence_windows(text, max_words=3)) == text


@given(texts, st.integers(1, 5), st.integers(1, 12))
def test_windows_cover_every_character_and_are_bounded(text: str, size: int, max_words: int) -> None:
    cut = windows(text, size=size, max_words=max_words, overlap=size - 1)
    covered = set()
    for window in cut:
        covered |= set(range(window.start, window.end))
        assert len(window.of(text).split()) <= max_words
    assert covered == set(range(len(text)))
    assert [w.start for w in cut] == sorted(w.start for w in cut)


def test_neighbors_share_a_sentence() -> None:
    text = "One. Two. Three. Four. Five."
    assert [w.of(text) for w in windows(text, size=3, overlap=1)] == [
        "One. Two. Three. ",
        "Three. Four. Five.",
    ]


def test_a_title_does_not_end_a_sentence() -> None:
    text = 'Mr. Fox ran to Dr. Owl. "Help!" he said.'
    assert next(s.of(text) for s in sentence_windows(text)) == "Mr. Fox ran to Dr. Owl. "


def test_unpunctuated_runs_are_bounded() -> None:
    assert all(len(w.of("word " * 1000).split()) <= 100 for w in windows("word " * 1000))
    assert all(w.end - w.start <= 400 for w in windows("x" * 5000, size=1, overlap=0))


def test_overlap_must_be_less_than_size() -> None:
    with pytest.raises(ValueError, match="overlap 3 and size 3"):
        windows("a", size=3, overlap=3)

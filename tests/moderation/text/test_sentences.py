"""Splitting a growing text loses nothing and does not depend on how the text is chunked."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from taleward.moderation.text.sentences import SentenceSplitter, sentences

TEXTS = st.text(st.sampled_from(list("aB .!?\"'“”\n,…(é龍3")), max_size=120)


@given(TEXTS, st.lists(st.integers(1, 9), max_size=40), st.integers(1, 60))
def test_boundaries_do_not_depend_on_the_chunks(text: str, sizes: list[int], max_chars: int) -> None:
    expected = sentences(text, max_chars=max_chars)
    splitter, streamed, offset = SentenceSplitter(max_chars), [], 0
    for size in [*sizes, len(text) + 1]:
        streamed += splitter.push(text[offset : offset + size])
        offset += size
    assert [*streamed, *splitter.finish()] == expected
    assert "".join(expected) == text
    assert all(0 < len(s) <= max_chars for s in expected)


@pytest.mark.parametrize(
    "expected",
    [
        ['"Stop!" he said. ', '"I will not go." ', "She cried."],
        ["Mr. Fox met Dr. Owl at 3.5 p.m. exactly. ", "They ran."],
        ['"Why?" asked Tom. ', '"Because," said Ann, "I like it."\n', "They left."],
        ["Wow!! ", "Really?! ", "Yes… maybe."],
        ["One ran home.\n\n", "Two stayed."],
        ["“Come here,” she said. ", "“I am cold.” ", "He came."],
        ["  \nOnce there was a fox. ", "It slept."],
    ],
)
def test_sentences(expected: list[str]) -> None:
    assert sentences("".join(expected)) == expected


def test_a_sentence_is_returned_when_the_next_begins() -> None:
    splitter = SentenceSplitter()
    assert splitter.push("He ran home. ") == []
    assert splitter.push('"') == []
    assert splitter.push("H") == ["He ran home. "]
    assert splitter.finish() == ['"H']


def test_a_run_without_full_stops_is_cut_between_words() -> None:
    pieces = sentences("word " * 300)
    assert all(len(p) <= 400 for p in pieces)
    assert all(p.endswith(" ") for p in pieces)


def test_a_run_without_white_space_is_cut_at_the_limit() -> None:
    assert [len(p) for p in sentences("x" * 1000)] == [400, 400, 200]


def test_an_invalid_limit_is_rejected() -> None:
    with pytest.raises(ValueError, match="max_chars must be 1 or more; got 0"):
        SentenceSplitter(0)

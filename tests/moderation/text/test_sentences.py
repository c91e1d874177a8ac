"""Cutting a growing text: nothing is lost, and how the text arrives does not matter."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from taleward.moderation.text.sentences import Cutter, sentences

TEXTS = st.text(st.sampled_from(list("aB .!?\"'“”\n,…(é龍3")), max_size=120)


@given(TEXTS, st.lists(st.integers(1, 9), max_size=40), st.integers(1, 60))
def test_where_it_cuts_does_not_depend_on_how_the_text_arrives(text: str, sizes: list[int], longest: int) -> None:
    whole = sentences(text, longest=longest)
    cutter, found, at = Cutter(longest), [], 0
    for size in [*sizes, len(text) + 1]:
        found += cutter.push(text[at : at + size])
        at += size
    assert [*found, *cutter.finish()] == whole
    assert "".join(whole) == text
    assert all(0 < len(s) <= longest for s in whole)


@pytest.mark.parametrize(
    "parts",
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
def test_sentences(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


def test_a_sentence_is_given_out_when_the_next_begins() -> None:
    cutter = Cutter()
    assert cutter.push("He ran home. ") == []
    assert cutter.push('"') == []
    assert cutter.push("H") == ["He ran home. "]
    assert cutter.finish() == ['"H']


def test_a_run_without_full_stops_is_cut_between_words() -> None:
    parts = sentences("word " * 300)
    assert all(len(p) <= 400 for p in parts)
    assert all(p.endswith(" ") for p in parts)


def test_a_run_without_white_space_is_cut_all_the_same() -> None:
    assert [len(p) for p in sentences("x" * 1000)] == [400, 400, 200]


def test_a_wrong_bound() -> None:
    with pytest.raises(ValueError, match="longest must be 1 or more; got 0"):
        Cutter(0)

"""Folded text maps back to the original, and disguised words are replaced."""

import pytest
from hypothesis import given, strategies as st

from taleward.moderation.text.lexicon import find_hits
from taleward.moderation.text.normalize import disguises, normalize, squeeze, undisguise

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@given(any_text)
def test_spans_lie_within_the_original_and_rise(text: str) -> None:
    normalized = normalize(text)
    spans = [normalized.span(i, i + 1) for i in range(len(normalized.text))]
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert spans == sorted(spans)


@given(any_text, any_text)
def test_a_disguised_word_is_found_at_its_offset(before: str, after: str) -> None:
    text = f"{before}. ѕｈіt\u200b. {after}"
    offset = len(before) + 2
    assert any(h.start <= offset < h.end or h.start == offset for h in find_hits(text))


@given(any_text)
def test_disguises_lie_within_the_text(text: str) -> None:
    folded = normalize(text).text
    assert all(0 <= d.start < d.end <= len(folded) for d in disguises(folded))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＦＵＬＬ", "full"),
        ("Zoë", "zoe"),
        ("gооd", "good"),
        ("a\u202eb\u200bc", "abc"),
        ("ﬁne", "fine"),
        ("Straße", "strasse"),
    ],
)
def test_characters_that_look_the_same_are_folded(text: str, folded: str) -> None:
    assert normalize(text).text == folded


def test_squeeze() -> None:
    assert squeeze("shiiiitt") == "shit"


WORDS = {"idiot", "loser", "stupid", "cool", "yes", "monsters", "all", "hate", "the", "ist", "abc", "ass"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You 1d10t, you l0ser!", "you idiot, you loser!"),
        ("s t u p i d m0n5ters", "stupid monsters"),
        ("coool, yyyeeesss", "cool, yes"),
        ("I h a t e @ll of you", "hate all of you"),
        ("hаte", "hate"),  # the second letter is Cyrillic
        ("the 1st of 3D, 10am, B7, mp3", "the 1st of 3d, 10am, b7, mp3"),
        ("no such w0rd", "no such w0rd"),
        ("score: 4, 5, 5", "score: 4, 5, 5"),
        ("", ""),
    ],
)
def test_disguised_words_are_replaced(text: str, expected: str) -> None:
    assert undisguise(text, WORDS.__contains__) == expected


@given(any_text)
def test_a_text_without_a_known_word_is_only_folded(text: str) -> None:
    assert undisguise(text, lambda word: False) == normalize(text).text

"""Which requested values a text mentions."""

from __future__ import annotations

import pytest

from taleward.evaluation.metrics import metric
from taleward.evaluation.sample import as_samples
from taleward.moderation.text.request_coverage import (
    content_words,
    mentions_value,
    missing_wishes,
    value_coverage,
    wishes,
)

TALE = "A shy dragon shared her balloons with all her friends."


@pytest.mark.parametrize(
    ("value", "mentioned"),
    [
        ("shy dragon", True),
        ("brave dragon", True),
        ("the joy of sharing", False),
        ("sharing", False),
        ("red balloon", True),
        ("a new friendship", True),
        ("clever old fox", False),
        ("shy duck", False),  # shy, but no duck
        ("it", False),
        ("", True),
    ],
)
def test_a_value_is_mentioned_by_its_thing_and_half_of_its_content_words(value: str, mentioned: bool) -> None:
    assert mentions_value(value, TALE) is mentioned


def test_content_words_are_those_that_are_not_small() -> None:
    assert content_words("The joy of Sharing, and her friend's map!") == ["joy", "sharing", "friend's", "map"]
    assert content_words("It is") == ["is"]
    assert content_words("of the") == ["of", "the"]
    assert content_words(" ") == []


def test_the_share_counts_only_inputs_with_text() -> None:
    assert value_coverage({"hero": "shy dragon", "thing": "old book", "age": 6, "blank": " "}, TALE) == 0.5
    assert value_coverage({"age": 6}, TALE) is None
    rows = [{"inputs": {"hero": "dragon"}, "output": TALE}, {"inputs": {"hero": "fox"}, "output": TALE}]
    assert metric("value_coverage").score(as_samples(rows), resamples=10).value == 0.5


@pytest.mark.parametrize(
    ("request_text", "wanted"),
    [
        ("a story about a fox who finds a key", ("fox", "key")),
        ("Please write me a short and funny tale about two brothers and a lost kite!", ("two brothers", "lost kite")),
        ("a shy dragon who wants to learn to sing. It ends with a party.", ("shy dragon", "sing", "party")),
        ("tell me a story", ()),
    ],
)
def test_the_wishes_of_a_request_are_its_phrases(request_text: str, wanted: tuple[str, ...]) -> None:
    assert wishes(request_text) == wanted


def test_wishes_that_are_not_in_the_text_are_missing() -> None:
    request = "a story about a shy dragon who shares a cake with a snail"
    assert missing_wishes(wishes(request), TALE) == ("cake", "snail")
    assert value_coverage(request, TALE) == 0.5
    assert value_coverage("tell me a story", TALE) is None

"""Everything that reads a text takes linear time, whatever the text is."""

from __future__ import annotations

import pytest

from benchmarks.linear_time import MAX_GROWTH, MIN_SECONDS, functions, growth, hostile_texts, time_of

SHORT, LONG = 4_000, 64_000
FUNCTIONS = functions()
TEXTS = hostile_texts()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_text_of_16_times_the_length_takes_about_16_times_as_long(name: str) -> None:
    function = FUNCTIONS[name]
    function("Once upon a time a fox ran.")  # loads what is loaded once
    at_4_kb = {piece: time_of(function, text(SHORT), 1) for piece, text in TEXTS.items()}
    at_16_kb = {piece: time_of(function, text(4 * SHORT), 1) for piece, text in TEXTS.items()}
    slowest = sorted(TEXTS, key=lambda piece: -at_16_kb[piece])[:2]
    fastest_growing = sorted(TEXTS, key=lambda piece: -at_16_kb[piece] / (at_4_kb[piece] + 0.0003))[:2]
    measured = [
        growth(function, TEXTS[piece], piece, SHORT, LONG) for piece in dict.fromkeys([*slowest, *fastest_growing])
    ]
    assert [g for g in measured if g.times > MAX_GROWTH and g.seconds > MIN_SECONDS] == []

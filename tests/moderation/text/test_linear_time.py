"""Everything that reads a text takes linear time, whatever the text is."""

from __future__ import annotations

import pytest

from benchmarks.linear_time import MAX_GROWTH, functions, growth, hostile_texts, time_of

SHORT, LONG = 4_000, 64_000
FUNCTIONS = functions()
TEXTS = hostile_texts()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_text_of_16_times_the_length_takes_about_16_times_as_long(name: str) -> None:
    function = FUNCTIONS[name]
    function("Once upon a time a fox ran.")  # loads what is loaded once
    # A quadratic function takes at 16 kB 16 times what it takes at 4 kB: the texts for which it is slowest show it.
    at_16_kb = {piece: time_of(function, text(SHORT * 4), 1) for piece, text in TEXTS.items()}
    suspects = [p for p in TEXTS if at_16_kb[p] > 0.01 or time_of(function, TEXTS[p](SHORT), 1) * 8 < at_16_kb[p]]
    slowest = sorted(suspects, key=lambda piece: -at_16_kb[piece])[:6]
    measured = [growth(function, TEXTS[piece], piece, SHORT, LONG) for piece in slowest]
    assert [g for g in measured if g.times > MAX_GROWTH and g.seconds > 0.005] == []

"""What a text speaks of."""

from __future__ import annotations

import pytest

from taleward.evaluation.metrics import metric
from taleward.evaluation.sample import as_samples
from taleward.moderation.text.value_coverage import mentions_value, value_coverage

TALE = "A shy dragon shared her balloons with all her friends."


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("shy dragon", True),
        ("brave dragon", True),
        ("the joy of sharing", False),
        ("sharing", False),
        ("red balloon", True),
        ("a new friendship", True),
        ("clever old fox", False),
        ("it", False),
        ("", True),
    ],
)
def test_half_of_a_values_words_are_enough_and_small_ones_do_not_count(value: str, said: bool) -> None:
    assert mentions_value(value, TALE) is said


def test_the_share_is_over_the_inputs_that_are_text() -> None:
    assert value_coverage({"hero": "shy dragon", "thing": "old book", "age": 6, "blank": " "}, TALE) == 0.5
    assert value_coverage({"age": 6}, TALE) is None
    rows = [{"inputs": {"hero": "dragon"}, "output": TALE}, {"inputs": {"hero": "fox"}, "output": TALE}]
    assert metric("value_coverage").score(as_samples(rows), resamples=10).value == 0.5

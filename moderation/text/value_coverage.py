"""Whether a text speaks of what was asked for, word by word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SMALL = re.compile(
    r"a|an|and|at|by|everyone|for|from|had|has|have|her|his|in|into|it|its|my|of|on|or|our|that|the|their|them|then|they"
    r"|this|to|up|was|we|were|who|with|you|your"
)
_STEM = 5
"""Letters by which two words are taken for the same: "friend" and "friendship"."""


def words_of(text: str) -> list[str]:
    """A text's words in lower case, without marks."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def mentions_value(value: str, text: str) -> bool:
    """Whether a text speaks of a value: at least half of the value's words, small ones aside, begin like one in it."""
    asked = [word for word in words_of(value) if not _SMALL.fullmatch(word)] or words_of(value)
    said = {word[:_STEM] for word in words_of(text)}
    return 2 * sum(word[:_STEM] in said for word in asked) >= len(asked)


def value_coverage(inputs: Mapping[str, Any], text: str) -> float | None:
    """The share of the inputs' texts that a text speaks of, 0..1; `None` where the inputs hold no text."""
    asked = [value for value in inputs.values() if isinstance(value, str) and words_of(value)]
    return sum(mentions_value(value, text) for value in asked) / len(asked) if asked else None

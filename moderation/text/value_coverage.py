"""Measure how many of the requested values a text mentions, word by word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SMALL_WORD = re.compile(
    r"a|an|and|at|by|everyone|for|from|had|has|have|her|his|in|into|it|its|my|of|on|or|our|that|the|their|them|then|they"
    r"|this|to|up|was|we|were|who|with|you|your"
)
# Words that share their first letters count as one, such as "friend" and "friendship".
_STEM_CHARS = 5


def words_of(text: str) -> list[str]:
    """Return a text's words in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def content_words(value: str) -> list[str]:
    """Return a value's words without small words such as "the"; all its words if it has no others."""
    words = words_of(value)
    return [word for word in words if not _SMALL_WORD.fullmatch(word)] or words


def mentions_value(value: str, text: str) -> bool:
    """Return whether a text has at least half of a value's content words, compared by their first five letters."""
    value_words = content_words(value)
    stems = {word[:_STEM_CHARS] for word in words_of(text)}
    return 2 * sum(word[:_STEM_CHARS] in stems for word in value_words) >= len(value_words)


def value_coverage(inputs: Mapping[str, Any], text: str) -> float | None:
    """Return the share of the text inputs that a text mentions, 0..1; `None` if there are no text inputs."""
    values = [value for value in inputs.values() if isinstance(value, str) and words_of(value)]
    return sum(mentions_value(value, text) for value in values) / len(values) if values else None

"""The word tokenizer of metrics that count words."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text: str) -> list[str]:
    """Split a text into lowercase words: letters, digits and `_` of any alphabet, with apostrophes inside."""
    tokens: list[str] = _WORD.findall(text.lower())
    return tokens

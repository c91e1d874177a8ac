"""The words of a text, for the metrics that count words."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text: str) -> list[str]:
    """Runs of letters, digits and `_` in any alphabet, with the apostrophes within them, in lower case."""
    found: list[str] = _WORD.findall(text.lower())
    return found

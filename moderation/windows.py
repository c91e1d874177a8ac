"""A long text as overlapping windows, so that all of it is judged and no danger hides at a border."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_TITLE = r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)"
_BORDER = re.compile(rf"{_TITLE}(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[!?…\"”])\s+(?=[A-Z])|\n+\s*|[。！？]+\s*")
_WORD = re.compile(r"\S+")
_LONGEST_WORD = 400
"""Characters from which a run without white space is cut, since the encoder reads 256 word pieces at most."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a text.

    Attributes:
        start: Offset of its first character, in code points from 0.
        end: Offset behind its last character.
    """

    start: int
    end: int

    def of(self, text: str) -> str:
        """The window's own words."""
        return text[self.start : self.end]


def sentences(text: str, *, max_words: int = 60) -> list[Window]:
    """Sentences, with runs that lack full stops cut after `max_words` words.

    Together they hold every character of the text exactly once; white space belongs to the sentence before.
    """
    if max_words < 1:
        msg = f"max_words must be 1 or more; got {max_words}"
        raise ValueError(msg)
    cuts = {0, len(text), *(m.end() for m in _BORDER.finditer(text))}
    pieces: list[Window] = []
    for start, end in pairwise(sorted(cuts)):
        inner = [start]
        for count, word in enumerate(_WORD.finditer(text, start, end)):
            if count and count % max_words == 0:
                inner.append(word.start())
            inner.extend(range(word.start() + _LONGEST_WORD, word.end(), _LONGEST_WORD))
        pieces.extend(Window(a, b) for a, b in pairwise([*inner, end]) if b > a)
    return pieces


def windows(text: str, *, size: int = 3, max_words: int = 100, overlap: int = 1) -> list[Window]:
    """Windows of a few sentences that overlap; every character is in at least one.

    Args:
        text: Any text; an empty one has no windows.
        size: Sentences in a window, at most.
        max_words: Words in a window, at most.
        overlap: Sentences that a window shares with the one before, fewer than `size`; fewer are shared where
            the words would not fit.

    Returns:
        Windows in the order of the text.
    """
    if not 0 <= overlap < size:
        msg = f"overlap must be from 0 to below size; got overlap {overlap} and size {size}"
        raise ValueError(msg)
    parts = sentences(text, max_words=min(60, max_words))
    words = [len(p.of(text).split()) for p in parts]
    found: list[Window] = []
    first = 0
    while first < len(parts):
        last, total = first, words[first]
        while last + 1 < len(parts) and last + 1 - first < size and total + words[last + 1] <= max_words:
            last += 1
            total += words[last]
        found.append(Window(parts[first].start, parts[last].end))
        if last + 1 >= len(parts):
            break
        first = max(first + 1, last + 1 - overlap)
    return found

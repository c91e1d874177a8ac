"""A long text as overlapping windows, so that all of it is judged and no danger hides at a border."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from taleward.moderation.text.sentences import sentences

_WORD = re.compile(r"\S+")


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


def sentence_windows(text: str, *, max_words: int = 60) -> list[Window]:
    """Sentences as `taleward.moderation.text.sentences` cuts them, those of more than `max_words` words cut again.

    Together they hold every character of the text exactly once; white space belongs to the sentence before.
    """
    if max_words < 1:
        msg = f"max_words must be 1 or more; got {max_words}"
        raise ValueError(msg)
    pieces: list[Window] = []
    end = 0
    for sentence in sentences(text):
        start, end = end, end + len(sentence)
        words = [word.start() for word in _WORD.finditer(text, start, end)]
        pieces.extend(Window(a, b) for a, b in pairwise([start, *words[max_words::max_words], end]))
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
    parts = sentence_windows(text, max_words=min(60, max_words))
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

"""Split a long text into overlapping windows, so that all of it is judged and no harm hides at a boundary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from taleward.moderation.text.sentences import sentences

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Window:
    """A span of a text.

    Attributes:
        start: Offset of the first character, in code points from 0.
        end: Offset after the last character.
    """

    start: int
    end: int

    def of(self, text: str) -> str:
        """Return the window's part of the text."""
        return text[self.start : self.end]


def sentence_windows(text: str, *, max_words: int = 60) -> list[Window]:
    """Return a window for each sentence; sentences of more than `max_words` words are split further.

    Together the windows cover every character exactly once. White space belongs to the sentence before it.

    Raises:
        ValueError: If `max_words` is below 1.
    """
    if max_words < 1:
        msg = f"max_words must be 1 or more; got {max_words}"
        raise ValueError(msg)
    pieces: list[Window] = []
    end = 0
    for sentence in sentences(text):
        start, end = end, end + len(sentence)
        word_starts = [word.start() for word in _WORD.finditer(text, start, end)]
        pieces.extend(Window(a, b) for a, b in pairwise([start, *word_starts[max_words::max_words], end]))
    return pieces


def windows(text: str, *, size: int = 3, max_words: int = 100, overlap: int = 1) -> list[Window]:
    """Return overlapping windows of a few sentences; every character is in at least one.

    Args:
        text: Any text; an empty one has no windows.
        size: The most sentences in a window.
        max_words: The most words in a window.
        overlap: How many sentences a window shares with the one before it, less than `size`. Fewer are shared if the
            words would not fit.

    Returns:
        Windows in text order.

    Raises:
        ValueError: If `overlap` is negative or not less than `size`.
    """
    if not 0 <= overlap < size:
        msg = f"overlap must be from 0 to below size; got overlap {overlap} and size {size}"
        raise ValueError(msg)
    pieces = sentence_windows(text, max_words=min(60, max_words))
    word_counts = [len(p.of(text).split()) for p in pieces]
    result: list[Window] = []
    first = 0
    while first < len(pieces):
        last, words = first, word_counts[first]
        while last + 1 < len(pieces) and last + 1 - first < size and words + word_counts[last + 1] <= max_words:
            last += 1
            words += word_counts[last]
        result.append(Window(pieces[first].start, pieces[last].end))
        if last + 1 >= len(pieces):
            break
        first = max(first + 1, last + 1 - overlap)
    return result

"""Break a text into lines, and find the largest letters with which it fits a rectangle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from taleward.books.binding.fonts import FontFace, text_width

LEADING = 1.5
PARAGRAPH_GAP = 0.55
_CENTERED_LINES = 4
_SLACK = 1.03
"""Readers of EPUB measure a little differently; a text that fits only just would overflow there."""


class FittedText(NamedTuple):
    """A text in lines.

    Attributes:
        size: The letters' size.
        paragraphs: The lines of every paragraph.
    """

    size: float
    paragraphs: tuple[tuple[str, ...], ...]

    @property
    def height(self) -> float:
        """The height of all lines and the gaps between paragraphs."""
        return _height(self.paragraphs) * self.size

    @property
    def centered(self) -> bool:
        """Whether it is so short that it looks better in the middle."""
        return sum(map(len, self.paragraphs)) <= _CENTERED_LINES


def fit(
    paragraphs: Sequence[str],
    width: float,
    height: float,
    face: FontFace,
    largest: float,
    smallest: float,
    *,
    step: float = 0.25,
) -> FittedText | None:
    """Return a text in the largest letters with which it fits, `None` if it does not fit in the smallest.

    Args:
        paragraphs: The text.
        width: The rectangle's width.
        height: The rectangle's height.
        face: The font.
        largest: The size to begin with.
        smallest: The least size.
        step: By how much the size is reduced.
    """
    size = largest
    while size >= smallest:
        lines = tuple(break_lines(text, width / size, face) for text in paragraphs)
        if _height(lines) * size <= height and all(_widest(part, face) * size <= width for part in lines):
            return FittedText(size, lines)
        size -= step
    return None


def break_lines(text: str, width: float, face: FontFace) -> tuple[str, ...]:
    """Break a text at its spaces into lines no wider than `width`, in units of the font's size."""
    space = text_width(" ", face)
    lines: list[list[str]] = []
    used = 0.0
    for word in text.split():
        length = text_width(word, face) * _SLACK
        if lines and used + space + length <= width:
            lines[-1].append(word)
            used += space + length
        else:
            lines.append([word])
            used = length
    return tuple(" ".join(line) for line in lines)


def _height(paragraphs: Sequence[Sequence[str]]) -> float:
    return sum(map(len, paragraphs)) * LEADING + max(0, len(paragraphs) - 1) * PARAGRAPH_GAP


def _widest(lines: Sequence[str], face: FontFace) -> float:
    return max((text_width(word, face) for line in lines for word in line.split()), default=0.0)

"""Break a text into lines, and find the largest letters with which it fits a rectangle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from taleward.books.binding.fonts import FontFace, text_width

LEADING = 1.5
PARAGRAPH_GAP = 0.55
_CENTERED_LINES = 4
_NARROWER = 0.25
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
            centered = sum(map(len, lines)) <= _CENTERED_LINES
            return FittedText(
                size, tuple(even_lines(text, width / size, face, all_even=centered) for text in paragraphs)
            )
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


def even_lines(text: str, width: float, face: FontFace, *, all_even: bool = True) -> tuple[str, ...]:
    """Break a text like `break_lines`, into as many lines, but without a single word on the last.

    Args:
        text: The text.
        width: The most width, in units of the font's size.
        face: The font.
        all_even: Whether all lines should be about as long.
    """
    lines = break_lines(text, width, face)
    narrow = width
    while narrow > width / 2 and (all_even or (len(lines) > 1 and " " not in lines[-1])):
        narrow -= _NARROWER
        narrower = break_lines(text, narrow, face)
        if len(narrower) > len(lines) or _widest(narrower, face) > narrow:
            break
        lines = narrower
    return lines


def _height(paragraphs: Sequence[Sequence[str]]) -> float:
    return sum(map(len, paragraphs)) * LEADING + max(0, len(paragraphs) - 1) * PARAGRAPH_GAP


def _widest(lines: Sequence[str], face: FontFace) -> float:
    return max((text_width(word, face) for line in lines for word in line.split()), default=0.0)

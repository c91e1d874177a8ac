"""Lay out the colophon on pages of a fixed size."""

from __future__ import annotations

from typing import NamedTuple

from taleward.books.binding.content import BookContent
from taleward.books.binding.fonts import BOLD, READING
from taleward.books.binding.layout import MM_PER_POINT, Box, PageSize
from taleward.books.binding.typeset import LEADING, break_lines

HEADING_SHARE = 0.26
_LARGEST, _SMALLEST, _STEP = 10.5, 7.5, 0.25
_END_LINES, _TITLE_LINES, _GAP_LINES = 4.9, 1.8, 0.6
_HEADING_GAP = 0.8


class ColophonPage(NamedTuple):
    """A page of the colophon.

    Attributes:
        box: Where the text stands.
        size: The letters' size in millimeters.
        summary: The lines of the summary; empty but on the first page.
        rows: Headings with the lines of their texts.
    """

    box: Box
    size: float
    summary: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def lay_out_colophon(book: BookContent, size: PageSize) -> tuple[ColophonPage, ...]:
    """Return the colophon's pages: one if it fits in letters of 7.5 pt or more."""
    side, top = size.width * 0.12, size.height * 0.1
    box = Box(side, top, size.width - 2 * side, size.height - 2 * top)
    points = _LARGEST
    while True:
        pages = _paginate(book, box, points * MM_PER_POINT)
        if len(pages) == 1 or points <= _SMALLEST:
            return pages
        points -= _STEP


def _paginate(book: BookContent, box: Box, size: float) -> tuple[ColophonPage, ...]:
    column = box.width * (1 - HEADING_SHARE) / size
    room = box.height / size / LEADING
    summary = break_lines(book.summary, box.width / size, READING)
    left = room - len(summary) - _TITLE_LINES - _GAP_LINES - (0 if book.ends_by_itself else _END_LINES)
    pages: list[list[tuple[str, tuple[str, ...]]]] = [[]]
    for heading, text in book.colophon:
        wide = box.width * HEADING_SHARE / size - _HEADING_GAP
        least = len(break_lines(heading, wide, BOLD))
        lines = break_lines(text, column, READING)
        while lines:
            if left < min(max(len(lines), least), 3):
                pages.append([])
                left = room
            now, lines = lines[: max(1, int(left))], lines[max(1, int(left)) :]
            pages[-1].append((heading, now))
            left -= max(len(now), least)
    return tuple(
        ColophonPage(box, size, summary if index == 0 else (), tuple(rows)) for index, rows in enumerate(pages)
    )

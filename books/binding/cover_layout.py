"""Lay out a cover on a page of a fixed size: the title on the board, the picture below it."""

from __future__ import annotations

from typing import NamedTuple

from taleward.books.binding.content import BookContent
from taleward.books.binding.fonts import TITLES, text_width
from taleward.books.binding.layout import Box, PageSize
from taleward.books.binding.typeset import break_lines, even_lines
from taleward.core.errors import ConfigurationError

TITLE_LEADING = 1.15
_BORDER = 0.055
_TITLE_HEIGHT, _TITLE_ALONE = 0.24, 0.6
_LARGEST, _SMALLEST = 0.105, 0.03
_SUBTITLE = 0.024


class CoverLayout(NamedTuple):
    """A cover.

    Attributes:
        lines: The title's lines.
        title: Where they stand.
        title_size: The letters' size.
        subtitle: Where the line below stands.
        subtitle_size: Its letters' size.
        picture: Where the picture is, `None` without one.
    """

    lines: tuple[str, ...]
    title: Box
    title_size: float
    subtitle: Box
    subtitle_size: float
    picture: Box | None


def lay_out_cover(book: BookContent, size: PageSize) -> CoverLayout:
    """Lay out a cover: the title in letters as large as its place allows, and the picture in what is left.

    Raises:
        ConfigurationError: If a word of the title is too long for the page.
    """
    border = _BORDER * size.width
    width, room = size.width - 2 * border, size.height * (_TITLE_HEIGHT if book.cover else _TITLE_ALONE)
    letters, lines = _title(book.title, width, room - size.height * _SUBTITLE * 2.6, size)
    subtitle_size = size.height * _SUBTITLE
    block = len(lines) * TITLE_LEADING * letters + 2 * subtitle_size
    picture = None
    if book.cover is not None:
        ratio = book.cover.width / book.cover.height
        height = min(width / ratio, size.height - room - border)
        picture = Box((size.width - height * ratio) / 2, size.height - border - height, height * ratio, height)
    top = ((picture.y if picture else size.height) - block) / 2
    title = Box(border, top, width, len(lines) * TITLE_LEADING * letters)
    below = Box(border, top + title.height + 0.6 * subtitle_size, width, subtitle_size * 1.4)
    return CoverLayout(lines, title, letters, below, subtitle_size, picture)


def _title(title: str, width: float, height: float, size: PageSize) -> tuple[float, tuple[str, ...]]:
    letters = _LARGEST * size.width
    while letters >= _SMALLEST * size.width:
        lines = break_lines(title, width / letters, TITLES)
        fits = max(text_width(line, TITLES) for line in lines) * letters <= width
        if fits and len(lines) * TITLE_LEADING * letters <= height:
            return letters, even_lines(title, width / letters, TITLES)
        letters *= 0.96
    raise ConfigurationError(f"the title {title[:60]!r} is too long for a cover.", hint="Shorten it.")

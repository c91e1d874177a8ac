"""A book as one HTML file that needs nothing else: pictures, typefaces and the script for its pages are in it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import NamedTuple

from taleward.books.binding import templates
from taleward.books.binding.content import BookContent, PageContent
from taleward.books.binding.palette import palette_of
from taleward.books.binding.picture_files import PictureFile, picture_file
from taleward.books.folder import write_whole

_SHORT, _LONG = 160, 420
_COVER_PICTURE_SHARE, _LONG_TITLE_SHARE, _COVER_BORDER_SHARE = 0.72, 0.6, 0.052
_LONG_TITLE = 32
_MIN_COLUMN, _LONG_COLUMN, _SPREAD_COLUMN = 0.62, 0.95, 1.66


class _Ratio(NamedTuple):
    """A picture's width by its height, and the widths of the words' column and of both, in heights."""

    name: str
    value: float
    column: float
    spread: float

    @classmethod
    def of(cls, picture: PictureFile, *, long: bool) -> _Ratio:
        value = round(picture.width / picture.height, 3)
        column = round(max(_LONG_COLUMN if long else _MIN_COLUMN, _SPREAD_COLUMN - value), 3)
        return cls(f"{round(value * 1000)}{'-long' if long else ''}", value, column, round(value + column, 3))


def bind_html(book: BookContent, path: Path) -> None:
    """Write a book as HTML; see `bind`."""
    write_whole(path, html_book(book).encode())


def html_book(book: BookContent) -> str:
    """Return a book as HTML. Its security policy allows its own script and style, and no request at all."""
    cover = picture_file(book.cover, "image/webp") if book.cover else None
    pages = [(page, picture_file(page.picture, "image/webp") if page.picture else None) for page in book.pages]
    lengths = [_length(page) for page in book.pages]
    ratios = [
        _Ratio.of(picture, long=length == "long") if picture else None
        for (_, picture), length in zip(pages, lengths, strict=True)
    ]
    width = 0.75
    if cover is not None:
        share = _LONG_TITLE_SHARE if len(book.title) > _LONG_TITLE else _COVER_PICTURE_SHARE
        width = share * cover.width / cover.height / (1 - 2 * _COVER_BORDER_SHARE)
    style = templates.style_sheet(
        "book.css.jinja",
        palette_of(book.cover),
        all_ratios=sorted({ratio for ratio in ratios if ratio}),
        cover_width=round(min(width, 1.3), 3),
    )
    script = (templates.FOLDER / "book.js").read_text("utf-8")
    csp = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; font-src data:; base-uri 'none'; form-action 'none'"
    )
    return templates.render(
        "book.html.jinja",
        book=book,
        cover=cover,
        pages=pages,
        ratios=[ratio.name if ratio else "" for ratio in ratios],
        lengths=lengths,
        style=templates.safe(style),
        script=templates.safe(script),
        csp=csp,
    )


def _length(page: PageContent) -> str:
    return "short" if page.characters <= _SHORT else "long" if page.characters > _LONG else "medium"


def _hash(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode('ascii')}"

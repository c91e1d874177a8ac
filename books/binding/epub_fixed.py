"""A book as an EPUB 3 with a fixed layout: every page as it is printed, in spreads, with real text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from taleward.books.binding import templates
from taleward.books.binding.colophon_layout import lay_out_colophon
from taleward.books.binding.content import BookContent, PageContent
from taleward.books.binding.cover_layout import lay_out_cover
from taleward.books.binding.epub_package import Document, write_epub
from taleward.books.binding.layout import Box, PageSize, lay_out, page_size_for
from taleward.books.binding.palette import palette_of

_PIXELS_PER_MM = 40 / 7
_CENTER = "rendition:page-spread-center"
_NUMBER_MM = 4.4


def bind_fixed_epub(book: BookContent, path: Path) -> None:
    """Write a book as an EPUB with a fixed layout; see `bind`.

    Raises:
        ConfigurationError: If a text does not fit its page.
    """
    size = page_size_for(book.pages)
    viewport = {"width": _pixels(size.width), "height": _pixels(size.height)}
    style = templates.style_sheet("fixed.css.jinja", palette_of(book.cover), **viewport)
    write_epub(book, path, list(_documents(book, size, viewport)), style, fixed=True)


def _documents(book: BookContent, size: PageSize, viewport: dict[str, int]) -> Iterator[Document]:
    def document(name: str, label: str, kind: str, place: str, **values: Any) -> Document:
        title = book.title if kind == "cover" else f"{book.title}: {label or 'How this book was made'}"
        source = templates.render("fixed.xhtml.jinja", book=book, title=title, kind=kind, **viewport, **values)
        return Document(name, label, source, place)

    sides = cycle(("page-spread-left", "page-spread-right"))
    yield document("cover", "Cover", "cover", _CENTER, **_cover(book, size))
    for page in book.pages:
        yield document(page.name, f"Page {page.number}", "page", next(sides), **_page(book, page, size))
    for index, colophon in enumerate(lay_out_colophon(book, size)):
        name = "colophon" if index == 0 else f"colophon-{index + 1}"
        style = _at(colophon.box, colophon.size)
        label = "" if index else "How this book was made"
        values = {"rows": colophon.rows, "first": index == 0, "text_style": style}
        yield document(name, label, "colophon", next(sides), **values)


def _cover(book: BookContent, size: PageSize) -> dict[str, Any]:
    cover = lay_out_cover(book, size)
    return {
        "title_lines": cover.lines,
        "title_style": _at(cover.title, cover.title_size),
        "subtitle_style": _at(cover.subtitle, cover.subtitle_size),
        "picture": "cover" if book.cover else None,
        "picture_style": _at(cover.picture) if cover.picture else "",
        "alt_text": book.cover_alt,
    }


def _page(book: BookContent, page: PageContent, size: PageSize) -> dict[str, Any]:
    layout = lay_out(page, size, band=book.book.band, facing=False)
    text, height = layout.text, layout.fitted.height
    # The text is in the middle of its place; what is below is room for readers that set it a little wider.
    top = text.y + (text.height - height) / 2
    number = Box(text.x, size.height - 2.1 * _NUMBER_MM, text.width, 1.5 * _NUMBER_MM)
    return {
        "page": page,
        "picture": page.name if page.picture else None,
        "picture_style": _at(layout.picture) if layout.picture else "",
        "centered": layout.fitted.centered,
        "text_style": _at(Box(text.x, top, text.width, text.y + text.height - top), layout.fitted.size),
        "number_style": _at(number, _NUMBER_MM),
    }


def _at(box: Box, letters: float | None = None) -> str:
    x, y, width, height = (_pixels(length) for length in box)
    size = f"; font-size: {letters * _PIXELS_PER_MM:.1f}px" if letters else ""
    return f"left: {x}px; top: {y}px; width: {width}px; height: {height}px{size}"


def _pixels(millimeters: float) -> int:
    return round(millimeters * _PIXELS_PER_MM)

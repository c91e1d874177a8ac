"""A book as a reflowable EPUB 3: pictures with text below, in letters of the reader's choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taleward.books.binding import templates
from taleward.books.binding.content import BookContent
from taleward.books.binding.epub_package import Document, write_epub
from taleward.books.binding.palette import palette_of


def bind_reflowable_epub(book: BookContent, path: Path) -> None:
    """Write a book as a reflowable EPUB; see `bind`."""
    documents = [
        _document(book, "cover", "Cover", "cover", picture="cover" if book.cover else None, alt_text=book.cover_alt),
        *(
            _document(
                book, page.name, f"Page {page.number}", "page", page=page, picture=page.name if page.picture else None
            )
            for page in book.pages
        ),
        _document(book, "colophon", "How this book was made", "colophon"),
    ]
    style = templates.style_sheet("reflowable.css.jinja", palette_of(book.cover))
    write_epub(book, path, documents, style, fixed=False)


def _document(book: BookContent, name: str, label: str, kind: str, **values: Any) -> Document:
    title = book.title if kind == "cover" else f"{book.title}: {label}"
    source = templates.render("reflowable.xhtml.jinja", book=book, title=title, kind=kind, **values)
    return Document(name, label, source)

"""`bind`: a book as a file. To add a format, write one function and add one line to `BINDERS`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from taleward.books.binding.content import BookContent
from taleward.books.book import Book
from taleward.core.errors import ConfigurationError, UnknownName


def _html(book: BookContent, path: Path) -> None:
    from taleward.books.binding.html import bind_html

    bind_html(book, path)


def _epub(book: BookContent, path: Path) -> None:
    from taleward.books.binding.epub_fixed import bind_fixed_epub

    bind_fixed_epub(book, path)


def _epub_reflowable(book: BookContent, path: Path) -> None:
    from taleward.books.binding.epub_reflowable import bind_reflowable_epub

    bind_reflowable_epub(book, path)


def _pdf(book: BookContent, path: Path, *, page_size: str = "21x21cm", bleed_mm: float = 0.0) -> None:
    from taleward.books.binding.pdf import bind_pdf

    bind_pdf(book, path, page_size=page_size, bleed_mm=bleed_mm)


def _folder(book: BookContent, path: Path) -> None:
    from taleward.books.binding.manifest import bind_folder

    bind_folder(book, path)


BINDERS: Mapping[str, Callable[..., None]] = {
    "epub": _epub,
    "epub-reflowable": _epub_reflowable,
    "folder": _folder,
    "html": _html,
    "pdf": _pdf,
}
"""A function for every format."""

_SUFFIXES = {".html": "html", ".htm": "html", ".epub": "epub", ".pdf": "pdf", "": "folder"}


def bind(book: Book, path: Path | str, *, format: str | None = None, **options: Any) -> Path:
    """Write a book as one file, or as a folder with a manifest. The same book gives the same bytes.

    Args:
        book: The book. A page without a picture has its text alone.
        path: The file; its ending says the format unless `format` does. A name without an ending is a folder.
        format: `html`, `epub` (fixed layout), `epub-reflowable`, `pdf` or `folder`.
        options: For `pdf`: `page_size` (`21x21cm`, `A4` or `8.5x8.5in`) and `bleed_mm`, which adds crop marks too.

    Returns:
        The file.

    Raises:
        ConfigurationError: If the format or an option is unknown or invalid, or a text does not fit its page.
        MissingExtra: If a library is not installed.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    name = format or _SUFFIXES.get(path.suffix.lower())
    if name is None:
        raise ConfigurationError(
            f"no format of books is named {path.suffix!r}.",
            hint=f"Name the file .html, .epub or .pdf, or pass format= as one of {', '.join(BINDERS)}.",
        )
    if name not in BINDERS:
        raise UnknownName("book format", name, BINDERS)
    known = [
        parameter.name
        for parameter in inspect.signature(BINDERS[name]).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    if unknown := sorted(set(options) - set(known)):
        takes = f"takes {', '.join(known)}" if known else "takes no options"
        raise ConfigurationError(f"the format {name} {takes}; got {', '.join(unknown)}.", hint="Leave it out.")
    BINDERS[name](BookContent(book), path, **options)
    return path

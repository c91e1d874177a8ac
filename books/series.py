"""A series of books: characters whom the reader knows look the same in the next one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from taleward.books.book import Book
from taleward.images.prompt_spec import CastMember


def series_cast(books: Iterable[Book | Path | str]) -> tuple[CastMember, ...]:
    """Return everyone in a series, as they looked when they first came.

    Args:
        books: Books, or their folders, the earliest first.

    Raises:
        InvalidFile: If a folder holds no book.
        IntegrityError: If something else than Taleward has changed one.
    """
    cast: dict[str, CastMember] = {}
    for book in books:
        read = book if isinstance(book, Book) else Book.load(book)
        for member in read.cast:
            cast.setdefault(member.name.casefold(), member)
    return tuple(cast.values())

"""The folder of a book: `book.json`, the pictures in `pages/`, and earlier versions in `history/`."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from taleward.books.book import Book, BookCover, BookPage
from taleward.core.errors import IntegrityError, InvalidFile
from taleward.images.picture import Picture

BOOK_FILE, PLAN_FILE, PICTURES, HISTORY = "book.json", "plan.yaml", "pages", "history"
_MAX_JSON_BYTES = 50_000_000
_MAX_PICTURE_BYTES = 50_000_000
_DIGEST_LENGTH = 8
_PICTURE_NAME = re.compile(r"(?:cover|page-\d{2})-[0-9a-f]{8}\.(?:png|jpg|webp|svg)")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a process killed at any moment leaves the old one or the new one, on disk.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.half")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_book(book: Book, folder: Path) -> Path:
    """Write a book; see `Book.save`."""
    for name, place in book.illustrated():
        if place.picture is None:
            continue
        path = folder / PICTURES / picture_name(name, place.picture)
        if not path.exists():
            write_whole(path, place.picture.data)
    write_whole(folder / BOOK_FILE, to_json(book))
    return folder


def to_json(book: Book) -> bytes:
    """Return a book as JSON, with the names of the pictures' files in place of their bytes."""
    plain = book.model_dump(mode="json", exclude={"cover": {"picture": {"data"}}, "pages": _NO_BYTES})
    for (name, place), fields in zip(book.illustrated(), (plain["cover"], *plain["pages"]), strict=True):
        if place.picture is not None:
            fields["picture"]["file"] = picture_name(name, place.picture)
    return (json.dumps(plain, ensure_ascii=False, indent=1) + "\n").encode()


_NO_BYTES: dict[Any, Any] = {"__all__": {"picture": {"data"}}}


def picture_name(name: str, picture: Picture) -> str:
    """Return the name of a picture's file, such as `page-04-1a2b3c4d.png`."""
    return f"{name}-{picture.sha256[:_DIGEST_LENGTH]}{picture.suffix}"


def picture_path(folder: Path, place: BookPage | BookCover) -> Path | None:
    """Return the file of a page's or the cover's picture, `None` if there is no picture."""
    if place.picture is None:
        return None
    name = f"page-{place.number:02}" if isinstance(place, BookPage) else "cover"
    return folder / PICTURES / picture_name(name, place.picture)


def load_book(folder: Path, file: str = BOOK_FILE) -> Book:
    """Read a book; see `Book.load`.

    Args:
        folder: The book's folder.
        file: The version to read, such as `history/0001.json`.
    """
    path = folder / file
    plain = _read_json(path)
    try:
        for place in (plain["cover"], *plain["pages"]):
            if place.get("picture") is not None:
                place["picture"]["data"] = _read_picture(folder, place["picture"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidFile(f"{path} is not a book's: {type(error).__name__} {error}") from error
    try:
        return Book.model_validate(plain)
    except ValidationError as error:
        # Without the input: it may be a text that no judge has seen.
        places = [".".join(map(str, e["loc"])) or "book" for e in error.errors()]
        problems = "".join(
            f"\n  - {place}: {e['msg'].removeprefix('Value error, ')}"
            for place, e in zip(places, error.errors(), strict=True)
        )
        hint = "Restore the file, or change texts with `taleward book text`, which judges them."
        kind = IntegrityError if "judged" in problems else InvalidFile
        raise kind(f"{path} is refused:{problems}", hint=hint) from None


def _read_json(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_JSON_BYTES + 1)
    except OSError as error:
        raise InvalidFile(
            f"there is no book in {path.parent}: {error.strerror or error}",
            hint="Make one: taleward book --out DIR",
        ) from error
    if len(content) > _MAX_JSON_BYTES:
        raise InvalidFile(f"{path} has more than {_MAX_JSON_BYTES:,} bytes; it is not a book's.")
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"{path} is not valid JSON: {error}") from error
    if not isinstance(plain, dict):
        raise InvalidFile(f"{path} is not a book's: it holds a {type(plain).__name__}")
    return plain


def _read_picture(folder: Path, fields: dict[str, Any]) -> bytes:
    name = str(fields.pop("file", ""))
    if not _PICTURE_NAME.fullmatch(name):
        raise InvalidFile(f"{folder / BOOK_FILE} names the picture {name!r}; expected one such as page-04-1a2b3c4d.png")
    path = folder / PICTURES / name
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise InvalidFile(f"the picture {path} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != fields.get("sha256"):
        raise IntegrityError(
            f"{path} is not the picture that was judged: its digest is another one.",
            hint="Draw it again: taleward book redo DIR --page N",
        )
    return data

"""What both kinds of EPUB share: pictures, typefaces, navigation, metadata, and a zip file with fixed dates."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from taleward.books.binding import fonts, templates
from taleward.books.binding.content import BookContent
from taleward.books.binding.picture_files import picture_file
from taleward.books.folder import write_whole

_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100644 << 16
_STORED = (".jpg",)
_CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="OEBPS/package.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""
_FEATURES = ("alternativeText", "readingOrder", "structuralNavigation", "tableOfContents")
_ACCESSIBILITY = "Every picture has a text that says what it shows, and all of the story is text."


class Document(NamedTuple):
    """An XHTML document of an EPUB.

    Attributes:
        name: Its name, without ending.
        label: What the table of contents calls it; empty if it is not listed.
        source: The document.
        place: Where a page of a fixed layout stands in a spread.
    """

    name: str
    label: str
    source: str
    place: str = ""


def write_epub(book: BookContent, path: Path, documents: Sequence[Document], style: str, *, fixed: bool) -> None:
    """Write an EPUB 3 file; the same book gives the same bytes.

    Args:
        book: The book.
        path: The file.
        documents: Its documents in reading order.
        style: The style sheet.
        fixed: Whether the layout is fixed.
    """
    pictures = picture_files(book)
    package = templates.render(
        "package.opf.jinja",
        book=book,
        modified=f"{book.modified:%Y-%m-%dT%H:%M:%SZ}",
        documents=documents,
        pictures=list(pictures),
        cover=next(iter(pictures), None),
        faces=fonts.FACES,
        features=_FEATURES if fixed else (*_FEATURES, "displayTransformability"),
        accessibility=_ACCESSIBILITY,
        fixed=fixed,
    )
    files: dict[str, bytes] = {
        "META-INF/container.xml": _CONTAINER.encode(),
        "OEBPS/package.opf": package.encode(),
        "OEBPS/nav.xhtml": templates.render("nav.xhtml.jinja", book=book, documents=documents).encode(),
        "OEBPS/style.css": style.encode(),
    }
    files |= {f"OEBPS/{document.name}.xhtml": document.source.encode() for document in documents}
    files |= {f"OEBPS/pictures/{name}.jpg": data for name, data in pictures.items()}
    files |= {f"OEBPS/fonts/{face.file}": face.path.read_bytes() for face in fonts.FACES}
    files["OEBPS/fonts/OFL.txt"] = (fonts.FOLDER / "OFL.txt").read_bytes()
    write_whole(path, _zip(files))


def picture_files(book: BookContent) -> dict[str, bytes]:
    """Return the book's pictures as JPEG by name, the cover's first."""
    named = [("cover", book.cover), *((page.name, page.picture) for page in book.pages)]
    return {name: picture_file(picture, "image/jpeg").data for name, picture in named if picture is not None}


def _zip(files: Mapping[str, bytes]) -> bytes:
    """Return the files as a zip file, `mimetype` first and not compressed, as the specification of EPUB asks for."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {"mimetype": b"application/epub+zip", **files}.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, _READABLE
            stored = name == "mimetype" or name.endswith(_STORED)
            archive.writestr(info, data, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()

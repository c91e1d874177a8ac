"""A book as a folder: pictures, text, and a manifest of seeds, digests, models, verdicts and licenses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from taleward.books.binding.content import BookContent
from taleward.books.book import BookCover, BookPage, Clearance
from taleward.books.folder import write_whole
from taleward.core.errors import ConfigurationError
from taleward.core.tale import digest
from taleward.images.picture_metadata import labeled, source_type

MANIFEST = "manifest.json"


def bind_folder(book: BookContent, path: Path) -> None:
    """Write a book into a folder; see `bind`. The manifest is written last, so a folder that has one is whole.

    Raises:
        ConfigurationError: If there are other files in the folder.
    """
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / MANIFEST).is_file())):
        raise ConfigurationError(
            f"{path} exists, and is not a folder with a bound book.", hint="Give the name of a new folder."
        )
    entries = []
    (path / MANIFEST).unlink(missing_ok=True)
    for name, place in book.book.illustrated():
        if place.picture is not None:
            data = labeled(place.picture)
            file = f"pictures/{name}{place.picture.suffix}"
            write_whole(path / file, data)
            entries.append(_picture(place, file, data))
    texts = [book.title, *(page.text for page in book.book.pages)]
    write_whole(path / "text.txt", ("\n\n".join(texts) + "\n").encode())
    manifest = json.dumps(_manifest(book, entries), ensure_ascii=False, indent=2)
    write_whole(path / MANIFEST, (manifest + "\n").encode())


def _manifest(book: BookContent, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    data = book.book
    return {
        "title": data.title,
        "identifier": book.identifier,
        "made_with_ai": True,
        "summary": book.summary,
        "band": data.band,
        "language": data.language,
        "style": data.style,
        "seed": data.seed,
        "modified": book.modified.isoformat(),
        "colophon": data.colophon.model_dump(mode="json"),
        "cast": [member.model_dump(mode="json") for member in data.cast],
        "title_verdicts": _verdicts(data.title_clearance),
        "verdicts": _verdicts(data.clearance),
        "pages": [
            {
                "number": page.number,
                "text": page.text,
                "sha256": digest(page.text),
                "verdicts": _verdicts(page.text_clearance),
            }
            for page in data.pages
        ],
        "pictures": pictures,
        "edits": [edit.model_dump(mode="json") for edit in data.edits],
    }


def _picture(place: BookCover | BookPage, file: str, data: bytes) -> dict[str, Any]:
    picture = place.picture
    if picture is None:
        return {}
    return {
        "file": file,
        "file_sha256": hashlib.sha256(data).hexdigest(),
        "judged_sha256": picture.sha256,
        "media_type": picture.media_type,
        "width": picture.width,
        "height": picture.height,
        "alt_text": place.alt_text,
        "model": picture.lineage.model,
        "seed": picture.seed,
        "prompt": picture.lineage.prompt,
        "digital_source_type": source_type(picture),
        "credits": list(picture.credits),
        "verdicts": _verdicts(place.picture_clearance),
        "alt_text_verdicts": _verdicts(place.alt_clearance),
    }


def _verdicts(clearance: Clearance | None) -> list[dict[str, Any]]:
    if clearance is None:
        return []
    kept = {"outcome", "judge", "policy", "band", "scores"}
    return [verdict.model_dump(mode="json", include=kept) for verdict in clearance.verdicts]

"""Books to bind: a small one with pictures made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from taleward.books.book import Book, BookCover, BookPage, Clearance, Colophon
from taleward.core.tale import digest
from taleward.core.verdict import Verdict
from taleward.images.picture import Picture, PictureLineage
from tests.helpers.image_models import png

CREATED = datetime(2026, 11, 29, 18, 30, tzinfo=UTC)
TEXTS = (
    "Mira the fox woke up early. Snow had fallen <all night> & covered her door.",
    "“Who will help me dig?” she asked.\n\nAn owl blinked. “I will,” said the owl.",
    "They dug until noon. Then the path was free, and both had soup.",
)
PASSED = Verdict(outcome="pass", judge="lexicon", policy="kids@1", band="6-8")


def cleared(sha256: str) -> Clearance:
    """A clearance for a digest."""
    return Clearance(sha256=sha256, verdicts=(PASSED,))


def drawn(color: tuple[int, int, int] = (60, 110, 150), size: tuple[int, int] = (64, 64), seed: int = 7) -> Picture:
    """A picture of one color."""
    lineage = PictureLineage(model="collage", created=CREATED)
    return Picture.from_bytes(
        png(color, size), prompt="a fox in the snow", seed=seed, lineage=lineage, credits=("Noto",)
    )


def make_book(
    texts: Sequence[str] = TEXTS,
    pictures: Sequence[Picture | None] | None = None,
    *,
    title: str = "Mira & the <Snow>",
    cover: Picture | None = None,
    band: str = "6-8",
    language: str = "en",
) -> Book:
    """A book of these texts and pictures, by default one picture a page."""
    chosen = [drawn(seed=n) for n in range(1, len(texts) + 1)] if pictures is None else pictures
    pages = tuple(
        BookPage(
            number=n, text=text, text_clearance=cleared(digest(text)), **_shown(picture, f'Page {n}: a "fox" & snow.')
        )
        for n, (text, picture) in enumerate(zip(texts, chosen, strict=True), 1)
    )
    return Book(
        title=title,
        title_clearance=cleared(digest(title)),
        band=band,
        language=language,
        pages=pages,
        clearance=cleared(digest("\n\n".join(texts))),
        cover=BookCover(**_shown(drawn(seed=99) if cover is None else cover, "The cover: a fox.")),
        style="watercolor",
        colophon=Colophon(
            taleward="0.1.0",
            created=CREATED,
            writer="embedded:storyteller",
            judge="lexicon",
            policy="kids@1",
            image_models=("collage",),
            picture_judges=("picture-checks",),
            credits=("Noto Emoji by Google Inc, Apache-2.0",),
        ),
    )


def _shown(picture: Picture | None, alt_text: str) -> dict[str, Any]:
    if picture is None:
        return {}
    return {
        "picture": picture,
        "picture_clearance": cleared(picture.sha256),
        "alt_text": alt_text,
        "alt_clearance": cleared(digest(alt_text)),
    }

"""What every format shows of a book: its pages in sentences, dates, an identifier, and what the colophon says."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from taleward.books.book import Book
from taleward.images.picture import Picture
from taleward.moderation.text.sentences import sentences

_RIGHT_TO_LEFT = ("ar", "fa", "he", "ur", "yi")
_THE_END = re.compile(r"\bthe end[.!]?[\"”’']?\s*$", re.IGNORECASE)
_TYPEFACES = "Andika by SIL International and Fraunces by The Fraunces Project Authors, SIL Open Font License 1.1"

Paragraphs = tuple[tuple[str, ...], ...]
"""Paragraphs as sentences; white space belongs to the sentence before it."""


@dataclass(frozen=True)
class PageContent:
    """A page as it is shown.

    Attributes:
        number: Its number, from 1.
        paragraphs: Its text.
        picture: Its picture, `None` if it has none.
        alt_text: What the picture shows.
    """

    number: int
    paragraphs: Paragraphs
    picture: Picture | None
    alt_text: str

    @property
    def name(self) -> str:
        """The page's name in links and of its files."""
        return f"page-{self.number:02}"

    @property
    def characters(self) -> int:
        """The length of the text."""
        return sum(len(sentence) for paragraph in self.paragraphs for sentence in paragraph)


class BookContent:
    """A book as it is shown.

    Args:
        book: The book.
    """

    def __init__(self, book: Book) -> None:
        self.book = book

    @property
    def title(self) -> str:
        """The title, on one line."""
        return " ".join(self.book.title.split())

    @property
    def language(self) -> str:
        """The language's code."""
        return self.book.language

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return "rtl" if self.language.partition("-")[0].lower() in _RIGHT_TO_LEFT else "ltr"

    @property
    def subtitle(self) -> str:
        """For whom it is."""
        low, dash, high = self.book.band.partition("-")
        return f"A picture book for ages {low} to {high}" if dash else "A picture book"

    @property
    def ends_by_itself(self) -> bool:
        """Whether the last words of the tale are "The End"."""
        return _THE_END.search(self.book.pages[-1].text) is not None

    @property
    def modified(self) -> datetime:
        """When it was made or changed last, in UTC and whole seconds."""
        edits = self.book.edits
        return (edits[-1].at if edits else self.book.colophon.created).astimezone(UTC).replace(microsecond=0)

    @cached_property
    def identifier(self) -> str:
        """A URN that stays the same when the book is changed."""
        made = f"{self.book.colophon.created.isoformat()} {self.book.colophon.tale_id} {self.book.seed}"
        return uuid.uuid5(uuid.NAMESPACE_URL, f"taleward:book:{made}").urn

    @cached_property
    def pages(self) -> tuple[PageContent, ...]:
        """The pages."""
        return tuple(
            PageContent(page.number, _paragraphs(page.text), page.picture, page.alt_text) for page in self.book.pages
        )

    @property
    def cover(self) -> Picture | None:
        """The cover's picture, without one the first page's."""
        return self.book.cover.picture or next((page.picture for page in self.pages if page.picture), None)

    @property
    def cover_alt(self) -> str:
        """What the cover's picture shows."""
        if self.book.cover.picture:
            return self.book.cover.alt_text
        return next((page.alt_text for page in self.pages if page.picture), "")

    @property
    def summary(self) -> str:
        """How the book was made, in two sentences."""
        drawn = ""
        if models := self.book.colophon.image_models:
            by_rules = all(model.partition(":")[0] == "collage" for model in models)
            drawn = "composed its pictures from drawings made by people" if by_rules else "drew its pictures"
        told = "" if self.book.colophon.writer == "pasted" else "wrote its story"
        did = " and ".join(part for part in (told, drawn) if part)
        judged = "Every text and every picture was judged before it entered the book."
        return f"Made with AI: software {did}. {judged}" if did else f"Made with AI. {judged}"

    @cached_property
    def colophon(self) -> tuple[tuple[str, str], ...]:
        """What the colophon says below the summary, as pairs of a heading and a text."""
        return tuple((heading, text) for heading, text in self._colophon() if text)

    def _colophon(self) -> Iterator[tuple[str, str]]:
        made = self.book.colophon
        yield "Story", "brought along" if made.writer == "pasted" else made.writer
        policy = f"policy {made.policy}, ages {self.book.band}" if made.policy else f"ages {self.book.band}"
        yield "Texts judged by", f"{made.judge} ({policy})" if made.judge else ""
        yield "Pictures", ", ".join(made.image_models)
        yield "Pictures judged by", ", ".join(made.picture_judges)
        seeds = [
            f"{name.removeprefix('page-').lstrip('0')}: {place.picture.seed}"
            for name, place in self.book.illustrated()
            if place.picture is not None and place.picture.seed is not None
        ]
        yield "Style", self.book.style
        yield "Seeds, by page", ", ".join(seeds)
        pictures = (credit for picture in self.book.pictures for credit in picture.credits)
        yield "Credits", ". ".join(dict.fromkeys((*made.credits, *pictures)))
        yield "Typefaces", _TYPEFACES
        changes = f", changed {len(self.book.edits)} times since" if len(self.book.edits) > 1 else ""
        changes = ", changed once since" if len(self.book.edits) == 1 else changes
        yield "Made", f"{made.created.astimezone(UTC):%d %B %Y} with Taleward {made.taleward}{changes}"


def _paragraphs(text: str) -> Paragraphs:
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return tuple(tuple(sentences(block)) for block in blocks if block)

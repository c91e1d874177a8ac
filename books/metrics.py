"""How good a book is, in numbers: do pictures show what the text says, is the cast the same, are pages balanced."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence

from taleward.books.book import Book, BookCover, BookPage, PictureCandidate
from taleward.core.frozen_model import FrozenModel
from taleward.images.prompts.pronouns import names_character
from taleward.moderation.text.sentences import sentences


class BookMetrics(FrozenModel):
    """Measures of a book, from 0 to 1 unless they say otherwise; `None` if the image model does not say what it drew.

    Attributes:
        coverage: Share of the things the prompts ask for that the pictures show.
        cast_shown: Share of the characters named on pages who are in the page's picture, by its alt text.
        cast_consistency: Share of the appearances that look as in most other pictures of the character.
        page_balance: 1 for pages with equally many words; 1 minus the coefficient of variation.
        reading_grade: The school grade that the text requires (Automated Readability Index).
        words_per_page: Words on a page, on average.
        shots: Number of different shots.
        fallbacks: Pictures that the fallback drew.
    """

    coverage: float | None
    cast_shown: float | None
    cast_consistency: float | None
    page_balance: float
    reading_grade: float
    words_per_page: float
    shots: int
    fallbacks: int


def measure_book(book: Book) -> BookMetrics:
    """Measure a book."""
    words = [len(page.text.split()) for page in book.pages]
    mean = statistics.fmean(words)
    return BookMetrics(
        coverage=_mean([c.coverage for _, place in book.illustrated() for c in _chosen(place)]),
        cast_shown=_cast_shown(book),
        cast_consistency=_consistency(book),
        page_balance=max(0.0, 1.0 - statistics.pstdev(words) / mean) if mean else 0.0,
        reading_grade=_grade(book.text),
        words_per_page=mean,
        shots=len({page.shot for page in book.pages}),
        fallbacks=sum(
            place.drawing is not None and place.drawing.drawer == "fallback" for _, place in book.illustrated()
        ),
    )


def _chosen(place: BookPage | BookCover) -> list[PictureCandidate]:
    return [candidate for candidate in (place.drawing.candidates if place.drawing else ()) if candidate.chosen]


def _cast_shown(book: Book) -> float | None:
    """Return how many of those whom the pages name are in their pictures."""
    shown = [
        member.name.casefold() in page.alt_text.casefold()
        for page in book.pages
        if page.picture is not None and _says_what_it_drew(page)
        for member in book.cast
        if names_character(page.text, member.name)
    ]
    return _mean([float(is_shown) for is_shown in shown])


def _consistency(book: Book) -> float | None:
    """Return how often characters have, of what belongs to their looks, what they have in most pictures."""
    same = []
    for member in book.cast:
        words = {word for phrase in (member.kind, *member.looks) for word in phrase.lower().split()} - {
            "a",
            "an",
            "the",
        }
        appearances = [
            frozenset(words & set(place.alt_text.lower().replace(",", " ").replace(".", " ").split()))
            for _, place in book.illustrated()
            if _says_what_it_drew(place) and member.name.casefold() in place.alt_text.casefold()
        ]
        if appearances:
            usual, _ = Counter(appearances).most_common(1)[0]
            same += [float(appearance == usual) for appearance in appearances]
    return _mean(same)


def _says_what_it_drew(place: BookPage | BookCover) -> bool:
    return place.picture is not None and "drawn" in place.picture.lineage.parameters


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _grade(text: str) -> float:
    """Return the Automated Readability Index of a text (Smith and Senter 1967), at least 0."""
    words = re.findall(r"[\w'’]+", text)
    letters = sum(len(re.sub(r"['’]", "", word)) for word in words)
    count = max(1, len([part for part in sentences(text) if part.strip()]))
    return max(0.0, 4.71 * letters / len(words) + 0.5 * len(words) / count - 21.43) if words else 0.0

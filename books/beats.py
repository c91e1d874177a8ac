"""Where a tale's pages end: at its beats, with about as much text on each as its readers take in at a glance."""

from __future__ import annotations

import re
from collections.abc import Sequence

from taleward.core.errors import InvalidInputs
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy
from taleward.images.prompts.read_prompt import place_in
from taleward.moderation.text.sentences import sentences

LEAST_PAGES, MOST_PAGES = 6, 24
_BANDS = ((5, 10, 22, 40), (8, 20, 42, 75), (99, 35, 80, 140))
"""Oldest reader, and the fewest, the best and the most words on a page, as in picture books and early readers."""
_NEW_BEAT = re.compile(
    r"[\"“]?(?:one (?:day|morning|evening|night|sunny|rainy|cold|warm)|the next|next|then|suddenly|just then|at last"
    r"|finally|after|later|meanwhile|soon|that (?:night|day|evening|morning)|when|but one|from that)\b",
    re.IGNORECASE,
)
_PARAGRAPH = re.compile(r"\n\s*\n")


class WordsPerPage(FrozenModel):
    """How many words a page has for an age band.

    Attributes:
        fewest: Fewer look lost.
        best: As many as there should be.
        most: More are too much for one picture.
    """

    fewest: int
    best: int
    most: int


def words_per_page(policy: Policy, band: str) -> WordsPerPage:
    """Return how many words a page has, by the oldest age of a band.

    Raises:
        UnknownName: If the policy has no such band.
    """
    oldest = policy.band(band).ages[1]
    _, fewest, best, most = next(row for row in _BANDS if oldest <= row[0] or row is _BANDS[-1])
    return WordsPerPage(fewest=fewest, best=best, most=most)


def divide(text: str, words: WordsPerPage, pages: int | None = None) -> list[str]:
    """Return the texts of the pages; every word of the tale is on one of them, in order.

    Pages have about the same number of words, and end at a beat if one is near: the end of a paragraph, a change of
    place, a sentence such as "The next day". No sentence is torn apart.

    Args:
        text: The tale.
        words: How many words a page should have.
        pages: The number of pages; from 6 to 24 by the words if `None`. A tale with fewer sentences has fewer.

    Raises:
        InvalidInputs: If there is no text, or `pages` is not from 1 to 24.
    """
    parts = [part for part in sentences(text) if part]
    if not text.strip():
        raise InvalidInputs(None, ["a book needs a tale; got no text"])
    if pages is not None and not 1 <= pages <= MOST_PAGES:
        raise InvalidInputs(None, [f"a book has 1 to {MOST_PAGES} pages; got {pages}"])
    counts = [len(part.split()) for part in parts]
    total = sum(counts)
    wanted = pages or min(MOST_PAGES, max(LEAST_PAGES, round(total / words.best)))
    wanted = max(1, min(wanted, sum(1 for count in counts if count)))
    bounds = _cut(counts, [_badness(parts, cut) for cut in range(len(parts) + 1)], wanted)
    return [_tidy("".join(parts[start:end])) for start, end in zip([0, *bounds], [*bounds, len(parts)], strict=True)]


def _badness(parts: Sequence[str], cut: int) -> float:
    """How bad it is to turn the page before a sentence."""
    if cut in (0, len(parts)):
        return 0.0
    before, after = parts[cut - 1], parts[cut]
    bad = 0.6
    if "\n" in before[len(before.rstrip()) :]:
        bad -= 0.35
    if _NEW_BEAT.match(after.lstrip()):
        bad -= 0.3
    if place_in(after) and place_in(after) != place_in(before):
        bad -= 0.2
    if after.lstrip()[:1].islower():
        bad += 3.0  # a sentence that was cut because it is very long, or one that goes on after a quotation
    if "".join(parts[:cut]).count("“") > "".join(parts[:cut]).count("”") or "".join(parts[:cut]).count('"') % 2:
        bad += 2.0
    return bad


def _cut(counts: Sequence[int], badness: Sequence[float], pages: int) -> list[int]:
    """Return before which sentences the pages turn: the cheapest way by lengths and beats."""
    number, ideal = len(counts), max(1.0, sum(counts) / pages)
    sums = [0]
    for count in counts:
        sums.append(sums[-1] + count)

    def length_cost(start: int, end: int) -> float:
        words = sums[end] - sums[start]
        return 50.0 if words == 0 else 2.5 * ((words - ideal) / ideal) ** 2

    best: list[list[float]] = [[float("inf")] * (number + 1) for _ in range(pages + 1)]
    came_from = [[0] * (number + 1) for _ in range(pages + 1)]
    best[0][0] = 0.0
    for page in range(1, pages + 1):
        for end in range(page, number + 1):
            for start in range(page - 1, end):
                cost = best[page - 1][start] + length_cost(start, end) + badness[end]
                if cost < best[page][end]:
                    best[page][end], came_from[page][end] = cost, start
    cuts, end = [], number
    for page in range(pages, 1, -1):
        end = came_from[page][end]
        cuts.append(end)
    return cuts[::-1]


def _tidy(text: str) -> str:
    """Return a page's text: paragraphs with an empty line between them, each on one line."""
    return "\n\n".join(" ".join(part.split()) for part in _PARAGRAPH.split(text.strip()) if part.strip())

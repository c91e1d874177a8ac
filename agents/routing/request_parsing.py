"""A request taken apart: what is wanted, which text it brings along, and misspelt words as they were meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from taleward.core.frozen_model import FrozenModel

_QUOTED = re.compile(r'"([^"]{8,})"|“([^”]{8,})”', re.DOTALL)
_AFTER_COLON = re.compile(r"(?<=\w): *\n*(?=\S+\s+\S+\s+\S+)(.*)", re.DOTALL)
_AFTER_QUESTION = re.compile(
    r"^(?P<ask>[^.?!\n]*\b(?:this|it|following|that|these|below|text|passage)\b[^.?!\n]*\?|[^.?!\n]*\bbelow[.:])"
    r"\s+(?P<text>\S+\s+\S+\s+\S+.*)$",
    re.DOTALL | re.IGNORECASE,
)
_AFTER_LINE = re.compile(r"^(?P<ask>[^\n]+)\n+(?P<text>\S+\s+\S+\s+\S+.*)$", re.DOTALL)
_VERBS = (
    "judge|check|tell|sum|summari[sz]e|make|rewrite|find|list|classify|continue|go on|look|shorten|give|write|explain"
    "|say|label|if|then|after|afterwards"
)
_SECOND = re.compile(
    rf",? (?:and|but) (?=(?:{_VERBS})\b)|, (?:then|afterwards|and) |(?<=[a-z])[.!?] (?=(?:and|then|after|also)\b)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z']+")


class Wording(FrozenModel):
    """A request taken apart.

    Attributes:
        wish: What is wanted, without the text that it is wanted of.
        first: Of several wishes the first.
        text: The text that came with it, empty where none did.
    """

    wish: str
    first: str
    text: str = ""


def take_apart(request: str) -> Wording:
    """A request's wish and the text behind a colon, in quotes, on further lines or behind a question about it."""
    wish, text = request.strip(), ""
    if found := _QUOTED.search(wish):
        text = found[1] or found[2]
        wish = wish[: found.start()] + " " + wish[found.end() :]
    elif found := _AFTER_LINE.match(wish):
        wish, text = found["ask"], found["text"]
    elif found := _AFTER_COLON.search(wish):
        text, wish = found[1], wish[: found.start()]
    elif found := _AFTER_QUESTION.match(wish):
        wish, text = found["ask"], found["text"]
    wish = " ".join(wish.split())
    first = _SECOND.split(wish, maxsplit=1)[0]
    return Wording(wish=wish, first=first if len(first.split()) > 1 else wish, text=text.strip())


class Spelling:
    """Words as they were probably meant.

    Args:
        words: The words that are known, with how often they occur.
        also: Further words that are right as they are.
    """

    def __init__(self, words: Mapping[str, int], also: frozenset[str] = frozenset()) -> None:
        self._words, self._also = dict(words), also
        self._nearest = lru_cache(maxsize=4096)(self._find)

    def mended(self, text: str) -> str:
        """The text in small letters; a name that is not known stays as it is."""
        return _WORD.sub(self._word, text)

    def _word(self, found: re.Match[str]) -> str:
        word, low = found[0], found[0].lower()
        return self._nearest(low) if word == low or low in self._words else word

    def _find(self, word: str) -> str:
        if word in self._words or word in self._also or len(word) < 3:
            return word
        most = 1 if len(word) <= 5 else 2
        near = (
            (distance, -count, known)
            for known, count in self._words.items()
            if len(known) > 2 and abs(len(known) - len(word)) <= most and (distance := edits(word, known)) <= most
        )
        return min(near, default=(0, 0, word))[2]


def edits(one: str, other: str) -> int:
    """Letters to add, drop, change or swap with their neighbour (optimal string alignment)."""
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]

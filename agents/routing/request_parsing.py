"""Split a request into instruction and attached text, and correct misspelled words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from taleward.core.frozen_model import FrozenModel

_QUOTED_TEXT = re.compile(r'"([^"]{8,})"|“([^“”]{8,})”', re.DOTALL)
_COLON = re.compile(r"(?<=\w): *+\n*+(?=\S)")
_THREE_WORDS = r"\S+\s+\S+\s+\S+"
_TEXT_AFTER_QUESTION = re.compile(
    rf"^(?P<instruction>[^.?!\n]*+\?)\s+(?P<text>{_THREE_WORDS}.*)$", re.DOTALL | re.IGNORECASE
)
_REFERS_TO_TEXT = re.compile(r"\b(?:this|it|following|that|these|below|text|passage)\b", re.IGNORECASE)
_TEXT_BELOW = re.compile(
    rf"^(?P<instruction>[^.?!\n]*\bbelow[.:])\s+(?P<text>{_THREE_WORDS}.*)$", re.DOTALL | re.IGNORECASE
)
_TEXT_AFTER_LINE = re.compile(rf"^(?P<instruction>[^\n]+)\n+(?P<text>{_THREE_WORDS}.*)$", re.DOTALL)
_VERBS = (
    "judge|check|tell|sum|summari[sz]e|make|rewrite|find|list|classify|continue|go on|look|shorten|give|write|explain"
    "|say|label|if|then|after|afterwards"
)
_NEXT_INSTRUCTION = re.compile(
    rf",? (?:and|but) (?=(?:{_VERBS})\b)|, (?:then|afterwards|and) |(?<=[a-z])[.!?] (?=(?:and|then|after|also)\b)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z']+")


class ParsedRequest(FrozenModel):
    """A request, split into its parts.

    Attributes:
        instruction: What the user asks for, without the attached text.
        first_instruction: The first instruction, if the user asks for several things.
        text: The attached text; empty if there is none.
    """

    instruction: str
    first_instruction: str
    text: str = ""


def parse_request(request: str) -> ParsedRequest:
    """Separate a request's instruction from a text in quotes, on further lines, after a colon or after a question."""
    instruction, text = request.strip(), ""
    # From the clearest mark of an attached text to the vaguest; the first one that matches decides.
    if match := _QUOTED_TEXT.search(instruction):
        text = match[1] or match[2]
        instruction = instruction[: match.start()] + " " + instruction[match.end() :]
    elif match := _TEXT_AFTER_LINE.match(instruction):
        instruction, text = match["instruction"], match["text"]
    elif (match := _COLON.search(instruction)) and len(instruction[match.end() :].split(maxsplit=2)) == 3:
        text, instruction = instruction[match.end() :], instruction[: match.start()]
    elif ((match := _TEXT_AFTER_QUESTION.match(instruction)) and _REFERS_TO_TEXT.search(match["instruction"])) or (
        match := _TEXT_BELOW.match(instruction)
    ):
        instruction, text = match["instruction"], match["text"]
    instruction = " ".join(instruction.split())
    # One word alone says too little to route by.
    first = _NEXT_INSTRUCTION.split(instruction, maxsplit=1)[0]
    return ParsedRequest(
        instruction=instruction,
        first_instruction=first if len(first.split()) > 1 else instruction,
        text=text.strip(),
    )


class SpellingCorrector:
    """Replace misspelled words with the closest known word.

    Args:
        word_counts: Known words with their frequencies; the more frequent of two equally close words wins.
        other_words: Further correctly spelled words, which are never suggested as corrections.
    """

    def __init__(self, word_counts: Mapping[str, int], other_words: frozenset[str] = frozenset()) -> None:
        self._word_counts, self._other_words = dict(word_counts), other_words
        self._cached_nearest = lru_cache(maxsize=4096)(self._nearest)

    def correct(self, text: str) -> str:
        """Return the text with corrected words, in lower case; unknown capitalized words, such as names, stay."""
        return _WORD.sub(self._replacement, text)

    def _replacement(self, match: re.Match[str]) -> str:
        word, lowered = match[0], match[0].lower()
        return self._cached_nearest(lowered) if word == lowered or lowered in self._word_counts else word

    def _nearest(self, word: str) -> str:
        if word in self._word_counts or word in self._other_words or len(word) < 3:
            return word
        # Two edits turn too many short words into each other ("tale", "tell").
        max_distance = 1 if len(word) <= 5 else 2
        candidates = (
            (distance, -count, known)
            for known, count in self._word_counts.items()
            if len(known) > 2
            # The length check is cheap and rules out most words before the quadratic distance.
            and abs(len(known) - len(word)) <= max_distance
            and (distance := edit_distance(word, known)) <= max_distance
        )
        return min(candidates, default=(0, 0, word))[2]


def edit_distance(first: str, second: str) -> int:
    """Return the number of letters to insert, delete, replace or swap with a neighbor (optimal string alignment)."""
    rows = [list(range(len(second) + 1))]
    for i, a in enumerate(first, 1):
        row = [i]
        for j, b in enumerate(second, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]

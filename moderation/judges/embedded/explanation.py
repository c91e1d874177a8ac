"""Which sentences speak against a text, and which of their words: what a person needs to argue with the judge."""

from __future__ import annotations

import re

from pydantic import Field

from taleward.core.frozen_model import FrozenModel

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class WordWeight(FrozenModel):
    """How much a word adds to the score of its sentence.

    Attributes:
        word: The word.
        start: Offset of its first character in the text, in code points from 0.
        end: Offset after its last character.
        weight: The log-odds that the sentence loses without the word; below 0 if the word makes it more harmless.
    """

    word: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    weight: float


class SentenceExplanation(FrozenModel):
    """What a sentence contributes.

    Attributes:
        sentence: The sentence.
        start: Offset of its first character in the text, in code points from 0.
        end: Offset after its last character.
        category: The category that the sentence is closest to failing, or fails the most.
        score: Its score in that category, 0..1.
        threshold: The score from which on the sentence fails the text by itself.
        words: Its words, the heaviest first (occlusion: Zeiler and Fergus 2014, arXiv 1311.2901).
    """

    sentence: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    category: str
    score: float
    threshold: float
    words: tuple[WordWeight, ...]


def word_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the spans of the words between two offsets of a text."""
    return [match.span() for match in _WORD.finditer(text, start, end)]

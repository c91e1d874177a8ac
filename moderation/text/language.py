"""Detect text that is not English, so that an English-only judge does not pass what it cannot read."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_COMMON_WORDS = frozenset(
    re.findall(
        r"\S+",
        "the and of to she it its his her they them their with for that this said at but had not were are you "
        "your my we our from when then there what out by did can could will would who has have been into very "
        "up down him where how because about just like little one two went saw got if or than these those "
        "over after again it's i'm don't didn't i'll let's that's is was he be back came made see go once "
        "upon lived",
    )
)
_MIN_COMMON_SHARE = 0.08
_MIN_FOREIGN_LETTERS = 5
_MIN_FOREIGN_SHARE = 0.2


def looks_foreign(text: str) -> bool:
    """Return whether a few sentences are in a language other than English.

    True if at least five letters and a fifth of all letters are not Latin, or if a text of 13 words or more has fewer
    than 8 % (rounded down) common English words. A shorter text in Latin letters counts as English.
    """
    words = _WORD.findall(text)
    letters = "".join(words)
    foreign_letters = sum(
        1 for letter in letters if not letter.isascii() and not unicodedata.name(letter, "").startswith("LATIN")
    )
    if foreign_letters >= _MIN_FOREIGN_LETTERS and foreign_letters >= _MIN_FOREIGN_SHARE * len(letters):
        return True
    # Rounded down, the limit is 0 for up to 12 words: too few to tell English by.
    common_words = sum(word.lower().replace("’", "'") in _COMMON_WORDS for word in words)
    return common_words < int(_MIN_COMMON_SHARE * len(words))

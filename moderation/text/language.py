"""Whether a text is English: a judge that knows English alone must not pass what it cannot read."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_COMMON = frozenset(
    re.findall(
        r"\S+",
        "the and of to she it its his her they them their with for that this said at but had not were are you "
        "your my we our from when then there what out by did can could will would who has have been into very "
        "up down him where how because about just like little one two went saw got if or than these those "
        "over after again it's i'm don't didn't i'll let's that's is was he be back came made see go once "
        "upon lived",
    )
)
_COMMON_SHARE = 0.08
_FOREIGN_LETTERS = 5
_FOREIGN_SHARE = 0.2


def looks_foreign(text: str) -> bool:
    """Whether a few sentences are in another language.

    True where a fifth of the letters, five at least, are not Latin ones, and where of 13 words or more fewer than
    8 % (rounded down) are common English ones; a shorter text in Latin letters is not told from English.
    """
    words = _WORD.findall(text)
    letters = "".join(words)
    other = sum(
        1 for letter in letters if not letter.isascii() and not unicodedata.name(letter, "").startswith("LATIN")
    )
    if other >= _FOREIGN_LETTERS and other >= _FOREIGN_SHARE * len(letters):
        return True
    common = sum(word.lower().replace("’", "'") in _COMMON for word in words)
    return common < int(_COMMON_SHARE * len(words))

"""Normalize text for matching and see through disguised words, with offsets back to the original.

`normalize` folds characters that look the same: case, width, accents, look-alike letters, invisible characters.
`disguises` lists what a single odd token may stand for: leetspeak, stretched, spaced-out or masked letters.
`undisguise` replaces such tokens with the words they stand for. None of them joins ordinary words, so "was hit" stays
two words and "Scunthorpe" stays one.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_LOOKALIKES = {
    **dict(zip("абвгдеёзікмнорстухцѕјһԁԛԝүґӏᴀ", "a6brgeeeikmhopctyxusjhdqwyrla", strict=True)),
    **dict(zip("αβγεζηικμνορστυχωϲϳ", "abyeznikuvopotuxwcj", strict=True)),
    **dict(zip("ıłøđħŧɡɑɩʀʏƅ", "iloahtgairyb", strict=True)),
    **dict(zip("’‘ʼ＇‐‑‒–—", "''''-----", strict=True)),
}
# Leetspeak. A sign with two readings is tried both ways.
_LEET = {
    "@": "a", "4": "a", "8": "b", "(": "c", "3": "e", "€": "e", "6": "g", "9": "g", "1": "il", "!": "i", "|": "il",
    "0": "o", "$": "s", "5": "s", "7": "t", "+": "t", "2": "z",
}  # fmt: skip
_MASK_SIGNS = "*#"
_ODD_TOKEN = re.compile(r"[@$|+€0-9*#][a-z]|[a-z][@$|+€0-9*#]|[a-z]?![a-z]|([a-z])\1\1|[a-z]--+[a-z]|[a-z]__+[a-z]")
_SPACED_OUT = re.compile(r"(?<![^\W_])(?:[a-z0-9@$!](?:[.*_-]|[ ]{1,2}|, ?)){2,24}[a-z0-9@$](?![^\W_])")
_NUMBER_OR_MEASURE = re.compile(r"[0-9][0-9.,:]*[a-z]{0,3}")
_OUTER_MARKS = "\"'.,;:?()[]{}<>“”*_-…"
# Bounds the work on one token: every ambiguous sign in it doubles its readings.
_MAX_READINGS = 16


@dataclass(frozen=True, slots=True)
class NormalizedText:
    """A folded or decoded text with the offsets of its characters in the original.

    Attributes:
        text: The folded or decoded text.
        starts: For each character, the offset of the original character it comes from. `None` for a
            text whose offsets do not change.
        ends: For each character, the offset after the original character it comes from. `None` like `starts`.
    """

    text: str
    starts: list[int] | None
    ends: list[int] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the offsets in the original of a non-empty stretch of the folded text."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]

    def position(self, offset: int) -> int:
        """Return the offset in the folded text of the first character that comes from `offset` or later."""
        return offset if self.starts is None else bisect_left(self.starts, offset)


def normalize(text: str) -> NormalizedText:
    """Fold case, width, accents and look-alike letters, and drop invisible and direction-changing characters."""
    if text.isascii():
        return NormalizedText(text.lower(), None, None)
    pieces: list[str] = []
    starts: list[int] = []
    for offset, char in enumerate(text):
        folded = char.lower() if char < "\x80" else _fold(char)
        pieces.append(folded)
        starts.extend([offset] * len(folded))
    return NormalizedText("".join(pieces), starts, [s + 1 for s in starts])


@lru_cache(maxsize=4096)
def _fold(char: str) -> str:
    decomposed = unicodedata.normalize("NFKD", char).casefold()
    visible = (c for c in decomposed if unicodedata.category(c) not in {"Cf", "Mn", "Me"})
    return "".join(_LOOKALIKES.get(c, c) for c in visible)


@dataclass(frozen=True, slots=True)
class Disguise:
    """A token of a folded text that may stand for another word.

    Attributes:
        start: Offset of the first character in the folded text.
        end: Offset after the last character.
        readings: What the token may stand for, with a dot for each masked letter.
        stretched: Whether letters are repeated. Then a word also fits if each of its runs of a letter is at most as
            long as in the reading.
    """

    start: int
    end: int
    readings: tuple[str, ...]
    stretched: bool = False

    def find_word(
        self, word_of_reading: Callable[[str], str | None], words_of_squeezed: Callable[[str], tuple[str, ...]]
    ) -> str | None:
        """Return the first word that one of the readings stands for, if there is one.

        Args:
            word_of_reading: Returns the word that a reading stands for, given dots for masked letters.
            words_of_squeezed: Returns the words that equal a reading once both are squeezed; see `squeeze`.
        """
        for reading in self.readings:
            if word := word_of_reading(reading):
                return word
            if self.stretched:
                for word in words_of_squeezed(squeeze(reading)):
                    if _is_stretched(word, reading):
                        return word
        return None


def undisguise(text: str, known: Callable[[str], bool]) -> str:
    """Fold a text and replace disguised words, for a model that knows words but not their disguises.

    Args:
        text: Any text.
        known: Whether a reading is a word. A token without a known reading stays as it is, and so do ordinals and
            measures ("2nd", "10am").
    """
    folded = normalize(text).text
    pieces, done = [], 0
    for disguise in sorted(disguises(folded), key=lambda d: d.start):
        if disguise.start < done or _NUMBER_OR_MEASURE.fullmatch(folded, disguise.start, disguise.end):
            continue
        if not any(c.isalpha() for c in folded[disguise.start : disguise.end]):
            continue
        # A stretched letter may stand for two ("coool") or for one ("yyyeeesss").
        replacements = r"\1\1", r"\1"
        readings = [re.sub(r"(.)\1\1+", to, reading) for reading in disguise.readings for to in replacements]
        word = next((r for r in readings if len(r) > 2 and r.isalpha() and known(r)), None)
        if word is not None:
            pieces += [folded[done : disguise.start], word]
            done = disguise.end
    return "".join([*pieces, folded[done:]])


def squeeze(word: str) -> str:
    """Return the word with each run of one letter reduced to a single letter."""
    return re.sub(r"(.)\1+", r"\1", word)


def _is_stretched(word: str, reading: str) -> bool:
    word_runs, reading_runs = re.findall(r"((.)\2*)", word), re.findall(r"((.)\2*)", reading)
    return all(len(a[0]) <= len(b[0]) for a, b in zip(word_runs, reading_runs, strict=True))


def disguises(folded: str) -> Iterator[Disguise]:
    """Yield the odd tokens of a folded text with what they may stand for."""
    for match in _SPACED_OUT.finditer(folded):
        letters = re.sub(r"[ .,*_-]", "", match[0])
        # The words "I", "a" and "u" beside spaced-out letters match the pattern, too, and are no part of the word.
        readings = tuple(r for reading in _readings(letters) for r in (reading, reading.strip("iau")))
        yield Disguise(match.start(), match.end(), readings)
    token_end = -1
    for match in _ODD_TOKEN.finditer(folded):
        if match.start() < token_end:
            continue
        start, end = _token_span(folded, match.start(), match.end())
        token_end = end
        yield from _token_disguises(folded, start, end)


def _token_span(folded: str, start: int, end: int) -> tuple[int, int]:
    while start and not folded[start - 1].isspace():
        start -= 1
    while end < len(folded) and not folded[end].isspace():
        end += 1
    return start, end


def _token_disguises(folded: str, start: int, end: int) -> Iterator[Disguise]:
    # Marks around a token belong to the sentence, masks within it to the word. After a letter both are possible, so
    # "f***" is read with and without its masks.
    while start < end and folded[start] in _OUTER_MARKS:
        start += 1
    tail = end
    while tail > start and folded[tail - 1] in _OUTER_MARKS + "!":
        tail -= 1
    ends = {tail}
    while tail < end and folded[tail] in _MASK_SIGNS:
        tail += 1
    ends.add(tail)
    for stop in sorted(ends):
        token = folded[start:stop].removesuffix("'s")
        if 2 < len(token) <= 40 and any(c.isalpha() for c in token):
            masked = re.sub(r"[*#]|(?<=-)-|-(?=-)|(?<=_)_|_(?=_)", ".", token)
            stretched = re.search(r"([a-z])\1\1", token) is not None
            yield Disguise(start, start + len(token), _readings(masked), stretched)


def _readings(token: str) -> tuple[str, ...]:
    readings = [""]
    for char in token:
        readings = [prefix + letter for prefix in readings for letter in _LEET.get(char, char)][:_MAX_READINGS]
    return tuple(readings)

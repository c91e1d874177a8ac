"""Text as a reader hears it, with a way back to the characters that were written.

`normalize` folds what looks the same: case, width, accents, look-alike letters, invisible characters. `disguises`
proposes what a single odd token may stand for: leetspeak, stretched letters, letters spaced out, letters masked.
`undisguise` writes out those that stand for a word. None joins ordinary words, so "was hit" stays two words and
"Scunthorpe" stays one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_LOOKALIKES = {
    **dict(zip("абвгдеёзікмнорстухцѕјһԁԛԝүґӏᴀ", "a6brgeeeikmhopctyxusjhdqwyrla", strict=True)),
    **dict(zip("αβγεζηικμνορστυχωϲϳ", "abyeznikuvopotuxwcj", strict=True)),
    **dict(zip("ıłøđħŧɡɑɩʀʏƅ", "iloahtgairyb", strict=True)),
    **dict(zip("’‘ʼ＇‐‑‒–—", "''''-----", strict=True)),
}
# Leetspeak; where a sign has two readings both are tried.
_LEET = {
    "@": "a", "4": "a", "8": "b", "(": "c", "3": "e", "€": "e", "6": "g", "9": "g", "1": "il", "!": "i", "|": "il",
    "0": "o", "$": "s", "5": "s", "7": "t", "+": "t", "2": "z",
}  # fmt: skip
_MASK = "*#"
_ODD = re.compile(r"[@$|+€0-9*#][a-z]|[a-z][@$|+€0-9*#]|[a-z]?![a-z]|([a-z])\1\1|[a-z]--+[a-z]|[a-z]__+[a-z]")
_SPACED = re.compile(r"(?<![^\W_])(?:[a-z0-9@$!](?:[.*_-]|[ ]{1,2}|, ?)){2,24}[a-z0-9@$](?![^\W_])")
_NUMBER = re.compile(r"[0-9][0-9.,:]*[a-z]{0,3}")
_OUTER = "\"'.,;:?()[]{}<>“”*_-…"
_MAX_READINGS = 16


@dataclass(frozen=True, slots=True)
class NormalizedText:
    """A folded text with its way back.

    Attributes:
        text: The folded text.
        starts: For each of its characters, the offset of the character it came from; `None` where the folded
            text is as long as the original and offsets are the same.
        ends: For each of its characters, the offset behind the one it came from; `None` likewise.
    """

    text: str
    starts: list[int] | None
    ends: list[int] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Offsets in the original of a non-empty stretch of the folded text."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def normalize(text: str) -> NormalizedText:
    """Fold case, width, accents and look-alike letters; drop invisible and direction-changing characters."""
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
    plain = unicodedata.normalize("NFKD", char).casefold()
    kept = (c for c in plain if unicodedata.category(c) not in {"Cf", "Mn", "Me"})
    return "".join(_LOOKALIKES.get(c, c) for c in kept)


@dataclass(frozen=True, slots=True)
class Disguise:
    """A stretch of a folded text that may stand for another word.

    Attributes:
        start: Offset of its first character in the folded text.
        end: Offset behind its last character.
        readings: What it may stand for; masked letters are dots.
        stretched: Whether letters repeat; then a word fits that has each run of letters at most as long.
    """

    start: int
    end: int
    readings: tuple[str, ...]
    stretched: bool = False

    def means(self, find: Callable[[str], str | None], squeezed: Callable[[str], tuple[str, ...]]) -> str | None:
        """The first word that one of the readings stands for.

        Args:
            find: From a reading, dots for masked letters, to the word it stands for.
            squeezed: From a reading without repeats to the words that are it once squeezed likewise.
        """
        for reading in self.readings:
            if word := find(reading):
                return word
            if self.stretched:
                for word in squeezed(squeeze(reading)):
                    if _stretches(word, reading):
                        return word
        return None


def undisguise(text: str, known: Callable[[str], bool]) -> str:
    """A text for a model that knows words and not their disguises: folded, with the words that odd tokens stand for.

    Args:
        text: Any text.
        known: Whether a reading is a word. Tokens without a reading that is one stay as they are, and so do ordinals
            and measures ("2nd", "10am").
    """
    folded = normalize(text).text
    pieces, done = [], 0
    for disguise in sorted(disguises(folded), key=lambda d: d.start):
        if disguise.start < done or _NUMBER.fullmatch(folded, disguise.start, disguise.end):
            continue
        if not any(c.isalpha() for c in folded[disguise.start : disguise.end]):
            continue
        runs = r"\1\1", r"\1"
        readings = [re.sub(r"(.)\1\1+", run, reading) for reading in disguise.readings for run in runs]
        word = next((r for r in readings if len(r) > 2 and r.isalpha() and known(r)), None)
        if word is not None:
            pieces += [folded[done : disguise.start], word]
            done = disguise.end
    return "".join([*pieces, folded[done:]])


def squeeze(word: str) -> str:
    """The word with each run of one letter made a single letter."""
    return re.sub(r"(.)\1+", r"\1", word)


def _stretches(word: str, reading: str) -> bool:
    runs, longer = re.findall(r"((.)\2*)", word), re.findall(r"((.)\2*)", reading)
    return all(len(a[0]) <= len(b[0]) for a, b in zip(runs, longer, strict=True))


def disguises(folded: str) -> Iterator[Disguise]:
    """The odd tokens of a folded text, with what they may stand for."""
    for match in _SPACED.finditer(folded):
        letters = re.sub(r"[ .,*_-]", "", match[0])
        readings = tuple(r for plain in _readings(letters) for r in (plain, plain.strip("iau")))
        yield Disguise(match.start(), match.end(), readings)
    seen = -1
    for match in _ODD.finditer(folded):
        if match.start() < seen:
            continue
        start, end = _token(folded, match.start(), match.end())
        seen = end
        yield from _of_token(folded, start, end)


def _token(folded: str, start: int, end: int) -> tuple[int, int]:
    while start and not folded[start - 1].isspace():
        start -= 1
    while end < len(folded) and not folded[end].isspace():
        end += 1
    return start, end


def _of_token(folded: str, start: int, end: int) -> Iterator[Disguise]:
    # Marks around a token belong to the sentence, masks within it to the word; "f***" keeps what follows its letter.
    while start < end and folded[start] in _OUTER:
        start += 1
    tail = end
    while tail > start and folded[tail - 1] in _OUTER + "!":
        tail -= 1
    ends = {tail}
    while tail < end and folded[tail] in _MASK:
        tail += 1
    ends.add(tail)
    for stop in sorted(ends):
        token = folded[start:stop].removesuffix("'s")
        if 2 < len(token) <= 40 and any(c.isalpha() for c in token):
            masked = re.sub(r"[*#]|(?<=-)-|-(?=-)|(?<=_)_|_(?=_)", ".", token)
            stretched = re.search(r"([a-z])\1\1", token) is not None
            yield Disguise(start, start + len(token), _readings(masked), stretched)


def _readings(token: str) -> tuple[str, ...]:
    found = [""]
    for char in token:
        found = [f + r for f in found for r in _LEET.get(char, char)][:_MAX_READINGS]
    return tuple(found)

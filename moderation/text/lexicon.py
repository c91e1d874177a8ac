"""Find listed words and phrases in a text, with their exact spans.

The data is in `data/lexicon-en.yaml`, whose header explains the notation, and `data/listed-en.yaml`. A hit alone can
fail a text, so an entry is listed only if it hardly ever has a harmless reading; the readings it does have are listed
as exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.policy import SEVERITIES, Severity
from taleward.core.yaml_files import load_yaml
from taleward.moderation.text.normalize import NormalizedText, disguises, normalize, squeeze
from taleward.moderation.text.personal_data import find_personal_data

_DATA = Path(__file__).parent / "data"
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
_BREAK = re.compile(r"[.!?;:\n]")
_GAP = ".."
_MAX_GAP_WORDS = 3
# How many words before a hit an exception that covers it may begin.
_MAX_WORDS_BEFORE = 5


class TermGroup(FrozenModel):
    """Terms of one category and severity.

    Attributes:
        category: The policy category that a hit counts against.
        severity: The severity of a hit.
        terms: Words and phrases.
        unless: Phrases with a harmless reading; a hit that overlaps one does not count.
        disguised: Whether single words also count in leetspeak, stretched, spaced out or masked.
        masked: Words that count only in such a disguise: undisguised they are often harmless, and then nobody masks
            them.
    """

    category: str
    severity: Severity
    terms: tuple[str, ...] = Field(min_length=1)
    unless: tuple[str, ...] = ()
    disguised: bool = False
    masked: tuple[str, ...] = ()


class Lexicon(FrozenModel):
    """A lexicon file.

    Attributes:
        classes: Names of word classes and their words; a term refers to a class as `<name>`.
        groups: The terms.
    """

    classes: FrozenMapping[str, tuple[str, ...]] = FrozenDict()
    groups: tuple[TermGroup, ...]


@dataclass(frozen=True, slots=True)
class LexiconHit:
    """An occurrence of a term in a text.

    Attributes:
        category: The term's category.
        severity: The term's severity.
        start: Offset of the first character in the text, in code points from 0.
        end: Offset after the last character.
        term: The term as written in the lexicon, or the kind of personal data.
        disguised: Whether the word was disguised, for example in leetspeak.
    """

    category: str
    severity: Severity
    start: int
    end: int
    term: str
    disguised: bool = False


@dataclass(frozen=True, slots=True)
class _TermPattern:
    """A compiled term: for each step the words that match it, or `None` for a gap."""

    steps: tuple[frozenset[str] | None, ...]
    group: TermGroup
    term: str


@dataclass(frozen=True, slots=True)
class _WordToken:
    word: str
    start: int
    end: int


class _LexiconMatcher:
    """Lexicons indexed for search by the first word of each term."""

    def __init__(self, lexicons: Sequence[Lexicon]) -> None:
        self.by_first_word: dict[str, list[_TermPattern]] = {}
        # By the id of the group: hashing a frozen model would hash all its words.
        self._exceptions: dict[int, dict[str, list[_TermPattern]]] = {}
        self._disguisable: dict[str, _TermPattern] = {}
        for lexicon in lexicons:
            for group in lexicon.groups:
                for term in group.terms:
                    pattern = _compile(term, group, lexicon)
                    _index(pattern, self.by_first_word)
                    if group.disguised and len(pattern.steps) == 1:
                        for word in term.split("/"):
                            self._disguisable.setdefault(word, pattern)
                for word in group.masked:
                    self._disguisable.setdefault(word, _compile(word, group, lexicon))
                exceptions = self._exceptions.setdefault(id(group), {})
                for term in group.unless:
                    _index(_compile(term, group, lexicon), exceptions)
        # In the file's order: a masked word is read as the first, most common word that fits.
        self._by_length: dict[int, list[str]] = {}
        self._by_squeezed: dict[str, tuple[str, ...]] = {}
        for word in self._disguisable:
            self._by_length.setdefault(len(word), []).append(word)
            self._by_squeezed[squeeze(word)] = (*self._by_squeezed.get(squeeze(word), ()), word)

    def find(self, folded: str) -> Iterator[tuple[int, int, _TermPattern, bool]]:
        """Yield start, end, pattern, and whether it is disguised, of each hit in a folded text."""
        tokens: list[_WordToken] | None = None
        words = _WORD.findall(folded)
        for number, word in enumerate(words):
            patterns = self.by_first_word.get(word)
            if patterns is None:
                continue
            patterns = [p for p in patterns if _may_match(p.steps, words, number)]
            # Offsets are computed only if a term may match.
            if patterns and tokens is None:
                tokens = [_WordToken(m[0], m.start(), m.end()) for m in _WORD.finditer(folded)]
            if tokens is None:
                continue
            start = tokens[number].start
            for pattern in patterns:
                end = _match_end(pattern.steps, tokens, number, folded)
                if end is not None and not self._is_exception(pattern, tokens, number, end, folded):
                    yield start, end, pattern, False
        for disguise in disguises(folded):
            word = disguise.find_word(self._word_of_reading, lambda s: self._by_squeezed.get(s, ()))
            if word is not None:
                yield disguise.start, disguise.end, self._disguisable[word], True

    def _word_of_reading(self, reading: str) -> str | None:
        if "." not in reading:
            return reading if reading in self._disguisable else None
        # Without its first letter, a masked word could be any word of its length.
        if reading.startswith("."):
            return None
        shape = re.compile("".join(c if c == "." else re.escape(c) for c in reading))
        return next((w for w in self._by_length.get(len(reading), ()) if shape.fullmatch(w)), None)

    def _is_exception(self, hit: _TermPattern, tokens: list[_WordToken], number: int, end: int, folded: str) -> bool:
        exceptions = self._exceptions[id(hit.group)]
        if not exceptions:
            return False
        start = tokens[number].start
        for first in range(max(0, number - _MAX_WORDS_BEFORE), len(tokens)):
            if tokens[first].start >= end:
                break
            for pattern in exceptions.get(tokens[first].word, ()):
                exception_end = _match_end(pattern.steps, tokens, first, folded)
                if exception_end is not None and exception_end > start:
                    return True
        return False


def _compile(term: str, group: TermGroup, lexicon: Lexicon) -> _TermPattern:
    steps: list[frozenset[str] | None] = []
    for part in term.split():
        if part == _GAP:
            steps.append(None)
            continue
        words: set[str] = set()
        for word in part.split("/"):
            name = word[1:-1] if word.startswith("<") else None
            if name is not None and name not in lexicon.classes:
                raise InvalidFile(
                    f"lexicon term {term!r} uses the undefined class {name!r}; "
                    f"defined: {', '.join(lexicon.classes) or 'none'}."
                )
            words.update(lexicon.classes[name] if name else [word])
        invalid = sorted(w for w in words if not _WORD.fullmatch(w))
        if invalid:
            raise InvalidFile(f"lexicon term {term!r} has invalid words {invalid}; use lower-case letters a to z.")
        steps.append(frozenset(words))
    if not steps or steps[0] is None or steps[-1] is None:
        raise InvalidFile(f"lexicon term {term!r} must begin and end with a word, not a gap.")
    return _TermPattern(tuple(steps), group, term)


def _index(pattern: _TermPattern, by_first_word: dict[str, list[_TermPattern]]) -> None:
    for word in pattern.steps[0] or ():
        by_first_word.setdefault(word, []).append(pattern)


def _may_match(steps: tuple[frozenset[str] | None, ...], words: list[str], number: int) -> bool:
    """Return whether a pattern's second word is near: a cheap check before token offsets are computed."""
    if len(steps) == 1:
        return True
    if steps[1] is not None:
        return number + 1 < len(words) and words[number + 1] in steps[1]
    next_words = steps[2] or frozenset()
    return not next_words.isdisjoint(words[number + 1 : number + 2 + _MAX_GAP_WORDS])


def _match_end(
    steps: tuple[frozenset[str] | None, ...], tokens: list[_WordToken], number: int, folded: str
) -> int | None:
    """Return the offset after the match that begins at a token whose word fits the first step, if there is one."""
    if len(steps) == 1:
        return tokens[number].end
    gap = steps[1] is None
    rest = steps[2:] if gap else steps[1:]
    for following in range(number + 1, min(len(tokens), number + 2 + (_MAX_GAP_WORDS if gap else 0))):
        if _BREAK.search(folded, tokens[following - 1].end, tokens[following].start):
            return None
        if tokens[following].word in (rest[0] or ()):
            end = _match_end(rest, tokens, following, folded)
            if end is not None:
                return end
    return None


@lru_cache(maxsize=1)
def _shipped_matcher() -> _LexiconMatcher:
    return _LexiconMatcher([load_yaml(path, Lexicon) for path in sorted(_DATA.glob("*-en.yaml"))])


@lru_cache(maxsize=1)
def lexicon_categories() -> frozenset[str]:
    """Return the categories that the shipped lexicon and the personal data patterns cover."""
    patterns = _shipped_matcher().by_first_word.values()
    return frozenset(p.group.category for ps in patterns for p in ps) | {"personal_data"}


def find_hits(text: str) -> list[LexiconHit]:
    """Find all listed terms and personal data in a text.

    Args:
        text: Any text.

    Returns:
        Hits with offsets into `text`, in text order. Of overlapping hits in one category only the most severe is
        returned, and of equally severe ones the longest.
    """
    normalized: NormalizedText = normalize(text)
    candidates = [
        LexiconHit(p.group.category, p.group.severity, *normalized.span(start, end), p.term, disguised)
        for start, end, p, disguised in _shipped_matcher().find(normalized.text)
    ]
    candidates += [
        LexiconHit("personal_data", "moderate", start, end, kind) for kind, start, end in find_personal_data(text)
    ]
    candidates.sort(key=lambda h: (-SEVERITIES.index(h.severity), h.start - h.end, h.start))
    hits: list[LexiconHit] = []
    # A mark for each character that a hit covers: comparing each hit with all others would take quadratic time.
    covered: dict[str, bytearray] = {}
    for hit in candidates:
        if hit.category not in covered:
            covered[hit.category] = bytearray(len(text))
        marks = covered[hit.category]
        if marks.find(1, hit.start, hit.end) < 0:
            marks[hit.start : hit.end] = b"\x01" * (hit.end - hit.start)
            hits.append(hit)
    return sorted(hits, key=lambda h: (h.start, h.end, h.category))

"""Words and phrases that count against a text, with their exact places.

The data is `data/lexicon-en.yaml`, whose head explains the notation, and `data/listed-en.yaml`. A hit decides a
fail, so an entry is there only when it hardly ever has a harmless reading; those it has are exceptions.
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
_GAP_WORDS = 3
_LOOK_BACK = 5


class Group(FrozenModel):
    """Terms that say the same of a text.

    Attributes:
        category: A category of the policies.
        severity: How strong a hit is.
        terms: Words and phrases.
        unless: Phrases with a harmless reading; a hit that overlaps one does not count.
        disguised: Whether single words also count when written in leetspeak, stretched, spaced out or masked.
        masked: Words that count in such writing alone: as they are they are often harmless, and then nobody masks them.
    """

    category: str
    severity: Severity
    terms: tuple[str, ...] = Field(min_length=1)
    unless: tuple[str, ...] = ()
    disguised: bool = False
    masked: tuple[str, ...] = ()


class Lexicon(FrozenModel):
    """A file of terms.

    Attributes:
        classes: Names to words, written `<name>` in a term.
        groups: The terms.
    """

    classes: FrozenMapping[str, tuple[str, ...]] = FrozenDict()
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class LexiconHit:
    """A place where a term stands.

    Attributes:
        category: Its category.
        severity: How strong it is.
        start: Offset of its first character in the text, in code points from 0.
        end: Offset behind its last character.
        term: The term as it is written in the lexicon, or the kind of private data.
        disguised: Whether it was written so as to be overlooked.
    """

    category: str
    severity: Severity
    start: int
    end: int
    term: str
    disguised: bool = False


@dataclass(frozen=True, slots=True)
class _Pattern:
    steps: tuple[frozenset[str] | None, ...]  # None is a gap
    group: Group
    term: str


@dataclass(frozen=True, slots=True)
class _Token:
    word: str
    start: int
    end: int


class _Matcher:
    """A lexicon ready to search: first words to patterns."""

    def __init__(self, lexicons: Sequence[Lexicon]) -> None:
        self.first: dict[str, list[_Pattern]] = {}
        self.harmless: dict[int, dict[str, list[_Pattern]]] = {}
        self.secret: dict[str, _Pattern] = {}
        for lexicon in lexicons:
            for group in lexicon.groups:
                for term in group.terms:
                    pattern = _compile(term, group, lexicon)
                    _register(pattern, self.first)
                    if group.disguised and len(pattern.steps) == 1:
                        for word in term.split("/"):
                            self.secret.setdefault(word, pattern)
                for word in group.masked:
                    self.secret.setdefault(word, _compile(word, group, lexicon))
                table = self.harmless.setdefault(id(group), {})
                for term in group.unless:
                    _register(_compile(term, group, lexicon), table)
        self.by_shape: dict[int, list[str]] = {}
        self.by_squeeze: dict[str, tuple[str, ...]] = {}
        # In the file's order: a masked word is taken for the commonest.
        for word in self.secret:
            self.by_shape.setdefault(len(word), []).append(word)
            self.by_squeeze[squeeze(word)] = (*self.by_squeeze.get(squeeze(word), ()), word)

    def find(self, folded: str) -> Iterator[tuple[int, int, _Pattern, bool]]:
        tokens: list[_Token] | None = None
        words = _WORD.findall(folded)
        for number, word in enumerate(words):
            patterns = self.first.get(word)
            if patterns is None:
                continue
            patterns = [p for p in patterns if _may_match(p.steps, words, number)]
            if patterns and tokens is None:
                tokens = [_Token(m[0], m.start(), m.end()) for m in _WORD.finditer(folded)]
            if tokens is None:
                continue
            start = tokens[number].start
            for pattern in patterns:
                end = _match(pattern.steps, tokens, number, folded)
                if end is not None and not self._is_harmless(pattern, tokens, number, end, folded):
                    yield start, end, pattern, False
        for disguise in disguises(folded):
            meant = disguise.means(self._stands_for, lambda s: self.by_squeeze.get(s, ()))
            if meant is not None:
                yield disguise.start, disguise.end, self.secret[meant], True

    def _stands_for(self, reading: str) -> str | None:
        if "." not in reading:
            return reading if reading in self.secret else None
        if reading.startswith("."):
            return None
        shape = re.compile("".join(c if c == "." else re.escape(c) for c in reading))
        return next((w for w in self.by_shape.get(len(reading), ()) if shape.fullmatch(w)), None)

    def _is_harmless(self, hit: _Pattern, tokens: list[_Token], number: int, end: int, folded: str) -> bool:
        table = self.harmless[id(hit.group)]
        if not table:
            return False
        start = tokens[number].start
        for first in range(max(0, number - _LOOK_BACK), len(tokens)):
            if tokens[first].start >= end:
                break
            for pattern in table.get(tokens[first].word, ()):
                stop = _match(pattern.steps, tokens, first, folded)
                if stop is not None and stop > start:
                    return True
        return False


def _compile(term: str, group: Group, lexicon: Lexicon) -> _Pattern:
    steps: list[frozenset[str] | None] = []
    for part in term.split():
        if part == _GAP:
            steps.append(None)
            continue
        words: set[str] = set()
        for word in part.split("/"):
            name = word[1:-1] if word.startswith("<") else None
            if name is not None and name not in lexicon.classes:
                raise InvalidFile(f"the lexicon's term {term!r} uses the class {name!r}, which is not defined.")
            words.update(lexicon.classes[name] if name else [word])
        wrong = sorted(w for w in words if not _WORD.fullmatch(w))
        if wrong:
            raise InvalidFile(f"the lexicon's term {term!r} holds {wrong}: words are lower-case letters a to z.")
        steps.append(frozenset(words))
    if not steps or steps[0] is None or steps[-1] is None:
        raise InvalidFile(f"the lexicon's term {term!r} must begin and end with a word.")
    return _Pattern(tuple(steps), group, term)


def _register(pattern: _Pattern, table: dict[str, list[_Pattern]]) -> None:
    for word in pattern.steps[0] or ():
        table.setdefault(word, []).append(pattern)


def _may_match(steps: tuple[frozenset[str] | None, ...], words: list[str], number: int) -> bool:
    """Whether a pattern's next word is near: a cheap look before the places of all words are worked out."""
    if len(steps) == 1:
        return True
    if steps[1] is not None:
        return number + 1 < len(words) and words[number + 1] in steps[1]
    wanted = steps[2] or frozenset()
    return not wanted.isdisjoint(words[number + 1 : number + 2 + _GAP_WORDS])


def _match(steps: tuple[frozenset[str] | None, ...], tokens: list[_Token], number: int, folded: str) -> int | None:
    """Offset behind the match that begins at a token whose word fits the first step."""
    if len(steps) == 1:
        return tokens[number].end
    gap = steps[1] is None
    rest = steps[2:] if gap else steps[1:]
    for following in range(number + 1, min(len(tokens), number + 2 + (_GAP_WORDS if gap else 0))):
        if _BREAK.search(folded, tokens[following - 1].end, tokens[following].start):
            return None
        if tokens[following].word in (rest[0] or ()):
            end = _match(rest, tokens, following, folded)
            if end is not None:
                return end
    return None


@lru_cache(maxsize=1)
def _shipped() -> _Matcher:
    return _Matcher([load_yaml(path, Lexicon) for path in sorted(_DATA.glob("*-en.yaml"))])


@lru_cache(maxsize=1)
def lexicon_categories() -> frozenset[str]:
    """The categories that the shipped lexicon knows."""
    return frozenset(p.group.category for ps in _shipped().first.values() for p in ps) | {"personal_data"}


def find_hits(text: str) -> list[LexiconHit]:
    """All hits in a text, by place; of hits in one category that overlap, the strongest, then the longest.

    Args:
        text: Any text; the offsets in the answer are its own.
    """
    view: NormalizedText = normalize(text)
    found = [
        LexiconHit(p.group.category, p.group.severity, *view.span(start, end), p.term, disguised)
        for start, end, p, disguised in _shipped().find(view.text)
    ]
    found += [
        LexiconHit("personal_data", "moderate", start, end, kind) for kind, start, end in find_personal_data(text)
    ]
    found.sort(key=lambda h: (-SEVERITIES.index(h.severity), h.start - h.end, h.start))
    kept: list[LexiconHit] = []
    for hit in found:
        if not any(k.category == hit.category and k.start < hit.end and hit.start < k.end for k in kept):
            kept.append(hit)
    return sorted(kept, key=lambda h: (h.start, h.end, h.category))

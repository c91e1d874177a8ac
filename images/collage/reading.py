"""Reading phrases: which things a text names, how many, of which color and size, and how they stand to each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from taleward.images.collage.colors import color_of
from taleward.images.collage.lexicon import (
    INSIDE_OF,
    NUMBERS,
    PLACES,
    POSES,
    RELATIONS,
    SEASONS,
    SIZES,
    TIMES,
    VAGUE,
    WEATHERS,
    singulars,
)
from taleward.images.collage.library import Artwork, library
from taleward.images.collage.looks import GARMENTS, HAIR

_TOKEN = re.compile(r"[a-z0-9]+(?:['’][a-z]+)?(?:-[a-z0-9]+)*|[,.;:!?]", re.IGNORECASE)
_LONGEST = 5
_ALSO_VERBS = frozenset(["saw", "fly", "watch", "ring", "swing", "rose", "drum", "fish", "duck", "bear", "comb", "train", "plant"])  # fmt: skip
_BEFORE_A_WELL = frozenset(["", "a", "the", "old", "deep", "wishing", "stone", "his", "her", "their", "this"])
_SUBJECTS = frozenset(["he", "she", "it", "they", "we", "who", "to", "and", "then"])
_WORN = re.compile(r"\b(?:wearing|dressed in|in an?|with an?|wears)\b")


@dataclass
class Mention:
    """A thing that a text names.

    Attributes:
        drawing: Its drawing.
        said: The words for it, without its article.
        count: How many.
        color: Its color; empty for the drawing's own.
        size: How much larger than usual.
        pose: What it does; empty if nothing is said.
        relation: How it stands to the mention before: `under`, `on`, `in`, `above`, `by`, `behind`, `before`, `hold`, or nothing.
        other: The number of the mention it stands so to, -1 for none.
        phrase: The words around it that may describe its looks.
        name: The name of the character that it is.
        is_plural: Whether the noun is a plural.
    """

    drawing: Artwork
    said: str
    count: int = 1
    color: str = ""
    size: float = 1.0
    pose: str = ""
    relation: str = ""
    other: int = -1
    phrase: str = ""
    name: str = ""
    is_plural: bool = False


@dataclass
class Reading:
    """What a text names.

    Attributes:
        mentions: The things, in order.
        places: Kinds of scenery.
        times: Times of day.
        weathers: Kinds of weather.
        seasons: Seasons.
        unknown: Words that name what cannot be drawn.
    """

    mentions: list[Mention] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    weathers: list[str] = field(default_factory=list)
    seasons: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


@lru_cache(maxsize=1)
def nouns() -> Mapping[str, Artwork]:
    """Return the drawings by the words for them."""
    table: dict[str, Artwork] = {}
    for drawing in library().drawings.values():
        for word in drawing.words:
            table.setdefault(word.casefold(), drawing)
    return table


def find_drawing(words: str) -> Artwork | None:
    """Return the drawing that a noun means, also in the plural; `None` if there is none."""
    table = nouns()
    head, _, last = words.rpartition(" ")
    for form in singulars(last):
        if drawing := table.get(f"{head} {form}".strip()):
            return drawing
    return None


def read(text: str, *, is_setting: bool = False, names: Mapping[str, Artwork] | None = None) -> Reading:
    """Read a text.

    Args:
        text: The text.
        is_setting: Whether it says where and when.
        names: Drawings of characters by their names, in lower case.
    """
    return _Reader(text, is_setting, names or {}).read()


class _Reader:
    def __init__(self, text: str, is_setting: bool, names: Mapping[str, Artwork]) -> None:
        self.words = [match[0].casefold().replace("’", "'") for match in _TOKEN.finditer(text)]
        self.is_setting = is_setting
        self.names = names
        self.result = Reading()
        self._noun_start = 0
        """Where the words that may belong to the next noun begin."""

    def read(self) -> Reading:
        index = 0
        while index < len(self.words):
            index = self._step(index)
        return self.result

    def _step(self, index: int) -> int:
        for length in range(min(_LONGEST, len(self.words) - index), 0, -1):
            phrase = " ".join(self.words[index : index + length])
            if phrase.endswith("'s"):
                phrase = phrase[:-2]
            if self._take(phrase, index, length):
                return index + length
        self._unknown(self.words[index], index)
        return index + 1

    def _take(self, phrase: str, index: int, length: int) -> bool:
        """Understand a phrase; returns whether it means anything."""
        result = self.result
        if self._is_garment(phrase, index):
            self._noun_start = index + length
            return True
        known = False
        for table, found in ((TIMES, result.times), (WEATHERS, result.weathers), (SEASONS, result.seasons)):
            if phrase in table:
                found.append(table[phrase])
                known = True
        relation, start = self._before(index)
        place = PLACES.get(phrase) or next((PLACES[form] for form in singulars(phrase) if form in PLACES), None)
        inside = INSIDE_OF.get(phrase) if relation == "in" and not self._is_of(index) else None
        drawing = self.names.get(phrase) or (None if self._is_verb(phrase, index) else find_drawing(phrase))
        if inside and (self.is_setting or not result.places):
            result.places.append(inside)
            self._noun_start = index + length
            return True
        if place and (drawing is None or self._is_place(relation, phrase)):
            result.places.append(place)
            self._noun_start = index + length
            return True
        if phrase in SIZES and index + length < len(self.words) and find_drawing(self.words[index + length]):
            return False
        if drawing is not None and not (known and drawing.kind == "sky"):
            self._mention(drawing, phrase, index, length, relation, start)
            return True
        if known:
            return True
        if length <= 2 and phrase in POSES:
            self._pose(POSES[phrase], index)
            # `holding`, `playing` and the like also say how the next thing is related.
            return True
        return False

    def _is_place(self, relation: str, phrase: str) -> bool:
        return (
            relation in ("in", "by", "on", "under") or self.is_setting or phrase in ("mountain", "mountains", "clouds")
        )

    def _is_verb(self, phrase: str, index: int) -> bool:
        """Whether a word such as `saw` is what the word before it does: `the owl saw a mouse`."""
        before = self.words[index - 1] if index else ""
        if phrase == "well":
            return before not in _BEFORE_A_WELL
        if phrase not in _ALSO_VERBS or not index:
            return False
        return (
            before in _SUBJECTS or f"the {before}" in self.names or before in self.names or bool(find_drawing(before))
        )

    def _is_of(self, index: int) -> bool:
        return bool(self.words[index - 1 : index] == ["of"])

    def _is_garment(self, phrase: str, index: int) -> bool:
        """Whether a garment is worn by the last character; `a scarf on the bench` is a thing."""
        if phrase not in GARMENTS and phrase not in ("glasses", "spectacles", "hair"):
            return False
        before = " ".join(self.words[max(0, index - 6) : index])
        if not self.result.mentions or not (phrase == "hair" or _WORN.search(before)):
            return False
        last = next((m for m in reversed(self.result.mentions) if m.drawing.is_living), None)
        if last is None:
            return False
        last.phrase += f", {' '.join(self.words[max(0, index - 4) : index + 1])}"
        return True

    def _before(self, index: int) -> tuple[str, int]:
        """Return how a noun is related to what stands before it, and where its own words begin."""
        start = index
        while start > self._noun_start and self.words[start - 1] not in (",", ".", ";", ":", "!", "?"):
            for length in (3, 2, 1):
                words = " ".join(self.words[max(0, start - length) : start])
                if words in RELATIONS and len(words.split()) == min(length, start):
                    return RELATIONS[words], start
            start -= 1
        return ("" if start == index or start <= self._noun_start else "by"), start

    def _mention(self, drawing: Artwork, phrase: str, index: int, length: int, relation: str, start: int) -> None:
        own = self.words[max(start, index - 6) : index]
        last = phrase.split()[-1]
        plural = last not in nouns() and last != singulars(last)[-1]
        plural = plural or last in ("people", "children", "men", "women", "mice", "geese", "fairies", "elves", "wolves")
        mention = Mention(drawing, phrase, is_plural=plural, phrase=" ".join(own))
        if plural:
            mention.count = 3
        for number, word in enumerate(own):
            if word in NUMBERS:
                mention.count = NUMBERS[word] if (plural or NUMBERS[word] > 1) else 1
            elif word.isdigit():
                mention.count = max(1, min(12, int(word)))
            elif word in SIZES:
                mention.size *= SIZES[word]
            elif color_of(word) and not (own[number + 1 : number + 2] and own[number + 1] in ("hair", "haired")):
                shade = f"{own[number - 1]} {word}" if number else word
                mention.color = color_of(shade) or ""
            elif word in POSES:
                mention.pose = POSES[word]
            elif word.endswith("-haired") or word in HAIR:
                mention.phrase += " hair"
        if not plural and mention.count > 1 and not any((w in NUMBERS and NUMBERS[w] > 1) or w.isdigit() for w in own):
            mention.count = 1
        mentions = self.result.mentions
        if relation and mentions:
            mention.relation = relation
            mention.other = self._partner(relation)
            if self.words[start - 1 : start] == ["and"]:
                mention.relation, mention.other = "", -1
        if phrase in self.names:
            mention.name = phrase
        mentions.append(mention)
        self._noun_start = index + length

    def _partner(self, relation: str) -> int:
        """Return the number of the mention that a new one is related to: a character before it, or the last thing."""
        mentions = self.result.mentions
        if relation in ("hold", "on", "in", "under", "above"):
            for number in range(len(mentions) - 1, -1, -1):
                if mentions[number].drawing.is_living:
                    return number
        return len(mentions) - 1

    def _pose(self, pose: str, index: int) -> None:
        """Give a pose to the last character; `a girl and a boy dancing` gives it to both."""
        living = [m for m in self.result.mentions if m.drawing.is_living]
        if not living:
            return
        living[-1].pose = living[-1].pose or pose
        joined = "and" in self.words[:index]
        if joined and len(living) > 1 and not living[-2].pose and pose != "hold":
            living[-2].pose = pose

    def _unknown(self, word: str, index: int) -> None:
        if word in RELATIONS or word in VAGUE or word in NUMBERS or word in SIZES or color_of(word) or len(word) < 3:
            return
        if word in POSES or word in HAIR or word.isdigit() or word.endswith(("ly", "'s")):
            return
        if word not in self.result.unknown:
            self.result.unknown.append(word)

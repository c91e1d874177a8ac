"""The lexicon of words for pictures: styles, influences, light, camera, moods, kinds of subjects, contradictions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.yaml_files import YamlFile

_DATA = Path(__file__).parent / "data" / "lexicon.yaml"


class ArtStyle(FrozenModel):
    """An art style: other words for it, how it is made, and influences, techniques and colors that go with it."""

    words: tuple[str, ...] = ()
    family: Literal["painted", "drawn", "printed", "crafted", "digital", "photographed"]
    influences: tuple[str, ...]
    techniques: tuple[str, ...]
    colors: tuple[str, ...] = ()


class PictureMood(FrozenModel):
    """A mood: other words for it, and palettes and light that go with it."""

    words: tuple[str, ...] = ()
    colors: tuple[tuple[str, ...], ...]
    lighting: tuple[str, ...]


class SubjectKind(FrozenModel):
    """A kind of subject: the nouns that tell it, and what can be added to a subject of it."""

    nouns: tuple[str, ...] = ()
    settings: tuple[str, ...]
    actions: tuple[str, ...] = ()
    details: tuple[str, ...]


class PictureLexicon(FrozenModel):
    """All words for pictures; see the comments in its file.

    Attributes:
        styles: Art styles by name.
        movements: Art movements and traditions.
        artists: Artists of the past, with the year of their death.
        lighting: Kinds of light, with the time of day in which they make sense.
        indoor_light: Those that come from a flame or lamp.
        camera: Viewpoints.
        moods: Moods by name.
        kinds: Kinds of subjects by name; the last one is for all others.
        contradictions: Groups of words that contradict each other, by what they are about.
        vague: Words that tell a model nothing.
        looks: What a character may wear, for animals and for persons.
        places: Nouns for places.
    """

    styles: FrozenMapping[str, ArtStyle] = FrozenDict()
    movements: tuple[str, ...] = ()
    artists: FrozenMapping[str, int] = FrozenDict()
    lighting: FrozenMapping[str, Literal["day", "dusk", "night", "any"]] = FrozenDict()
    indoor_light: tuple[str, ...] = ()
    camera: tuple[str, ...] = ()
    moods: FrozenMapping[str, PictureMood] = FrozenDict()
    kinds: FrozenMapping[str, SubjectKind] = FrozenDict()
    contradictions: FrozenMapping[str, FrozenMapping[str, tuple[str, ...]]] = FrozenDict()
    vague: tuple[str, ...] = ()
    looks: FrozenMapping[str, tuple[str, ...]] = FrozenDict()
    places: tuple[str, ...] = ()

    def influence(self, text: str) -> str | None:
        """Return the movement or artist of the past that a text names, by full name or last name."""
        wanted = text.strip().casefold().removesuffix("'s")
        for name in (*self.movements, *self.artists):
            if wanted == name.casefold():
                return name
        return next((name for name in self.artists if wanted == name.split()[-1].casefold()), None)

    def style_in(self, text: str) -> str | None:
        """Return the art style that a text names, the longest match first."""
        return _longest_match(text, {name: style.words for name, style in self.styles.items()})

    def mood_in(self, text: str) -> str | None:
        """Return the mood that a text names."""
        return _longest_match(text, {name: mood.words for name, mood in self.moods.items()})

    def kind_of(self, subject: str) -> str:
        """Return the kind of a subject, by the first of its words that tells one; the last kind if none does."""
        nouns = {noun: kind for kind, data in self.kinds.items() for noun in data.nouns}
        # What follows a preposition is not the subject: "a house with a cat".
        head = re.split(r"\b(?:with|of|from|who|that|which)\b", subject.casefold())[0]
        for word in reversed(re.findall(r"[a-z'-]+", head)):
            for form in (word, word.removesuffix("s"), word.removesuffix("es")):
                if form in nouns:
                    return nouns[form]
        return list(self.kinds)[-1]

    def time_in(self, text: str) -> Literal["day", "dusk", "night"] | None:
        """Return the time of day that a text names; `None` if it names none or several."""
        if contains_any(text, ("dusk", "twilight", "sunset", "evening", "golden hour", "golden-hour", "dawn")):
            return "dusk"
        groups = self.contradictions["time of day"]
        night, day = (contains_any(text, groups[name]) is not None for name in ("night", "day"))
        return None if night == day else "night" if night else "day"


@lru_cache(maxsize=1)
def picture_lexicon() -> PictureLexicon:
    """Return the lexicon that ships with Taleward."""
    return YamlFile(_DATA, "lexicon").validate(PictureLexicon)


def contains_any(text: str, words: Iterable[str]) -> str | None:
    """Return the first of some words or phrases that a text contains, whole and in any case; `None` if none."""
    return next((word for word in words if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.I)), None)


def _longest_match(text: str, names: Mapping[str, Iterable[str]]) -> str | None:
    pairs = sorted(((word, name) for name, words in names.items() for word in (name, *words)), key=lambda p: -len(p[0]))
    return next((name for word, name in pairs if contains_any(text, [word])), None)

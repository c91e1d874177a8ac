"""The cast sheet of a story: who is in it and where, so that it can go on another evening."""

from __future__ import annotations

import re
from collections import Counter

from taleward.core.frozen_model import FrozenModel

_MOST = 6
_TAIL = 700
_NAMED = re.compile(
    r"\b(?:an?|the|his|her|their) ((?:[a-z]+ ){0,3}?[a-z]+)(?:,| was| who was)? (?:named|called) ([A-Z][a-z]+)"
)
_WAS = re.compile(r"\b([A-Z][a-z]+) was an? ((?:[a-z]+ ){0,3}[a-z]+)\b")
_INSIDE = re.compile(r"(?<=[a-z,;] )([A-Z][a-z]{2,})\b")
_FIRST = re.compile(r"(?:^|[.!?][\"”]? )([A-Z][a-z]{2,}) (?:was|had|went|said|saw|wanted|loved|ran|felt|asked)\b")
_NO_NAMES = frozenset(
    {
        *(
            "The",
            "They",
            "She",
            "Her",
            "His",
            "Then",
            "One",
            "But",
            "And",
            "When",
            "That",
            "This",
            "There",
            "Once",
            "Their",
        ),
        *(
            "What",
            "Who",
            "Why",
            "How",
            "Yes",
            "Not",
            "All",
            "You",
            "Its",
            "Our",
            "Everyone",
            "Everybody",
            "Suddenly",
            "Let",
        ),
        *(
            "Mom",
            "Dad",
            "Mommy",
            "Daddy",
            "God",
            "Monday",
            "Tuesday",
            "Wednesday",
            "Thursday",
            "Friday",
            "Saturday",
            "Sunday",
        ),
    }
)
_END = re.compile(r"\s*(?:the end|and they lived happily ever after)[.!]*\s*$", re.IGNORECASE)


class Character(FrozenModel):
    """Somebody in a story.

    Attributes:
        name: What they are called.
        about: What they are, in a few words; empty where the story does not say.
    """

    name: str
    about: str = ""


class CastSheet(FrozenModel):
    """What must be known to go on with a story.

    Attributes:
        setting: Where it happens; empty where that is not known.
        characters: Who is in it, the one named most first.
        tail: How it ended, its last sentences.
        parts: How many evenings it has been told so far.
    """

    setting: str = ""
    characters: tuple[Character, ...] = ()
    tail: str = ""
    parts: int = 0

    def after(self, text: str, *, hero: str = "", setting: str = "") -> CastSheet:
        """The sheet when another part was told.

        Args:
            text: The part.
            hero: Who it was asked to be about.
            setting: Where it was asked to happen.
        """
        found = characters_in(text)
        kind = hero.lower().split()[-1] if hero else ""
        if hero and not any(kind == c.name.lower() or kind in c.about.split() for c in found):
            found = (Character(name=hero), *found)
        known = {c.name.lower(): c for c in (*found, *self.characters)}
        kept = [
            known[name].model_copy(update={"about": known[name].about or _about(self.characters, name)})
            for name in dict.fromkeys([*(c.name.lower() for c in self.characters), *(c.name.lower() for c in found)])
        ]
        return CastSheet(
            setting=setting or self.setting,
            characters=tuple(kept[:_MOST]),
            tail=_last_sentences(_END.sub("", text)),
            parts=self.parts + 1,
        )

    def prose(self) -> str:
        """The sheet as sentences that a story can go on from."""
        known = [f"{c.name} was {c.about}." for c in self.characters if c.about]
        where = [f"It was in the {self.setting.removeprefix('the ')}."] if self.setting else []
        return " ".join([*known, *where, self.tail]).strip()

    @property
    def lead(self) -> str:
        """The sentence that another part begins with."""
        place = f" in the {self.setting.removeprefix('the ')}" if self.setting else ""
        if not self.characters:
            return f"The next day they all met again{place}."
        name = self.characters[0].name
        return f"The next day, {name if name[0].isupper() else f'the {name}'} was back{place}."


def characters_in(text: str) -> tuple[Character, ...]:
    """The characters that a text gives names to, the one named most first."""
    about: dict[str, str] = {}
    for kind, name in [*_NAMED.findall(text), *((kind, name) for name, kind in _WAS.findall(text))]:
        about.setdefault(name, f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}")
    names = Counter([*about, *_INSIDE.findall(text), *_FIRST.findall(text)])
    return tuple(
        Character(name=name, about=about.get(name, ""))
        for name, _ in sorted(names.items(), key=lambda item: (-item[1], item[0]))
        if name not in _NO_NAMES
    )[:_MOST]


def _about(characters: tuple[Character, ...], name: str) -> str:
    return next((c.about for c in characters if c.name.lower() == name), "")


def _last_sentences(text: str) -> str:
    tail = text.strip()[-_TAIL:]
    if len(text.strip()) > _TAIL:
        _, gap, rest = tail.partition(". ")
        tail = rest if gap else tail
    return tail.strip()

"""Cast sheet of a story: its characters, setting and ending, so that it can be continued later."""

from __future__ import annotations

import re
from collections import Counter

from taleward.core.frozen_model import FrozenModel

_MAX_CHARACTERS = 6
_TAIL_LENGTH = 700
_NAMED = re.compile(
    r"\b(?:[Aa]n?|[Tt]he|[Hh]is|[Hh]er|[Tt]heir|[Oo]ne) ((?:[a-z]+ ){0,3}?[a-z]+)(?:,| was| who was)? (?:named|called)"
    r" ([A-Z][a-z]+)"
)
_WAS_A = re.compile(r"\b([A-Z][a-z]+) was an? ((?:[a-z]+ ){0,3}[a-z]+)\b")
_NAME_WITHIN_SENTENCE = re.compile(r"(?<=[a-z,;] )([A-Z][a-z]{2,})\b")
_NAME_AT_START = re.compile(
    r"(?:^|[.!?][\"”]? )([A-Z][a-z]{2,}) (?:was|had|went|said|saw|wanted|loved|ran|felt|asked)\b"
)
# Words that are capitalized for other reasons than being a name.
_CAPITALIZED_WORDS = (
    "The They She Her His Then One But And When That This There Once Their What Who Why How Yes Not All You Its Our "
    "It He We There Here Now So My Everyone Everybody Suddenly Let Mom Dad Mommy Daddy God "
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
)
_NOT_NAMES = frozenset(_CAPITALIZED_WORDS.split())
_CLOSING_WORDS = re.compile(r"(?:the end|and they lived happily ever after)[.!]*\s*$", re.IGNORECASE)


class Character(FrozenModel):
    """A character in a story.

    Attributes:
        name: The character's name.
        about: Who or what the character is, in a few words; empty if the story does not say.
    """

    name: str
    about: str = ""


class CastSheet(FrozenModel):
    """What a writer needs to continue a story.

    Attributes:
        setting: Where the story takes place; empty if unknown.
        characters: The characters, in the order they joined the story; those of one part by how often they are named.
        tail: The last sentences of the latest part.
        parts: How many parts have been told.
    """

    setting: str = ""
    characters: tuple[Character, ...] = ()
    tail: str = ""
    parts: int = 0

    def with_part(self, text: str, *, character: str = "", setting: str = "") -> CastSheet:
        """Return the sheet updated with another part of the story.

        Args:
            text: The part.
            character: The main character that was requested.
            setting: The setting that was requested.
        """
        present = characters_in(text)
        # A character without a name, such as "clever fox", is added as requested, unless a named one is that fox.
        noun = character.lower().split()[-1] if character else ""
        if character and not any(noun == c.name.lower() or noun in c.about.split() for c in present):
            present = (Character(name=character), *present)
        by_name = {c.name.lower(): c for c in (*present, *self.characters)}
        order = dict.fromkeys([*(c.name.lower() for c in self.characters), *(c.name.lower() for c in present)])
        characters = [
            by_name[name].model_copy(update={"about": by_name[name].about or _description(self.characters, name)})
            for name in order
        ]
        return CastSheet(
            setting=setting or self.setting,
            characters=tuple(characters[:_MAX_CHARACTERS]),
            tail=_last_sentences(_CLOSING_WORDS.sub("", text)),
            parts=self.parts + 1,
        )

    def prose(self) -> str:
        """Return the sheet as sentences, which a model can continue."""
        descriptions = [f"{c.name} was {c.about}." for c in self.characters if c.about]
        place = [f"It was in the {self.setting.removeprefix('the ')}."] if self.setting else []
        return " ".join([*descriptions, *place, self.tail]).strip()

    @property
    def opening_sentence(self) -> str:
        """The sentence that the next part begins with."""
        place = f" in the {self.setting.removeprefix('the ')}" if self.setting else ""
        if not self.characters:
            return f"The next day they all met again{place}."
        name = self.characters[0].name
        return f"The next day, {name if name[0].isupper() else f'the {name}'} was back{place}."


def characters_in(text: str) -> tuple[Character, ...]:
    """Return the named characters in a text, the most frequently named first."""
    descriptions: dict[str, str] = {}
    pairs = [*_NAMED.findall(text), *((noun, name) for name, noun in _WAS_A.findall(text))]
    for noun, name in pairs:
        descriptions.setdefault(name, f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}")
    counts = Counter([*descriptions, *_NAME_WITHIN_SENTENCE.findall(text), *_NAME_AT_START.findall(text)])
    return tuple(
        Character(name=name, about=descriptions.get(name, ""))
        for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if name not in _NOT_NAMES
    )[:_MAX_CHARACTERS]


def _description(characters: tuple[Character, ...], name: str) -> str:
    return next((c.about for c in characters if c.name.lower() == name), "")


def _last_sentences(text: str) -> str:
    tail = text.strip()[-_TAIL_LENGTH:]
    if len(text.strip()) > _TAIL_LENGTH:
        # Drop the sentence that the cut left incomplete.
        _, separator, rest = tail.partition(". ")
        tail = rest if separator else tail
    return tail.strip()

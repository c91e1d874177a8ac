"""What is to be seen on each page: who, where, when, and which sentence the picture shows. By rules, offline."""

from __future__ import annotations

import re
from collections.abc import Sequence

from taleward.books.places_told import first_place, is_indoors, light_told, place_named, place_reached, room_of
from taleward.books.things_told import described_alike, descriptions, things_on
from taleward.books.wording import QUOTED, UNSEEN, as_seen, capitalized, listed, with_everybody, with_kin, with_names
from taleward.core.frozen_model import FrozenModel
from taleward.images.collage.reading import read
from taleward.images.prompt_spec import CastMember
from taleward.images.prompts.pronouns import Referent, find_gender, names_character, resolve_pronouns
from taleward.moderation.text.sentences import sentences

_SPEECH = re.compile(r"\b(?:said|asked|replied|called|cried|shouted|whispered|answered|told|laughed|yelled)\b", re.I)
_FIRE = re.compile(r"\bfire\b", re.IGNORECASE)
_IS_A = re.compile(r"\b(?:was|were|is|are) an? ", re.IGNORECASE)
_THEY = re.compile(r"\b(?:they|both)\b", re.IGNORECASE)
_LIVES = re.compile(r"\b(?:lived?|lives|home was)\b", re.IGNORECASE)


class Seen(FrozenModel):
    """What is to be seen on a page.

    Attributes:
        shows: The sentence that the picture shows, with names in place of pronouns.
        things: Other things on the page that can be drawn, such as `"a golden key"`.
        cast: Who is there, by name.
        place: Where, such as `"in the forest"`; empty if the tale has not said it.
        light: The light, empty by day.
    """

    shows: str
    things: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()
    place: str = ""
    light: str = ""


def seen_on(pages: Sequence[str], cast: Sequence[CastMember]) -> list[Seen]:
    """Return what is to be seen on each page.

    The main character is on every page that names it or speaks of it by a pronoun; a place and a time of day hold until
    the tale names others.

    Args:
        pages: The texts of the pages.
        cast: Everyone in the tale.
    """
    split = [[part.strip() for part in sentences(page) if part.strip()] for page in pages]
    everything = [sentence for page in split for sentence in page]
    names = [member.name for member in cast]
    referents = [
        Referent(name=m.name, gender=find_gender(m.name, m.kind, everything, [n for n in names if n != m.name]))
        for m in cast
    ]
    resolved = resolve_pronouns([with_names(sentence, cast) for sentence in everything], referents)
    resolved = [with_kin(sentence, cast) for sentence in resolved]
    telling, start, result = _Telling(resolved, cast), 0, []
    for page in split:
        result.append(telling.page(resolved[start : start + len(page)]))
        start += len(page)
    return result


class _Telling:
    """What the pages so far have told: where it is, what time, and who is there."""

    def __init__(self, resolved: Sequence[str], cast: Sequence[CastMember]) -> None:
        self.cast, self.names = cast, [member.name for member in cast]
        self.place = first_place(resolved)
        self.home = self.place if any(map(_LIVES.search, resolved)) else "at home"
        self.inside, self.light = "", ""
        self.described = descriptions(resolved)
        self.present: list[str] = self.names[:1]

    def page(self, within: Sequence[str]) -> Seen:
        """Return what is to be seen on the next page."""
        here = self._here(within)
        index, shows = _key_sentence(within, here)
        if shows.endswith(" talking") and self.present and self.present[0] not in here:
            here.append(self.present[0])  # somebody listens
            index, shows = _key_sentence(within, here)
        self.light = light_told(within, self.light)
        things = things_on(within, shows, self.cast)
        place = self._place(within, index, shows)
        if is_indoors(place):
            shows, things = _FIRE.sub("fireplace", shows), tuple(t for t in things if not _FIRE.search(t))
        shows = described_alike(with_everybody(shows, here), self.described)
        self.present = here
        return Seen(
            shows=shows,
            things=tuple(described_alike(thing, self.described) for thing in things),
            cast=tuple(here),
            place=place,
            light=self.light,
        )

    def _here(self, within: Sequence[str]) -> list[str]:
        """Return who is on a page: whom it names, or who was there before if it speaks of them."""
        names = self.names
        here = [name for name in names if any(names_character(QUOTED.sub(" ", s), name) for s in within)]
        if names and names[0] not in here and any(names_character(s, names[0]) for s in within):
            here.insert(0, names[0])
        opening = next((s for s in within if _THEY.search(QUOTED.sub(" ", s))), "")
        told = within[: within.index(opening)] if opening else []
        if opening and len(self.present) > 1 and sum(any(names_character(s, n) for s in told) for n in names) < 2:
            here = [name for name in names if name in {*here, *self.present}]
        named = [name for name in names if any(names_character(s, name) for s in within)]
        return here or named or self.present[:1]

    def _place(self, within: Sequence[str], index: int, shows: str) -> str:
        """Return where a page's picture is, and remember where the page ends."""
        reached = [found for sentence in within if (found := place_reached(sentence, self.home))]
        before = (place_reached(sentence, self.home) for sentence in reversed(within[: index + 1]))
        here = place_reached(shows, self.home) or next(filter(None, before), "")
        here = here or room_of(shows, self.inside) or self.place
        self.inside = next((found for found in reversed([*reached, here]) if is_indoors(found)), self.inside)
        self.place = (reached or [here])[-1]
        return here


def _key_sentence(within: Sequence[str], here: Sequence[str]) -> tuple[int, str]:
    """Return the sentence in which most is to be seen, without speech and linking words, and its number."""
    bare = [as_seen(sentence) for sentence in within]

    def visible(index: int) -> tuple[float, int]:
        text = bare[index]
        words = text.split()
        if len(words) < 3 or (_SPEECH.search(text) and len(words) < 7):
            return (-5.0, -index)
        mentions = read(text).mentions
        score = 1.2 * min(3, len({m.drawing.name for m in mentions})) + 1.0 * bool(place_named(text))
        score += 2.0 * any(names_character(text, name) for name in here) + 0.8 * any(m.pose for m in mentions)
        score -= 1.0 * bool(re.match(r"it\b", text, re.IGNORECASE))
        score -= 1.5 * bool(_IS_A.search(text))
        return (score - 1.5 * len(UNSEEN.findall(text)) - 0.06 * max(0, len(words) - 18), -index)

    index = max(range(len(within)), key=visible)
    if visible(index)[0] <= -5.0:
        # Nothing but speech: they are seen talking.
        who = listed(here) or "somebody"
        return index, f"{capitalized(who)} talking" + (" together" if len(here) > 1 else "")
    best = bare[index].rstrip(".!?… ")
    return index, capitalized(best)

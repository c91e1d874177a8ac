"""From a prompt to a scene: where it is, when, who is in it, and which words nothing was drawn for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from taleward.images.collage.colors import color_of
from taleward.images.collage.homes import fit_place, home_of
from taleward.images.collage.lexicon import GROUPS, singulars
from taleward.images.collage.library import Artwork, library
from taleward.images.collage.looks import look_of
from taleward.images.collage.reading import Mention, Reading, find_drawing, read
from taleward.images.collage.scene import CollageScene, Thing
from taleward.images.collage.scenery.stage import Time
from taleward.images.prompt_spec import CastMember, PromptSpec

MAX_THINGS = 14
"""How many things a scene holds; more would be a crowd in which nothing can be seen."""

_AUTUMN = "#dd7f35"
"""What trees turn to in autumn."""

_UPRIGHT: Mapping[str, str] = {
    "cat": "cat-face", "black-cat": "cat-face", "dog": "dog-face", "service-dog": "dog-face", "rabbit": "rabbit-face",
    "mouse": "mouse-face", "pig": "pig-face", "cow": "cow-face", "monkey": "monkey-face", "tiger": "tiger-face",
}  # fmt: skip
"""The head that an animal's own drawing is exchanged for when it wears, holds or sleeps."""


@dataclass
class _Gathered:
    mentions: list[Mention] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)


def plan_scene(spec: PromptSpec, seed: int) -> CollageScene:
    """Return the scene of a prompt.

    Args:
        spec: The prompt.
        seed: Decides how persons look of whom the prompt says nothing.
    """
    cast_drawings, unknown_cast = _cast(spec.cast)
    gathered = _gather(spec, cast_drawings)
    forbidden = _forbidden(spec.negative)
    things, omitted = _things(gathered.mentions, spec, forbidden, seed)
    times = [time for reading in gathered.readings for time in reading.times]
    weathers = [kind for reading in gathered.readings for kind in reading.weathers]
    seasons = [season for reading in gathered.readings for season in reading.seasons]
    place = gathered.places[0] if gathered.places else ""
    said = bool(place)
    place = fit_place(place or home_of(things), things)
    weather = next((kind for kind in weathers if kind != "clear"), "clear" if weathers else "")
    season = seasons[0] if seasons else "winter" if weather == "snow" else "summer"
    if season == "autumn":
        things = [
            replace(t, color=_AUTUMN) if t.drawing.name == "deciduous-tree" and not t.color else t for t in things
        ]
    time = cast("Time", times[0] if times else "night" if place in ("space", "moonscape") else "day")
    unknown = [*unknown_cast, *(word for reading in gathered.readings for word in reading.unknown)]
    unknown = [word for word in dict.fromkeys(unknown) if word.casefold() not in cast_drawings]
    return CollageScene(place, said, time, weather, season, tuple(things), tuple(unknown), tuple(omitted))


def _cast(members: Sequence[CastMember]) -> tuple[dict[str, Artwork], list[str]]:
    """Return the characters' drawings by their names, and the names of those that have none."""
    drawings, unknown = {}, []
    for member in members:
        text = " ".join((member.kind, member.name)).casefold()
        mentions = read(text).mentions
        drawing = next((m.drawing for m in mentions if m.drawing.is_living), None)
        if drawing is None and mentions:
            drawing = mentions[0].drawing
        if drawing is None:
            unknown.append(f"{member.name}, {member.kind}" if member.kind else member.name)
            continue
        # Upright on every page, so that it looks the same on all of them.
        drawings[member.name.casefold()] = library().drawings[_UPRIGHT.get(drawing.name, drawing.name)]
    return drawings, unknown


def _gather(spec: PromptSpec, names: Mapping[str, Artwork]) -> _Gathered:
    found = _Gathered()
    for text, is_setting in (
        (f"{spec.subject} {spec.action}".strip(), False),
        *((detail, False) for detail in spec.details),
        (spec.setting, True),
    ):
        if not text:
            continue
        reading = read(text, is_setting=is_setting, names=names)
        offset = len(found.mentions)
        kept: dict[int, int] = {}
        for number, mention in enumerate(reading.mentions):
            # "Pip and Olive ate, and Olive read": a character is there once, however often it is named.
            same = [i for i, m in enumerate(found.mentions) if _is_same(m, mention)] if offset or mention.name else []
            twin = same[0] if same else None
            if twin is not None:
                kept[number] = twin
                first = found.mentions[twin]
                first.pose = first.pose or mention.pose
                first.color = first.color or mention.color
                first.phrase += f", {mention.phrase}"
                continue
            kept[number] = len(found.mentions)
            mention.other = kept.get(mention.other, -1) if mention.other >= 0 else -1
            found.mentions.append(mention)
        found.places += reading.places
        found.readings.append(reading)
    found.places = list(dict.fromkeys(found.places))
    for name, drawing in names.items():
        if all(mention.name != name for mention in found.mentions):
            found.mentions.append(Mention(drawing, name, name=name))
    for text in (spec.lighting, spec.mood):
        reading = read(text)
        found.readings.append(Reading(times=reading.times, weathers=reading.weathers, seasons=reading.seasons))
    return found


def _is_same(first: Mention, second: Mention) -> bool:
    return first.drawing == second.drawing and first.name == second.name and first.is_plural == second.is_plural


def _forbidden(negative: Sequence[str]) -> set[str]:
    """Return the names of drawings that must not be in the picture."""
    names: set[str] = set()
    for phrase in negative:
        for mention in read(phrase).mentions:
            names.add(mention.drawing.name)
            if mention.said in GROUPS and mention.said in ("people", "persons", "humans", "person"):
                names |= {d.name for d in library().drawings.values() if d.is_person}
    return names


def _things(
    mentions: Sequence[Mention], spec: PromptSpec, forbidden: set[str], seed: int
) -> tuple[list[Thing], list[str]]:
    looks = {member.name.casefold(): member for member in spec.cast}
    full_names = {member.name.casefold(): member.name for member in spec.cast}
    things: list[Thing] = []
    omitted: list[str] = []
    numbers: dict[int, int] = {}
    total = 0
    for number, mention in enumerate(mentions):
        if mention.drawing.name in forbidden or mention.drawing.kind == "sky" or total >= MAX_THINGS:
            if mention.drawing.kind != "sky":
                omitted.append(mention.said)
            continue
        count = min(mention.count, MAX_THINGS - total)
        total += count
        numbers[number] = len(things)
        member = looks.get(mention.name)
        phrases = (
            mention.phrase,
            *((member.kind, *member.looks) if member else ()),
            *(() if member or number else spec.details),
        )
        drawing = _drawing_for(mention, phrases)
        color = mention.color or (_cast_color(member) if member else "")
        key = f"{member.name}/{member.kind}/{'/'.join(member.looks)}" if member else f"{seed}/{number}/{mention.said}"
        if mention.drawing.name == "black-cat" and drawing.name == "cat-face":
            color = color or "#4a4a50"
        look = look_of(drawing, phrases, key, color) if drawing.kind in ("head", "bust", "beast") else None
        holds = any(m.relation == "hold" and m.other == number for m in mentions)
        pose = mention.pose or "stand"
        if holds and pose in ("stand", "walk", "wave", "fly"):
            pose = "hold"
        noun = find_noun(mention)
        things.append(
            Thing(
                drawing, noun, count, look, color, _color_said(mention), _size(mention, member), pose,
                mention.relation, numbers.get(mention.other, -1), full_names.get(mention.name, ""),
            )
        )  # fmt: skip
    return things, omitted


def _size(mention: Mention, member: CastMember | None) -> float:
    """Return how much larger than usual a thing is: as the text says, or as its character is, such as a tiny owl."""
    size = mention.size
    if member is not None and size == 1.0:
        size = next((m.size for m in read(member.kind).mentions), 1.0)
    return max(0.4, min(2.0, size))


def find_noun(mention: Mention) -> str:
    """Return what a caption calls a thing: the prompt's own word in the singular."""
    if mention.name:
        return mention.drawing.words[0].removesuffix(" face")
    return mention.said if find_drawing(mention.said) and not mention.is_plural else _singular(mention)


def _singular(mention: Mention) -> str:
    head, _, last = mention.said.rpartition(" ")
    for form in reversed(singulars(last)):
        if find_drawing(f"{head} {form}".strip()) == mention.drawing:
            return f"{head} {form}".strip()
    return mention.drawing.words[0]


def _drawing_for(mention: Mention, phrases: Sequence[str]) -> Artwork:
    """Return the drawing of a mention, with the head alone where the collage's own body is needed."""
    drawing = mention.drawing
    upright = _UPRIGHT.get(drawing.name)
    if upright is None:
        return drawing
    head = library().drawings[upright]
    needs = mention.pose in ("sleep", "hold", "dance", "wave", "sit") or look_of(head, tuple(phrases), "").worn
    return head if needs else drawing


def _cast_color(member: CastMember) -> str:
    """Return the color that a character's kind or looks give to its fur, such as `gray fur`."""
    for phrase in (member.kind, *member.looks):
        for mention in read(phrase).mentions:
            if mention.color and mention.drawing.is_living:
                return mention.color
        words = phrase.casefold().split()
        for index, word in enumerate(words):
            if (
                word in ("fur", "coat", "feathers", "skin", "scales", "mane")
                and index
                and (color := color_of(words[index - 1]))
            ):
                return color
    return ""


def _color_said(mention: Mention) -> str:
    return next((word for word in mention.phrase.split() if color_of(word) and mention.color), "")

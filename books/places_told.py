"""Where and when a tale's sentences happen, as far as several pages can happen there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from taleward.books.wording import QUOTED, UNSEEN
from taleward.images.collage.lexicon import INDOORS, INSIDE_OF, PLACES, TIMES
from taleward.images.prompts.read_prompt import place_in

_NEW_DAY = re.compile(r"\b(?:next (?:day|morning)|in the morning|the sun (?:rose|came up)|one (?:day|morning))\b", re.I)
_LIGHT: Mapping[str, str] = {"dawn": "early morning light", "dusk": "warm evening light", "night": "moonlight at night"}
_AT_TOP = re.compile(
    r"\b(?:climbed(?: up)?|at the (?:top|foot|bottom) of|on top of|reached|entered|crossed) (?:the|an?) (?:[a-z]+ )?"
    r"(?P<noun>[a-z]+)\b",
    re.IGNORECASE,
)
_WENT_TO = re.compile(
    r"\b(?:went|ran|walked|came|flew|swam|hurried|raced|hopped|way|got|returned|back|led|arrived|climbed)(?: \w+){0,2}?"
    r" (?:to|into|onto|at|up|over|down|through|across|along) (?:the|an?|his|her|their) (?:[a-z]+ )?(?P<noun>[a-z]+)\b",
    re.IGNORECASE,
)
_HOME = re.compile(r"\b(?:home|house again)\b", re.IGNORECASE)
_BY_WATER = ("river", "lake", "pond", "sea", "ocean", "stream", "brook", "creek", "waterfall", "lagoon", "bay")
_ON = frozenset(
    ["hill", "hills", "hilltop", "mountain", "mountains", "island", "beach", "shore", "road", "street", "cliff", "farm"]
)
SKY = ("moon", "sun", "star", "stars", "sky", "clouds")
_INDOORS = re.compile(r"\b(?:window|stairs|bed|bedroom|blanket|pillow|lamp|chair|sofa|kitchen|fireplace)\b", re.I)
_IN_BED = re.compile(r"\b(?:bed|blanket|pillow|bedtime)\b", re.IGNORECASE)


def place_named(sentence: str) -> str:
    """Return the place that a sentence names, if it is one that several pages can happen in: no bed, no tree."""
    text = QUOTED.sub(" ", sentence)
    if re.search(r"\b(?:to find|wanted to|wished to|looking for|dreamed of|from)\b", text, re.IGNORECASE):
        return ""
    place = place_in(text)
    noun = place.split()[-1].lower() if place else ""
    if noun in PLACES or (noun in INSIDE_OF and place.split()[0] in ("in", "inside", "into", "at")):
        return place
    return ""


def place_reached(sentence: str, home: str) -> str:
    """Return where a sentence happens or ends: a place, one that somebody comes to, or home."""
    text = QUOTED.sub(" ", sentence)
    if UNSEEN.search(text) and not _WENT_TO.search(text):
        return place_named(sentence) if not re.search(r"\bnot\b|n't", text) else ""
    for match in (*_WENT_TO.finditer(text), *_AT_TOP.finditer(text)):
        noun = match["noun"].lower()
        if noun in _BY_WATER:
            return f"by the {noun}"
        if noun in PLACES or noun in INSIDE_OF:
            return f"{'on' if noun in _ON else 'in'} the {noun}"
    return place_named(sentence) or (home if _HOME.search(text) else "")


def room_of(sentence: str, inside: str) -> str:
    """Return the room that a bed or a window tells of; empty if nothing does.

    Args:
        sentence: The sentence.
        inside: The room that the tale was in last, empty for none.
    """
    if not _INDOORS.search(sentence):
        return ""
    return "in the bedroom" if _IN_BED.search(sentence) else inside or "in the room"


def is_indoors(place: str) -> bool:
    """Whether a place is within a building."""
    noun = place.split()[-1].lower() if place else ""
    return noun in INSIDE_OF or PLACES.get(noun, "") in INDOORS


def first_place(resolved: Sequence[str]) -> str:
    """Return the first place that some sentences name."""
    return next((found for sentence in resolved for found in [place_named(sentence)] if found), "")


def light_told(within: Sequence[str], before: str) -> str:
    """Return the light on a page; it stays until another time of day is named."""
    text = " ".join(QUOTED.sub(" ", sentence) for sentence in within).lower()
    if _NEW_DAY.search(text):
        before = ""
    said = [time for word, time in TIMES.items() if word not in SKY and re.search(rf"\b{re.escape(word)}\b", text)]
    return _LIGHT.get(said[-1], "") if said else before


def kind_of_place(place: str) -> str:
    """Return what kind of place it is, or its noun: woods and trees are the forest."""
    noun = place.split()[-1].lower() if place else ""
    return PLACES.get(noun, noun)

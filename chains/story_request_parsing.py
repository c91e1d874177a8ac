"""Find out by rules what a free request says about a story: who, where, and which object, power, deed and ending."""

from __future__ import annotations

import re

from taleward.chains.template import Template
from taleward.core.frozen_model import FrozenModel

_ARTICLE = re.compile(r"^(?:an?|the|some|my|our|your|his|her|their)\s+", re.IGNORECASE)
_TOPIC = re.compile(r"\b(?:about|with|of|where|in which|starring)\s+(.+)$", re.IGNORECASE | re.DOTALL)
# A request may be the hero alone: "a fox who finds a key".
_BARE_HERO = re.compile(r"^(?:an?|one|two|three|my|our)\s+(?!.*\b(?:story|tale|fable)\b)(?=\S)", re.IGNORECASE)
_CHARACTER = re.compile(
    r"^(.+?)(?=(?<!\s)\s+(?:who|that|and then|and an?|which|on|in|at|under|inside|wins?|gets?|is|finds?|learns?"
    r"|discovers?|wants?|decides?)\b|[,.!?]|$)"
)
_SETTING = re.compile(
    r"\b(?:set in|in|on|at|under|inside)\s+(?:the|an?)\s+((?:[a-z'-]+ ){0,2}?[a-z'-]+)\s*"
    r"(?=[,.!?]|$|\b(?:with|who|about|and|finds?|discovers?|wants?|decides?|there)\b)",
    re.IGNORECASE,
)
_OBJECT = re.compile(
    r"\b(?:finds?|found|discovers?|discovered|gets|comes? across|picks? up|is given|and)\s+(?:an?|the|his|her|their)\s+"
    r"((?:[a-z'-]+ ){0,2}?[a-z'-]+)\s*(?=[,.!?]|$|\b(?:that|which|in|on|at|under|inside|and|who|with)\b)",
    re.IGNORECASE,
)
_END_OF_CLAUSE = r"(?=[.,;!?\n]|$|(?<!\s)\s+(?:but|so that|because|until|and (?:finds?|decides?|wants?))\b)"
_POWER = re.compile(rf"\b(?:that|which|it) (?:can|could|has the power to)\s+(.+?){_END_OF_CLAUSE}", re.IGNORECASE)
_ACTION = re.compile(rf"\b(?:decides?|wants?|tries|would like|dreams of|sets out) to\s+(.+?){_END_OF_CLAUSE}", re.I)
_OUTCOME = re.compile(rf"\b(?:ends? (?:with|in)|(?:outcome|ending|end) is)\s+(.+?){_END_OF_CLAUSE}", re.IGNORECASE)

# How templates name their variables, by the part of a story that belongs there.
_VARIABLE_NAMES = {
    "character": frozenset({"character", "hero", "heroine", "protagonist", "who"}),
    "setting": frozenset({"setting", "place", "where"}),
    "item": frozenset({"object", "item", "thing"}),
    "power": frozenset({"properties", "power", "powers"}),
    "action": frozenset({"action", "deed", "decision"}),
    "outcome": frozenset({"outcome", "ending"}),
}
_MAX_CHARS = 60


class RequestedParts(FrozenModel):
    """What a request says about a story; what it leaves open, or what the rules do not find, is empty.

    Attributes:
        character: The main character, without an article.
        setting: Where it takes place, without an article.
        item: What the character finds, without an article.
        power: What the item can do, beginning with a verb.
        action: What the character wants or decides to do, beginning with a verb.
        outcome: How the story ends.
    """

    character: str = ""
    setting: str = ""
    item: str = ""
    power: str = ""
    action: str = ""
    outcome: str = ""


def requested_parts(request: str) -> RequestedParts:
    """Extract the parts of a story that a request names.

    The rules know English phrasings such as "a story about a fox in a quiet garden who finds a key that can sing".
    """
    request = request.strip()
    topic = _TOPIC.search(request)
    about = request if _BARE_HERO.match(request) else topic[1] if topic else ""
    character = _CHARACTER.match(about) if about else None
    return RequestedParts(
        character=_ARTICLE.sub("", character[1].strip())[:_MAX_CHARS] if character else "",
        **{
            part: match[1].strip()[:_MAX_CHARS] if (match := pattern.search(request)) else ""
            for part, pattern in (
                ("setting", _SETTING),
                ("item", _OBJECT),
                ("power", _POWER),
                ("action", _ACTION),
                ("outcome", _OUTCOME),
            )
        },
    )


def values_from_request(request: str, template: Template) -> dict[str, str]:
    """Return the values of a template that a request names, for variables whose names say what belongs there.

    A variable is recognized by a word of its name, such as `hero`, `place` or `mysterious_object`.
    """
    parts = requested_parts(request)
    values = {}
    for name, variable in template.variables.items():
        words = set(name.split("_"))
        part = next((part for part, names in _VARIABLE_NAMES.items() if words & names), None)
        value = getattr(parts, part) if part else ""
        if part == "power" and value and variable.example.startswith("the power to "):
            value = f"the power to {value}"
        if value and len(value) <= variable.max_length:
            values[name] = value
    return values

"""What a person asks for when a picture is drawn anew: "make the owl smaller", "add a red balloon", "closer"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from taleward.images.prompt_spec import PromptSpec

_SIZE = re.compile(
    r"^(?:please )?(?:make|draw|let) (?P<who>.+?) (?:be |look )?(?:much |a bit |a little |even )?"
    r"(?P<size>smaller|tiny|little|bigger|larger|huge|giant|taller)$",
    re.IGNORECASE,
)
_COLOR = re.compile(r"^(?:please )?(?:make|paint|color|draw) (?P<what>(?:the |a |an )?[\w -]+?) (?:in )?(?P<color>(?:light |dark )?(?:red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|gray|grey|gold|golden|silver))$", re.I)  # fmt: skip  # noqa: E501
_ADD = re.compile(r"^(?:please )?(?:add|put in|put|with|draw|show|include) (?P<what>.+)$", re.IGNORECASE)
_REMOVE = re.compile(
    r"^(?:please )?(?:remove|leave out|take away|without|no|erase|drop) (?:the |a |an |any )?(?P<what>.+)$",
    re.IGNORECASE,
)
_CAMERA = (
    (re.compile(r"\b(?:closer|close-?up|nearer|zoom in)\b", re.IGNORECASE), "close-up"),
    (re.compile(r"\b(?:farther|further|wider|wide|zoom out|from far)\b", re.IGNORECASE), "wide shot"),
    (re.compile(r"\b(?:from above|bird's)\b", re.IGNORECASE), "high-angle view from above"),
)
_LIGHT = (
    (re.compile(r"\b(?:at night|by night|nighttime|moonlight)\b", re.IGNORECASE), "moonlight at night"),
    (re.compile(r"\b(?:evening|sunset|dusk)\b", re.IGNORECASE), "warm evening light"),
    (re.compile(r"\b(?:sunrise|dawn|early morning)\b", re.IGNORECASE), "early morning light"),
    (re.compile(r"\b(?:by day|daytime|daylight|sunny)\b", re.IGNORECASE), "bright daylight"),
)
_SMALL = ("smaller", "tiny", "little")
_SIZES = re.compile(r"\b(?:tiny|small|little|big|large|huge|giant|young|tall) ", re.IGNORECASE)


def apply_changes(spec: PromptSpec, changes: Sequence[str]) -> PromptSpec:
    """Return a prompt with what a person asked for; what the rules do not know becomes a detail."""
    for change in changes:
        spec = _apply(spec, change.strip().rstrip(".!"))
    return spec


def is_understood(spec: PromptSpec, change: str) -> bool:
    """Whether the rules know a change, so that the rest of the picture can stay as it is."""
    changed = _apply(spec, change.strip().rstrip(".!"))
    return changed != spec and change.strip().rstrip(".!") not in changed.details


def _apply(spec: PromptSpec, change: str) -> PromptSpec:
    if match := _SIZE.match(change):
        return _described(spec, match["who"], "tiny" if match["size"].lower() in _SMALL else "giant")
    if match := _COLOR.match(change):
        return _described(spec, match["what"], match["color"].lower())
    for pattern, camera in _CAMERA:
        if pattern.search(change) and len(change.split()) <= 6:
            return spec.model_copy(update={"camera": camera})
    for pattern, light in _LIGHT:
        if pattern.search(change) and len(change.split()) <= 6:
            return spec.model_copy(update={"lighting": light})
    if match := _REMOVE.match(change):
        noun = match["what"]
        kept = tuple(detail for detail in spec.details if noun.lower() not in detail.lower())
        return spec.model_copy(update={"details": kept, "negative": (*spec.negative, noun)})
    if match := _ADD.match(change):
        return spec.model_copy(update={"details": (*spec.details, match["what"])})
    return spec.model_copy(update={"details": (*spec.details, change)})


def _described(spec: PromptSpec, who: str, word: str) -> PromptSpec:
    """Return the prompt with an adjective for a character, or for a thing in it."""
    bare = re.sub(r"^(?:the|an?) ", "", who.strip(), flags=re.IGNORECASE)
    for number, member in enumerate(spec.cast):
        names = {
            member.name.casefold(),
            re.sub(r"^the ", "", member.name.casefold()),
            member.kind.split()[-1:] and member.kind.split()[-1],
        }
        if bare.casefold() not in names:
            continue
        kind = member.kind or re.sub(r"^the ", "", member.name)
        plain = _SIZES.sub("", re.sub(r"^an? ", "", kind)) if word in ("tiny", "giant") else re.sub(r"^an? ", "", kind)
        cast = list(spec.cast)
        cast[number] = member.model_copy(update={"kind": f"{'an' if word[0] in 'aeiou' else 'a'} {word} {plain}"})
        return spec.model_copy(update={"cast": tuple(cast)})
    pattern = re.compile(rf"\b(?P<article>an?|the|his|her|its|their) (?P<other>(?:[a-z]+ )??){re.escape(bare)}\b", re.I)

    def with_word(match: re.Match[str]) -> str:
        article = match["article"]
        if article.lower() in ("a", "an"):
            article = "an" if word[0] in "aeiou" else "a"
        return f"{article} {word} {bare}"

    if pattern.search(" ".join((spec.subject, *spec.details))):
        details = tuple(pattern.sub(with_word, detail) for detail in spec.details)
        return spec.model_copy(update={"subject": pattern.sub(with_word, spec.subject), "details": details})
    return spec.model_copy(update={"details": (*spec.details, f"a {word} {bare}")})

"""Read a prompt in plain English as a spec: which words are the subject, the setting, the style, the light."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from taleward.images.prompt_spec import PromptSpec, TextShown
from taleward.images.prompts.lexicon import contains_any, picture_lexicon

_CLAUSE_END = re.compile(r"[;\n]+\s*|(?<!\d)[.!](?:\s+|$)|,\s+(?:and\s+)?")
_TEXT_SHOWN = re.compile(
    r",?\s*(?:with )?(?:the )?(?:words?|text|title|letters|caption|sign (?:that says|saying|reading)|saying|that says"
    r"|reading)\s*:?\s*[\"“](?P<words>[^\"“”]{1,200})[\"”]"
    r"(?P<place>\s+(?:on|above|below|over|at|in) (?:an?|the) [\w-]+(?: [\w-]+)?)?",
    re.IGNORECASE,
)
_RATIO = re.compile(
    r"(?<![\d:])(\d{1,4}:\d{1,4})(?![\d:])(?: (?:format|aspect ratio|ratio))?"
    r"|\b(square|landscape|portrait) (?:format|orientation)"
)
_NEGATIVE = re.compile(r"^(?:and )?(?:with )?(?:no|without(?: any)?|do not show|avoid) (?P<what>.+)$", re.IGNORECASE)
_INLINE_NEGATIVE = re.compile(r"\s+without (?:any )?(?P<what>[\w -]+)$", re.IGNORECASE)
_INFLUENCE = re.compile(
    r"(?:in the (?:style|manner|tradition) of|influenced by|inspired by|reminiscent of|à la) (?:the )?(?P<who>.+)$",
    re.IGNORECASE,
)
_LIGHT = re.compile(
    r"\b(?:light(?:ing|s)?|lit|backlit|sunlight|moonlight|candlelight|lamplight|starlight|twilight|golden[ -]hour|glow"
    r"|chiaroscuro|shadows?|sun ?beams?|sunset|sunrise)\b",
    re.IGNORECASE,
)
_CAMERA = re.compile(
    r"\b(?:close-?up|(?:wide|long|medium|establishing|tracking) shot|shot|(?:low|high|wide|dutch)[ -]angle|eye[ -]level"
    r"|bird's[ -]eye|worm's[ -]eye|aerial|overhead|top-down|over the shoulder|lens|\d{2,3} ?mm|bokeh|depth of field"
    r"|perspective|camera|macro|panoram(?:a|ic)|view(?: from .+)?$|framing|composition)\b",
    re.IGNORECASE,
)
_COLOR = (
    "red orange yellow green blue purple violet pink brown black white gray grey gold golden silver teal turquoise "
    "crimson scarlet lavender cream beige amber russet coral indigo magenta navy olive maroon mint ivory ochre peach"
)
_COLOR_WORD = re.compile(rf"\b(?:{'|'.join(_COLOR.split())})s?\b", re.IGNORECASE)
_PALETTE = re.compile(
    r"\b(?:colou?rs?|palette|tones|hues|shades|black[ -]and[ -]white|monochrome|sepia|pastels)\b", re.I
)
_MOOD = re.compile(r"\b(?:mood|atmosphere|feeling|ambience)\b", re.IGNORECASE)
_TECHNIQUE = re.compile(
    r"\b(?:brush ?strokes?|impasto|glazes?|washes|hatching|outlines|texture[sd]?|stippl|shading|wet-on-wet|layered)\b",
    re.I,
)
_PLACE = (
    "in on at under beneath inside near beside by over above behind along among through across into atop amid between "
    "outside around against"
)
_WORN = (
    "hat cap coat dress boots shoes scarf costume cape crown glasses uniform pajamas pyjamas sweater shirt armor hood "
    "raincoat tunic hurry love style manner color colour"
)
_SETTING = re.compile(
    rf"\s(?P<setting>(?:{'|'.join(_PLACE.split())}|high above|deep in|on top of|in front of)\s+"
    r"(?:(?!(?:a|an|the|his|her|their|its)?\s*(?:\w+\s)?(?:" + "|".join(_WORN.split()) + r")\b)).+)$",
    re.IGNORECASE,
)
_STATIC = {"into": "in", "through": "in", "across": "in", "along": "on"}
_POSTURE = "asleep|perched|nestled|seated|hidden|located|standing|built|lost|curled up|wrapped"
_ACTION = re.compile(rf"\s(?:(?:who|that) is |is )?(?P<action>(?:{_POSTURE}|(?!(?:during|morning|evening|king|wing|ring|spring|string|thing|ceiling|building|painting|drawing|clothing|lightning|sibling|duckling|gosling|darling|pudding|wedding|living|flying|sewing|smiling|sleeping|nothing|something|everything|charming|amazing|interesting|wedding)\b)[a-z]+ing)\b.*)$", re.I)  # fmt: skip  # noqa: E501
_TIME = re.compile(r"\s(?P<time>(?:at|in the|by|on an?|during) (?:[\w-]+ )?(?:night|dawn|dusk|noon|sunset|sunrise|twilight|midnight|morning|evening|afternoon|winter|summer|spring|autumn))$", re.I)  # fmt: skip  # noqa: E501


def read_prompt(text: str) -> PromptSpec:
    """Return a prompt in plain English as a spec.

    The rules know English and the words of the lexicon. What they do not recognize becomes a detail, so that
    nothing in the prompt is lost.

    Args:
        text: A prompt, such as "a fox asleep in the snow, watercolor, soft morning light, no people".

    Raises:
        InvalidInputs: If the text is empty or has more than 4,000 characters.
    """
    whole = PromptSpec.of(text).subject
    fields: dict[str, Any] = {"details": [], "influences": [], "techniques": [], "colors": [], "negative": []}
    if match := _TEXT_SHOWN.search(whole):
        fields["text_shown"] = TextShown(words=match["words"], place=(match["place"] or "").strip())
        whole = f"{whole[: match.start()]}{whole[match.end() :]}"
    if match := _RATIO.search(whole):
        fields["aspect_ratio"] = match[1] or match[2].lower()
        whole = f"{whole[: match.start()]}{whole[match.end() :]}".strip(" ,")
    clauses = [clause.strip(" ,.") for clause in _CLAUSE_END.split(whole)]
    clauses = [clause for clause in clauses if clause] or [PromptSpec.of(text).subject]
    head, *rest = clauses
    if _style_of(head) and rest and not _SETTING.search(f" {head}"):
        # "Watercolor, a fox asleep in the snow": the style may come first.
        fields["art_style"] = head
        head, *rest = rest
    _read_head(head, fields)
    for clause in rest:
        _read_clause(clause, fields)
    return PromptSpec.model_validate({name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})


def _read_head(head: str, fields: dict[str, Any]) -> None:
    """Read the first clause: subject, action, setting, and a style that it begins or ends with."""
    head = _take_influence(head, fields)
    if match := _INLINE_NEGATIVE.search(head):
        fields["negative"] += _list_of(match["what"])
        head = head[: match.start()]
    style = re.match(r"^(?:an? )?(?P<style>[\w' -]+?) (?:of|showing|depicting) (?P<rest>.+)$", head, re.IGNORECASE)
    if style and _style_of(style["style"]):
        fields["art_style"], head = style["style"], style["rest"]
    elif (match := re.search(r",? (?:in|as an?) (?P<style>[\w' -]+)$", head)) and (name := _style_of(match["style"])):
        fields["art_style"], head = match["style"] if len(match["style"].split()) < 5 else name, head[: match.start()]
    if (
        match := re.search(r"\s(?:with|in|by|under) (?P<light>(?:(?!(?:an?|the|at|on|of)\b)[\w-]+ ){0,3}[\w-]+)$", head)
    ) and _LIGHT.search(match["light"]):
        fields["lighting"], head = match["light"], head[: match.start()]
    time = _TIME.search(head)
    if time:
        head = head[: time.start()]
    action = _ACTION.search(head)
    if action:
        rest, head = action["action"], head[: action.start()]
    else:
        rest, head = head, ""
    place = _SETTING.search(f" {rest}")
    setting = place["setting"] if place else ""
    rest = f" {rest}"[: place.start()].strip() if place else rest.strip()
    fields["subject"] = (head or rest or setting).strip()
    fields["action"] = rest if head else ""
    if not (head or rest):
        setting = ""
    fields["setting"] = " ".join(part for part in (setting, time["time"] if time else "") if part)


def _read_clause(clause: str, fields: dict[str, Any]) -> None:
    """Read a further clause; what is not recognized is a detail."""
    if match := _NEGATIVE.match(clause):
        fields["negative"] += _list_of(match["what"])
        return
    clause = _take_influence(clause, fields)
    if not clause:
        return
    bare = re.sub(r"^(?:and |with |in |using |made of )+(?:an? |the )?", "", clause, flags=re.IGNORECASE)
    lexicon = picture_lexicon()
    if _MOOD.search(bare) or (len(bare.split()) <= 2 and lexicon.mood_in(bare)):
        _set_or_detail(fields, "mood", bare)
    elif _CAMERA.search(bare):
        _set_or_detail(fields, "camera", bare)
    elif _LIGHT.search(bare):
        _set_or_detail(fields, "lighting", bare)
    elif _TECHNIQUE.search(bare):
        fields["techniques"].append(bare)
    elif _style_of(bare) and not fields.get("art_style"):
        fields["art_style"] = bare
    elif _PALETTE.search(bare) or not _COLOR_WORD.sub("", bare.replace(" and ", " ")).strip(" ,"):
        fields["colors"] += _colors_of(bare)
    elif not fields.get("setting") and re.match(rf"(?:{'|'.join(_PLACE.split())})\s", clause, re.I):
        fields["setting"] = clause
    else:
        fields["details"].append(clause)


def _take_influence(clause: str, fields: dict[str, Any]) -> str:
    """Move the movements and artists of the past that a clause names to the influences, and return the rest."""
    match = _INFLUENCE.search(clause)
    if not match:
        return clause
    names = [name.strip() for name in re.split(r",| and ", match["who"]) if name.strip()]
    known = [picture_lexicon().influence(name) for name in names]
    if not all(known):
        return clause
    fields["influences"] += known
    return clause[: match.start()].strip(" ,")


def _style_of(text: str) -> str | None:
    # "realistic fur" or "a paper boat" are details; a style is a clause of few words.
    return picture_lexicon().style_in(text) if len(text.split()) <= 5 else None


def _set_or_detail(fields: dict[str, Any], name: str, value: str) -> None:
    if fields.get(name):
        fields["details"].append(value)
    else:
        fields[name] = value


def _colors_of(text: str) -> list[str]:
    if not _COLOR_WORD.search(text):
        return [text]
    text = re.sub(r"\b(?:colou?rs?|palette|tones|hues|shades)(?: of)?\b", "", text, flags=re.IGNORECASE)
    if contains_any(text, ("black and white", "black-and-white")):
        return ["black and white"]
    return _list_of(text)


def _list_of(text: str) -> list[str]:
    return [item.strip() for item in re.split(r",|\band\b|\bor\b", text) if item.strip()]


def colors_in(text: str) -> tuple[str, ...]:
    """Return the names of colors in a text."""
    return tuple(match[0] for match in _COLOR_WORD.finditer(text))


def place_in(sentence: str) -> str:
    """Return the phrase of a sentence that says where it happens, such as `"in the forest"`; empty if none does."""
    match = _place_phrase().search(sentence)
    if match is None:
        return ""
    preposition, _, rest = match["place"].partition(" ")
    # The picture shows a place, not the way through it.
    return f"{_STATIC.get(preposition.lower(), preposition.lower())} {rest}"


@lru_cache(maxsize=1)
def _place_phrase() -> re.Pattern[str]:
    nouns = "|".join(map(re.escape, picture_lexicon().places))
    return re.compile(
        r"\b(?P<place>(?:deep in|at the edge of|on top of|in front of|in the middle of|in|on|at|under|beside|near|by"
        r"|above|behind|inside|into|through|across|along)\s+(?:the|an?|his|her|its|their)\s+(?:[a-z-]+\s+){0,2}?"
        rf"(?:{nouns}))\b",
        re.IGNORECASE,
    )


def take_unknown_influences(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a phrase without the influence it names, and the names that are no movement or artist of the past."""
    match = _INFLUENCE.search(text)
    if not match:
        return text, ()
    names = tuple(name.strip() for name in re.split(r",| and ", match["who"]) if name.strip())
    return text[: match.start()].strip(" ,"), tuple(n for n in names if picture_lexicon().influence(n) is None)


def recognized(spec: PromptSpec) -> Mapping[str, object]:
    """Return the fields of a spec that are not empty or at their default."""
    return spec.model_dump(exclude_defaults=True)

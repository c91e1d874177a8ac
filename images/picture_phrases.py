"""The fields of a prompt spec as phrases and sentences in English."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PREPOSITION_LIST = (
    "above across against along amid among around at before behind below beneath beside between beyond by deep down "
    "during far high in inside into near next off on onto outside over past through under underneath up upon with "
    "within"
)
_PREPOSITIONS = frozenset(_PREPOSITION_LIST.split())
_ON = re.compile(
    r"\b(?:banner|beach|blackboard|bridge|boat|cliff|cover|door|farm|hill|hillside|hilltop|island|moon|mountain|mountaintop|planet|porch|poster|raft|road|roof"
    r"|rooftop|seashore|ship|shirt|shore|sign|stage|street|table|train|wall)(?: at \w+| of .+)?$",
    re.IGNORECASE,
)
_LIGHT = re.compile(r"light|lit\b|glow|sun|shadow|dark|shin|gleam|moon|beam", re.IGNORECASE)
_MOOD = re.compile(r"mood|atmosphere|feeling|tone\b", re.IGNORECASE)


def place_phrase(setting: str) -> str:
    """Return a setting with its preposition: `"in a forest"` for `"a forest"`."""
    if not setting or setting.split()[0].casefold() in _PREPOSITIONS:
        return setting
    return f"{'on' if _ON.search(setting) else 'in'} {setting}"


def join_words(words: Sequence[str], *, conjunction: str = "and") -> str:
    """Return words as an English list: `"a, b and c"`."""
    return ", ".join(words) if len(words) < 2 else f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def lighting_phrase(lighting: str) -> str:
    """Return a description of the light that says it is the light: `"dramatic lighting"` for `"dramatic"`."""
    return lighting if not lighting or _LIGHT.search(lighting) else f"{lighting} lighting"


def mood_phrase(mood: str) -> str:
    """Return a feeling that says it is the mood: `"eerie mood"` for `"eerie"`."""
    return mood if not mood or _MOOD.search(mood) else f"{mood} mood"


def join_phrases(*phrases: str) -> str:
    """Return those phrases that are not empty, with commas between them."""
    return ", ".join(phrase for phrase in phrases if phrase)


def sentences(parts: Sequence[str]) -> str:
    """Return the parts that are not empty as sentences, with a capital and a full stop each."""
    return " ".join(_sentence(part) for part in parts if part)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text[-1] in ".!?…" else f"{text}."

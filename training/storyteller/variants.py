"""Stories told anew about other things, so that what a request names decides what a story is about.

Told always the same way, a story teaches its own words, whatever stands before it. Here a hero, a thing or a place gets
another name all through the story, and what a request may say of powers, deeds and ends is said in a sentence, too. The
words come from `words.yaml`.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from taleward.core.frozen_model import FrozenModel
from taleward.core.yaml_files import load_yaml
from training.storyteller.openings import Parts

_HEROES, _THING, _PLACE = 0.4, 0.6, 0.4
"""Shares of the stories in which each is given another name."""
_POWER, _ACTION, _OUTCOME = 0.5, 0.5, 0.5
"""Shares in which a sentence is put in where a story says nothing of it."""

_POWER_TOLD = (
    "The {thing} had the power to {power}.",
    "It was no ordinary {thing}: it could {power}.",
    "The {thing} was magical, for it could {power}.",
    "Whoever held the {thing} could {power}.",
    '"This {thing} can {power}!" said {hero}.',
    "{hero} soon learned that the {thing} could {power}.",
)
_ACTION_TOLD = (
    "{hero} decided to {action}.",
    "So {hero} made up a plan to {action}.",
    '"I want to {action}," said {hero}.',
    "More than anything, {hero} wanted to {action}.",
    '"Let us {action}," {hero} said.',
)
_OUTCOME_TOLD = (
    "In the end, it all led to {outcome}.",
    "And so the story ended with {outcome}.",
    "The best part of it all was {outcome}.",
    "What came of it was {outcome}.",
    "That is how {hero}'s adventure ended: with {outcome}.",
)


class Words(FrozenModel):
    """Words as comma-separated texts, phrases one a line."""

    characters: str
    character_words: str
    things: str
    thing_words: str
    places: str
    place_words: str
    powers: str
    actions: str
    outcomes: str


@lru_cache(maxsize=1)
def _words() -> dict[str, tuple[str, ...]]:
    told = load_yaml(Path(__file__).with_name("words.yaml"), Words).model_dump()
    return {
        name: tuple(part.strip() for part in text.split("\n" if "\n" in text.strip() else ",") if part.strip())
        for name, text in told.items()
    }


def varied(story: str, parts: Parts, rng: random.Random) -> tuple[str, Parts]:
    """The story with some of its things renamed and some sentences put in, and the parts that it now shows.

    Args:
        story: A story.
        parts: What `extract` found in it.
        rng: Decides what is changed.
    """
    for field, kind, share in (
        ("character", "character", _HEROES), ("item", "thing", _THING), ("setting", "place", _PLACE)
    ):  # fmt: skip
        old = getattr(parts, field)
        if old and rng.random() < share:
            new = _drawn(kind, rng)
            found = renamed(story, old, new)
            if found != story:
                story, parts = found, replace(parts, **{field: new})
    return _planted(story, parts, rng)


def renamed(story: str, old: str, new: str) -> str:
    """The story with one phrase for another, and last word for last word; "a" and "an" follow."""
    head, new_head = old.split()[-1], new.split()[-1]
    story = _put(story, old, new)
    return _put(_put(story, head, new_head), _plural(head), _plural(new_head))


def _put(story: str, old: str, new: str) -> str:
    def said(hit: re.Match[str]) -> str:
        article, found = hit[1] or "", hit[2]
        if article.strip().lower() in ("a", "an"):
            right = "an" if new[0] in "aeiou" else "a"
            article = (right.capitalize() if article[0].isupper() else right) + " "
        return article + (new[0].upper() + new[1:] if found[0].isupper() else new)

    return re.sub(rf"\b([Aa]n? )?({re.escape(old)})\b", said, story, flags=re.IGNORECASE)


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _drawn(kind: str, rng: random.Random) -> str:
    words = _words()
    head = rng.choice(words[f"{kind}s"])
    return f"{rng.choice(words[f'{kind}_words'])} {head}" if rng.random() < 0.85 else head


def _planted(story: str, parts: Parts, rng: random.Random) -> tuple[str, Parts]:
    sentences = _sentences(story)
    if len(sentences) < 6:
        return story, parts
    words = _words()
    hero = parts.name or f"the {parts.character.split()[-1]}"
    named = {"thing": (parts.item or "thing").split()[-1], "place": (parts.setting or "village").split()[-1]}
    if parts.outcome and rng.random() < 0.3:
        parts = replace(parts, outcome="")
    if not parts.outcome and rng.random() < _OUTCOME:
        parts = replace(parts, outcome=rng.choice(words["outcomes"]).format(**named))
        sentences.append(_told(_OUTCOME_TOLD, rng, hero=hero, outcome=parts.outcome))
    if not parts.action and rng.random() < _ACTION:
        open_to = [a for a in words["actions"] if parts.item or "{thing}" not in a]
        parts = replace(parts, action=rng.choice(open_to).format(**named))
        at = rng.randint(len(sentences) // 3, 2 * len(sentences) // 3)
        sentences.insert(at, _told(_ACTION_TOLD, rng, hero=hero, action=parts.action))
    if parts.item and not parts.power and rng.random() < _POWER:
        thing = named["thing"]
        at = next((i + 1 for i, sentence in enumerate(sentences) if re.search(rf"\b{thing}\b", sentence)), 0)
        if 0 < at < len(sentences):
            parts = replace(parts, power=rng.choice(words["powers"]))
            sentences.insert(at, _told(_POWER_TOLD, rng, hero=hero, thing=thing, power=parts.power))
    return " ".join(sentences), parts


def _sentences(story: str) -> list[str]:
    """The story in pieces between which a sentence may stand: none lies within a speech."""
    pieces: list[str] = []
    for part in re.split(r"(?<=[.!?\"]) (?=[A-Z\"])", story):
        if pieces and pieces[-1].count('"') % 2:
            pieces[-1] += f" {part}"
        else:
            pieces.append(part)
    return pieces


def _told(wordings: tuple[str, ...], rng: random.Random, **said: str) -> str:
    text = rng.choice(wordings).format(**said)
    return text[0].upper() + text[1:]

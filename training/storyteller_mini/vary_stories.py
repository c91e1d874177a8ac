"""Vary the stories' heroes, things and places, so that the model takes them from the request.

A story that is always the same teaches the model its own words, whatever the request. Here a hero, a thing or a place
is renamed throughout the story, and sentences are inserted for a power, an action or an outcome that a request may
name. The words are in `words.yaml`.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from taleward.core.frozen_model import FrozenModel
from taleward.core.yaml_files import load_yaml
from training.storyteller_mini.make_requests import StoryParts

# Shares of the stories in which the hero, the thing and the place are renamed.
_HERO_SHARE, _THING_SHARE, _PLACE_SHARE = 0.4, 0.6, 0.4
# Shares of the stories without a power, an action or an outcome in which a sentence is inserted for it.
_POWER_SHARE, _ACTION_SHARE, _OUTCOME_SHARE = 0.5, 0.5, 0.5

_POWER_SENTENCES = (
    "The {thing} had the power to {power}.",
    "It was no ordinary {thing}: it could {power}.",
    "The {thing} was magical, for it could {power}.",
    "Whoever held the {thing} could {power}.",
    '"This {thing} can {power}!" said {hero}.',
    "{hero} soon learned that the {thing} could {power}.",
)
_ACTION_SENTENCES = (
    "{hero} decided to {action}.",
    "So {hero} made up a plan to {action}.",
    '"I want to {action}," said {hero}.',
    "More than anything, {hero} wanted to {action}.",
    '"Let us {action}," {hero} said.',
)
_OUTCOME_SENTENCES = (
    "In the end, it all led to {outcome}.",
    "And so the story ended with {outcome}.",
    "The best part of it all was {outcome}.",
    "What came of it was {outcome}.",
    "That is how {hero}'s adventure ended: with {outcome}.",
)


class WordLists(FrozenModel):
    """The word lists of `words.yaml`: comma-separated, or with one phrase per line."""

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
def _word_lists() -> dict[str, tuple[str, ...]]:
    lists = load_yaml(Path(__file__).with_name("words.yaml"), WordLists).model_dump()
    return {
        name: tuple(part.strip() for part in text.split("\n" if "\n" in text.strip() else ",") if part.strip())
        for name, text in lists.items()
    }


def vary_story(story: str, parts: StoryParts, rng: random.Random) -> tuple[str, StoryParts]:
    """Rename some things in a story and insert some sentences.

    Args:
        story: A story.
        parts: Its parts, from `extract`.
        rng: Decides what is changed.

    Returns:
        The story and its parts after the changes.
    """
    for field, kind, share in (
        ("character", "character", _HERO_SHARE), ("item", "thing", _THING_SHARE), ("setting", "place", _PLACE_SHARE)
    ):  # fmt: skip
        old = getattr(parts, field)
        if old and rng.random() < share:
            new = _draw_phrase(kind, rng)
            renamed = rename(story, old, new)
            if renamed != story:
                story, parts = renamed, replace(parts, **{field: new})
    return _insert_sentences(story, parts, rng)


def rename(story: str, old: str, new: str) -> str:
    """Replace a phrase, and its last word wherever it stands alone; "a" and "an" are adapted."""
    head, new_head = old.split()[-1], new.split()[-1]
    story = _replace_phrase(story, old, new)
    return _replace_phrase(_replace_phrase(story, head, new_head), _plural(head), _plural(new_head))


def _replace_phrase(story: str, old: str, new: str) -> str:
    def replacement(match: re.Match[str]) -> str:
        article, phrase = match[1] or "", match[2]
        if article.strip().lower() in ("a", "an"):
            new_article = "an" if new[0] in "aeiou" else "a"
            article = (new_article.capitalize() if article[0].isupper() else new_article) + " "
        return article + (new[0].upper() + new[1:] if phrase[0].isupper() else new)

    return re.sub(rf"\b([Aa]n? )?({re.escape(old)})\b", replacement, story, flags=re.IGNORECASE)


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _draw_phrase(kind: str, rng: random.Random) -> str:
    lists = _word_lists()
    head = rng.choice(lists[f"{kind}s"])
    return f"{rng.choice(lists[f'{kind}_words'])} {head}" if rng.random() < 0.85 else head


def _insert_sentences(story: str, parts: StoryParts, rng: random.Random) -> tuple[str, StoryParts]:
    sentences = _split_outside_speech(story)
    if len(sentences) < 6:
        return story, parts
    lists = _word_lists()
    hero = parts.name or f"the {parts.character.split()[-1]}"
    nouns = {"thing": (parts.item or "thing").split()[-1], "place": (parts.setting or "village").split()[-1]}
    if parts.outcome and rng.random() < 0.3:
        parts = replace(parts, outcome="")
    if not parts.outcome and rng.random() < _OUTCOME_SHARE:
        parts = replace(parts, outcome=rng.choice(lists["outcomes"]).format(**nouns))
        sentences.append(_fill_sentence(_OUTCOME_SENTENCES, rng, hero=hero, outcome=parts.outcome))
    if not parts.action and rng.random() < _ACTION_SHARE:
        actions = [a for a in lists["actions"] if parts.item or "{thing}" not in a]
        parts = replace(parts, action=rng.choice(actions).format(**nouns))
        position = rng.randint(len(sentences) // 3, 2 * len(sentences) // 3)
        sentences.insert(position, _fill_sentence(_ACTION_SENTENCES, rng, hero=hero, action=parts.action))
    if parts.item and not parts.power and rng.random() < _POWER_SHARE:
        thing = nouns["thing"]
        position = next((i + 1 for i, sentence in enumerate(sentences) if re.search(rf"\b{thing}\b", sentence)), 0)
        if 0 < position < len(sentences):
            parts = replace(parts, power=rng.choice(lists["powers"]))
            sentences.insert(position, _fill_sentence(_POWER_SENTENCES, rng, hero=hero, thing=thing, power=parts.power))
    return " ".join(sentences), parts


def _split_outside_speech(story: str) -> list[str]:
    """Split a story into pieces between which a sentence may be inserted; direct speech is not split."""
    pieces: list[str] = []
    for part in re.split(r"(?<=[.!?\"]) (?=[A-Z\"])", story):
        if pieces and pieces[-1].count('"') % 2:
            pieces[-1] += f" {part}"
        else:
            pieces.append(part)
    return pieces


def _fill_sentence(wordings: tuple[str, ...], rng: random.Random, **values: str) -> str:
    text = rng.choice(wordings).format(**values)
    return text[0].upper() + text[1:]

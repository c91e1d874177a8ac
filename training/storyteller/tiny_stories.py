"""Rows from TinyStories (Eldan and Li, arXiv 2305.07759): simple, coherent stories, and requests found by rules.

A small model learns to tell coherently from stories that it can nearly predict: under SmolLM2-135M the stories of
TinyStories cost 2.2 nats a token, our literary ones 3.2. The requests name three to five things that a story has.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from taleward.chains.story_prompts import storyteller_request, value_list
from taleward.tuning.rows import ChatTurn, RowSource, SftRow
from training.storyteller_mini import sources
from training.storyteller_mini.make_requests import StoryParts, extract, phrase_request

_MIN_PARTS = 3
_LIST_SHARE = 0.7
_MORAL = re.compile(r"\s*(?:The moral of (?:the|this) story|Moral)\b.*", re.DOTALL)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# The stories share a handful of names, which a model would put into every tale.
_GIRLS = _names("Lily Mia Sue Lucy Jane Amy Sara Anna Emma Daisy Molly Ella Mary Jill Kitty Sally Lola Bella")
_BOYS = _names("Tim Tom Max Ben Sam Jack Bob Billy Timmy Jimmy John Mike Joe Spot Fred Leo Tommy Johnny")
_GIRL_NAMES = _names(
    "Ada Alma Amina Anja Asha Beatriz Brigid Carmen Dana Edith Elif Esra Fatou Frida Gina Hana Heidi Ines Ingrid "
    "Iris Ivy Joan Judit Kaja Kalinda Lara Leila Linh Lotte Malia Marta Mina Nadia Noor Olga Paula Petra Rosa Ruth "
    "Salma Sanna Sena Tala Tilda Uma Vera Wanda Yara Yuki Zeynep"
)
_BOY_NAMES = _names(
    "Abel Adil Anton Arun Bilal Bruno Carlos Cem Dario Diego Emil Enzo Erik Farid Felipe Georg Hamid Hugo Idris "
    "Ivan Jonas Joon Juri Karim Kofi Lars Levi Luis Malik Marek Mateo Nils Noah Otto Pavel Pedro Rashid Rolf Samir "
    "Sven Tariq Teo Uwe Viktor Wim Yusuf Zeno"
)


def tiny_story_rows(data: Path, count: int, seed: str) -> list[SftRow]:
    """Return rows for `count` stories, or for all that name enough.

    Args:
        data: Folder with the corpus that `training.storyteller_mini.train` describes.
        count: Number of rows.
        seed: Decides which stories, names and forms of request.

    Raises:
        CorpusError: If the data is missing or malformed.
    """
    rng = random.Random(seed)
    stories = [
        (document.text, parts)
        for document in sources.load(data).train
        if document.source == "tinystories" and document.ends and (parts := _parts(document.text)) is not None
    ]
    rng.shuffle(stories)
    return [_row(number, text, parts, rng) for number, (text, parts) in enumerate(stories[:count])]


def _parts(text: str) -> StoryParts | None:
    parts = extract(text)
    if (
        parts is None
        or sum(map(bool, (parts.setting, parts.item, parts.power, parts.action, parts.outcome))) < _MIN_PARTS
    ):
        return None
    return parts


def _row(number: int, text: str, parts: StoryParts, rng: random.Random) -> SftRow:
    text = _renamed(_MORAL.sub("", text).strip(), rng)
    parts = extract(text) or parts
    if rng.random() < _LIST_SHARE:
        hero = f"{parts.character} named {parts.name}" if parts.name and rng.random() < 0.4 else parts.character
        values = {
            "setting": parts.setting, "character": hero, "mysterious_object": parts.item,
            "magical_properties": f"the power to {parts.power}" if parts.power else "", "action": parts.action,
            "outcome": parts.outcome,
        }  # fmt: skip
        request = value_list({name: value for name, value in values.items() if value})
    else:
        request = phrase_request(parts, rng)
    return SftRow(
        prompt=(ChatTurn(role="user", content=storyteller_request(request, "3-5")),),
        completion=text,
        source=RowSource(tale_id=f"tinystories-{number}"),
    )


def _renamed(text: str, rng: random.Random) -> str:
    names: dict[str, str] = {}
    for name in dict.fromkeys(re.findall(r"\b[A-Z][a-z]+\b", text)):
        if name in _GIRLS or name in _BOYS:
            free = [new for new in (_GIRL_NAMES if name in _GIRLS else _BOY_NAMES) if new not in names.values()]
            names[name] = rng.choice(free)
    return re.sub(r"\b[A-Z][a-z]+\b", lambda match: names.get(match[0], match[0]), text)

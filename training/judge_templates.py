"""Labelled sentences from the templates in `judge_templates.yaml`."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from taleward.core.files import load_yaml
from taleward.core.frozen import Frozen, FrozenDict
from taleward.core.policy import Severity

_SLOT = re.compile(r"\{(\w+)\}")
_CHOICE = re.compile(r"\[([^\]]*)\]")
_FILE = Path(__file__).parent / "judge_templates.yaml"


class Templates(Frozen):
    """The template file.

    Attributes:
        slots: Names to fillers.
        harmful: Category to severity to frames.
        harmless: Frames that break no category.
    """

    slots: FrozenDict[str, tuple[str, ...]]
    harmful: FrozenDict[str, FrozenDict[Severity, tuple[str, ...]]]
    harmless: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A filled frame; `category` is `None` where it is harmless."""

    text: str
    frame: str
    category: str | None
    severity: Severity


def templates() -> Templates:
    """The shipped template file."""
    return load_yaml(_FILE, Templates)


def fill(frame: str, slots: FrozenDict[str, tuple[str, ...]], chance: random.Random) -> str:
    """A frame with every slot and every choice filled at random."""
    text = _CHOICE.sub(lambda m: chance.choice(m[1].split("|")), frame)
    text = _SLOT.sub(lambda m: chance.choice(slots[m[1]]), text)
    return text[:1].upper() + text[1:]


def sentences(seed: int, each: int) -> Iterator[Sentence]:
    """Up to `each` different fillings of every frame; twice as many where the frame names people's identity."""
    data = templates()
    chance = random.Random(f"templates {seed}")
    frames: list[tuple[str, str | None, Severity]] = [(f, None, "none") for f in data.harmless]
    for harm, severities in data.harmful.items():
        frames += [(f, harm, strength) for strength, group in severities.items() for f in group]
    for frame, category, severity in frames:
        tries = each * (2 if "{group}" in frame or "{identity}" in frame else 1)
        for text in dict.fromkeys(fill(frame, data.slots, chance) for _ in range(tries)):
            yield Sentence(text, frame, category, severity)

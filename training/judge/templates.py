"""Labeled sentences and phrases from the frames in `templates.yaml` and `frames/`."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.policy import Severity
from taleward.core.yaml_files import load_yaml

_SLOT = re.compile(r"\{(\w+)\}")
IDENTITY = re.compile(r"\{(group|identity|folk|one)\}")
"""Slots that are filled with what people are."""

_CHOICE = re.compile(r"\[([^\]]*)\]")
_FILE = Path(__file__).parent / "templates.yaml"
_FOLDER = Path(__file__).parent / "frames"
_STOPS = (".", "!", "?", '"', "…")
_PHRASE_WORDS = 8


def _lines(value: object) -> object:
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


Frames = Annotated[tuple[str, ...], BeforeValidator(_lines)]


class Templates(FrozenModel):
    """A file of frames; frames are a list, or a text with one a line.

    Attributes:
        slots: Names to fillers, beside those of `templates.yaml`.
        harmful: Category to severity to frames.
        harmless: Frames that break no category.
    """

    slots: FrozenMapping[str, tuple[str, ...]] = FrozenDict()
    harmful: FrozenMapping[str, FrozenMapping[Severity, Frames]] = FrozenDict()
    harmless: Frames = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame with its label; `category` is `None` where it is harmless."""

    text: str
    category: str | None
    severity: Severity
    slots: Mapping[str, tuple[str, ...]]
    file: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """A filled frame; `category` is `None` where it is harmless."""

    text: str
    frame: str
    category: str | None
    severity: Severity
    file: str

    @property
    def phrase(self) -> bool:
        """Whether it is a few words without a stop, as one types into a form."""
        return self.file == "phrases" and len(self.text.split()) <= _PHRASE_WORDS


@lru_cache(maxsize=1)
def frames() -> tuple[Frame, ...]:
    """All frames; a text that stands in two places is kept once.

    Raises:
        InvalidFile: A frame names a slot that is not there, or one text has two labels.
    """
    base = load_yaml(_FILE, Templates)
    found: dict[str, Frame] = {}
    for path in (_FILE, *sorted(_FOLDER.glob("*.yaml"))):
        data = load_yaml(path, Templates)
        slots = {**base.slots, **data.slots}
        labelled: list[tuple[str, str | None, Severity]] = [(f, None, "none") for f in data.harmless]
        for harm, severities in data.harmful.items():
            labelled += [(f, harm, strength) for strength, group in severities.items() for f in group]
        for text, category, severity in labelled:
            if unknown := set(_SLOT.findall(text)) - slots.keys():
                raise InvalidFile(
                    f"{path.name}: the frame {text!r} names the slots {sorted(unknown)}, which nobody fills."
                )
            frame = Frame(text, category, severity, slots, path.stem)
            if found.setdefault(text, frame).category != category:
                raise InvalidFile(f"{path.name}: the frame {text!r} has another label in {found[text].file}.yaml.")
    return tuple(found.values())


def fill(frame: str, slots: Mapping[str, tuple[str, ...]], chance: random.Random) -> str:
    """A frame with every slot and every choice filled at random; one that begins so begins with a capital."""
    text = _CHOICE.sub(lambda m: chance.choice(m[1].split("|")), frame)
    text = _SLOT.sub(lambda m: chance.choice(slots[m[1]]), text)
    return text[:1].upper() + text[1:] if frame.startswith(("{", "[")) and text.endswith(_STOPS) else text


def sentences(seed: int, each: int) -> Iterator[Sentence]:
    """Up to `each` different fillings of every frame; twice as many where the frame names people's identity."""
    chance = random.Random(f"templates {seed}")
    for frame in frames():
        tries = each * (2 if IDENTITY.search(frame.text) else 1)
        for text in dict.fromkeys(fill(frame.text, frame.slots, chance) for _ in range(tries)):
            yield Sentence(text, frame.text, frame.category, frame.severity, frame.file)

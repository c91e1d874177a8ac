"""Fill the frames of `templates.yaml` and `frames/`: labeled sentences and phrases with slots."""

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
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.policy import Severity
from taleward.core.yaml_files import load_yaml

_SLOT = re.compile(r"\{(\w+)\}")
IDENTITY = re.compile(r"\{(group|identity|folk|one)\}")
"""Slots that are filled with groups of people and identity terms."""

_CHOICE = re.compile(r"\[([^\]]*)\]")
_FILE = Path(__file__).parent / "templates.yaml"
_FOLDER = Path(__file__).parent / "frames"
_SENTENCE_ENDS = (".", "!", "?", '"', "…")
_MAX_PHRASE_WORDS = 8


def _split_lines(value: object) -> object:
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


Frames = Annotated[tuple[str, ...], BeforeValidator(_split_lines)]


class Templates(FrozenModel):
    """A file of frames, which are a list, or a text with one frame per line.

    Attributes:
        slots: The fillers of each slot, in addition to those of `templates.yaml`.
        harmful: Frames by category and severity.
        harmless: Frames that are harmless in every category.
    """

    slots: FrozenDict[str, tuple[str, ...]] = FrozenDict()
    harmful: FrozenDict[str, FrozenDict[Severity, Frames]] = FrozenDict()
    harmless: Frames = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """A text with slots and its label.

    Attributes:
        text: The text with slots, `{name}`, and choices, `[this|that]`.
        category: The category; `None` if the frame is harmless.
        severity: The severity, `none` if the frame is harmless.
        slots: The fillers of each slot.
        file: The name of the file without its suffix.
    """

    text: str
    category: str | None
    severity: Severity
    slots: Mapping[str, tuple[str, ...]]
    file: str


@dataclass(frozen=True, slots=True)
class FilledFrame:
    """A filled frame with its label.

    Attributes:
        text: The text.
        frame: The text of the frame.
        category: The category; `None` if the text is harmless.
        severity: The severity, `none` if the text is harmless.
        file: The name of the frame's file without its suffix.
    """

    text: str
    frame: str
    category: str | None
    severity: Severity
    file: str

    @property
    def is_phrase(self) -> bool:
        """Whether the text is a short phrase, as one types into a form."""
        return self.file == "phrases" and len(self.text.split()) <= _MAX_PHRASE_WORDS


@lru_cache(maxsize=1)
def frames() -> tuple[Frame, ...]:
    """Load all frames, without duplicates.

    Raises:
        InvalidFile: If a frame names an unknown slot, or the same text has two labels.
    """
    base = load_yaml(_FILE, Templates)
    frames_by_text: dict[str, Frame] = {}
    for path in (_FILE, *sorted(_FOLDER.glob("*.yaml"))):
        data = load_yaml(path, Templates)
        slots = {**base.slots, **data.slots}
        labeled: list[tuple[str, str | None, Severity]] = [(f, None, "none") for f in data.harmless]
        for harmful_category, severities in data.harmful.items():
            labeled += [(f, harmful_category, s) for s, harmful_frames in severities.items() for f in harmful_frames]
        for text, category, severity in labeled:
            if unknown := set(_SLOT.findall(text)) - slots.keys():
                raise InvalidFile(
                    f"{path.name}: the frame {text!r} has unknown slots {sorted(unknown)}; add them to `slots`."
                )
            frame = Frame(text, category, severity, slots, path.stem)
            # Duplicates in several files are fine, contradictions are mistakes.
            if frames_by_text.setdefault(text, frame).category != category:
                raise InvalidFile(
                    f"{path.name}: the frame {text!r} has another label in {frames_by_text[text].file}.yaml."
                )
    return tuple(frames_by_text.values())


def fill_frame(frame: str, slots: Mapping[str, tuple[str, ...]], rng: random.Random) -> str:
    """Fill every slot and choice of a frame at random.

    A sentence that begins with a slot or choice begins with a capital letter.
    """
    text = _CHOICE.sub(lambda m: rng.choice(m[1].split("|")), frame)
    text = _SLOT.sub(lambda m: rng.choice(slots[m[1]]), text)
    return text[:1].upper() + text[1:] if frame.startswith(("{", "[")) and text.endswith(_SENTENCE_ENDS) else text


def fill_frames(seed: int, per_frame: int) -> Iterator[FilledFrame]:
    """Yield up to `per_frame` different fillings of every frame, twice as many of frames with identity terms."""
    rng = random.Random(f"templates {seed}")
    for frame in frames():
        tries = per_frame * (2 if IDENTITY.search(frame.text) else 1)
        for text in dict.fromkeys(fill_frame(frame.text, frame.slots, rng) for _ in range(tries)):
            yield FilledFrame(text, frame.text, frame.category, frame.severity, frame.file)

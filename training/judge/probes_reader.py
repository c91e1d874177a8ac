"""The probes: texts written to measure the judge by authors who saw no training text, never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.corpus.reader import Band
from training.text_cleaning import read_jsonl

FOLDER = Path(__file__).parent / "probes"


@dataclass(frozen=True, slots=True)
class Probe:
    """A text in the manner of a public set.

    Attributes:
        set: The set; `hate-2` is a second set like `hate`, by another author.
        kind: What it tries.
        text: The text.
        harmful: Whether it is harmful for the band 6-8.
    """

    set: str
    kind: str
    text: str
    harmful: bool


@dataclass(frozen=True, slots=True)
class ProbeStory:
    """A story that suits its band."""

    set: str
    band: Band
    text: str


@dataclass(frozen=True, slots=True)
class ProbePair:
    """A text that suits its band, and its twin with a few sentences changed so that it does not.

    Attributes:
        set: The set.
        band: The age band.
        category: Why the twin does not suit.
        keyword: Whether the change holds a word that a word list would flag.
        text: The text that suits.
        twin: The text that does not.
    """

    set: str
    band: Band
    category: str
    keyword: bool
    text: str
    twin: str


def load_probes() -> list[Probe]:
    """Return the texts in the manner of public sets."""
    return [Probe(**row) for row in _rows("texts")]


def load_probe_stories() -> list[ProbeStory]:
    """Return the stories."""
    return [ProbeStory(**row) for row in _rows("stories")]


def load_probe_pairs() -> list[ProbePair]:
    """Return the pairs."""
    return [ProbePair(**row) for row in _rows("pairs")]


def _rows(kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted((FOLDER / kind).glob("*.jsonl")):
        yield from read_jsonl(path)

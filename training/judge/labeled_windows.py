"""What a labelled window is, and the windows and passages of the sources that were read and labelled."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from taleward.core.policy import SEVERITIES
from taleward.moderation.policies.load import load_policy
from taleward.moderation.text.windows import windows
from training.corpora import read_jsonl

CATEGORIES = tuple(load_policy("kids").categories)
WINDOW = {"size": 2, "max_words": 90, "overlap": 1}
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_FOLDER = Path(__file__).parent
READ = _FOLDER / "labeled_windows.csv"
"""Windows of the sources that were read for this project, by a digest, and their labels."""
_STORIES = _FOLDER / "stories.jsonl"
"""Short stories that were written for this project, with the labels of the whole."""

_READ_WEIGHT = 2.0


@dataclass(slots=True)
class Example:
    """A window with its labels.

    Attributes:
        text: The window.
        labels: For each category whether its severity is at least mild, moderate, severe: 1, 0, or `None` where
            that is not known.
        weight: How much it counts in training.
        source: Where it comes from.
        split: Decided by a hash of its document or frame, so that no document is in two splits.
    """

    text: str
    labels: list[list[float | None]]
    weight: float
    source: str
    split: Split


def split_of(key: str) -> Split:
    """70 % train, 15 % valid, 15 % test, by the key alone."""
    place = int(hashlib.sha256(f"judge {key}".encode()).hexdigest()[:8], 16) % 100
    return "train" if place < 70 else "valid" if place < 85 else "test"


def level(severity: str) -> list[float | None]:
    """A category's labels at a known severity: whether it is at least mild, moderate, severe."""
    return [1.0 if i < SEVERITIES.index(severity) else 0.0 for i in range(3)]


def blank(value: float | None) -> list[list[float | None]]:
    """The same label for every category and severity."""
    return [[value] * 3 for _ in CATEGORIES]


def pieces_of(text: str) -> list[str]:
    """The windows of a text that have more than four words."""
    return [w.of(text).strip() for w in windows(text, **WINDOW) if len(w.of(text).split()) > 4]


@lru_cache(maxsize=1)
def labels_read() -> dict[str, list[list[float | None]]]:
    """Digests of windows to what their reader found."""
    with READ.open(encoding="utf-8", newline="") as lines:
        return {row["window"]: labels_from(row["labels"]) for row in csv.DictReader(lines)}


def labels_from(words: str) -> list[list[float | None]]:
    """Labels from a reader's words, e.g. `violence:mild frightening:moderate`, or `none`.

    Raises:
        ValueError: A category or a severity is none of the known ones.
    """
    rows = blank(0.0)
    for word in words.split() if words != "none" else ():
        category, _, severity = word.partition(":")
        if category not in CATEGORIES or severity not in SEVERITIES[1:]:
            msg = (
                f"{word!r} is no label: take none, or category:severity with one of {', '.join(CATEGORIES)} and one of "
                f"{', '.join(SEVERITIES[1:])}."
            )
            raise ValueError(msg)
        rows[CATEGORIES.index(category)] = level(severity)
    return rows


def digest(text: str) -> str:
    """The name of a window in `labeled_windows.csv`, and of a document in `passages.csv`."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]


def read(data: Path) -> list[Example]:
    """The windows that were read: labelled one by one, or part of a passage in which there was nothing to mind."""
    found = {}
    for passage in passages(data):
        if not any(value for row in passage.labels for value in row):
            for piece in pieces_of(passage.text):
                found[piece] = Example(piece, blank(0.0), 1.0, passage.source, passage.split)
    for source, key, text in documents_of(data):
        for piece in pieces_of(text):
            labels = labels_read().get(digest(piece))
            if labels is not None:
                found[piece] = Example(piece, labels, _READ_WEIGHT, source, split_of(key))
    return list(found.values())


def passages(data: Path) -> list[Example]:
    """Passages that were read and labelled as wholes: stretches of the sources, and stories of this project."""
    with (_FOLDER / "passages.csv").open(encoding="utf-8", newline="") as lines:
        places = defaultdict(list)
        for row in csv.DictReader(lines):
            places[row["document"]].append((int(row["first"]), int(row["words"]), row["labels"]))
    found = []
    for source, key, text in documents_of(data):
        for first, count, labels in places.pop(digest(text), ()):
            stretch = " ".join(text.split()[first : first + count])
            found.append(Example(stretch, labels_from(labels), 1.0, source, split_of(key)))
    for row in read_jsonl(_STORIES):
        found.append(Example(row["text"], labels_from(row["labels"]), 1.0, "written", split_of(row["text"][:200])))
    return found


def documents_of(data: Path) -> Iterator[tuple[str, str, str]]:
    """Source, key of the split, and text of all stories and old books."""
    for row in read_jsonl(_STORIES):
        yield "written", row["text"][:200], row["text"]
    for row in read_jsonl(data / "stories/tinystories.jsonl.gz"):
        yield "tinystories", row["text"][:200], row["text"]
    for row in read_jsonl(data / "stories/storybooks_ccby.jsonl.gz"):
        text = " ".join(map(str, row["pages"]))
        yield "storybooks", text[:200], text
    for row in read_jsonl(data / "stories/gutenberg_children.jsonl.gz"):
        words = row["text"].split()
        for start in range(2000, len(words) - 180, 2400):
            yield "books_children", row["title"], " ".join(words[start : start + 180])
    for passage in read_jsonl(data / "judge/gutenberg_adult_passages.jsonl.gz"):
        yield "books_adult", passage["text"][:60], passage["text"]
    for row in read_jsonl(data / "stories/fairytaleqa_train.jsonl.gz"):
        for section in row["sections"]:
            yield "fairytales", row["title"], " ".join(section.split())

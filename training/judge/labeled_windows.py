"""Labels of windows, and the windows and passages that were labeled by hand."""

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
from training.text_cleaning import read_jsonl

CATEGORIES = tuple(load_policy("kids").categories)
RELATED_CATEGORIES = {
    "violence": ("frightening", "crime", "adult_themes", "hate"),
    "frightening": ("violence", "adult_themes"),
    "sexual": ("adult_themes", "profanity", "crime"),
    "profanity": ("hate", "sexual"),
    "hate": ("profanity", "violence", "adult_themes"),
    "drugs": ("adult_themes", "dangerous_acts", "crime"),
    "self_harm": ("violence", "adult_themes", "dangerous_acts", "frightening"),
    "dangerous_acts": ("violence", "frightening", "crime", "drugs", "self_harm", "personal_data"),
    "crime": ("violence", "adult_themes", "dangerous_acts", "personal_data"),
    "personal_data": ("crime", "dangerous_acts"),
    "adult_themes": ("violence", "frightening", "crime", "drugs", "hate", "sexual"),
}
"""Categories that often accompany a category: where that one is harmful, their labels are unknown."""
WINDOW = {"size": 2, "max_words": 90, "overlap": 1}
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_FOLDER = Path(__file__).parent
ANNOTATIONS = _FOLDER / "labeled_windows.csv"
"""Windows of the sources that were labeled by hand: their digests and labels."""
# Short stories written for this project, each with the labels of the whole story.
_STORIES = _FOLDER / "stories.jsonl"

_ANNOTATION_WEIGHT = 2.0


@dataclass(slots=True)
class Example:
    """A window with its labels.

    Attributes:
        text: The window.
        labels: For each category, whether its severity is at least mild, moderate, severe: 1, 0, or `None` if unknown.
        weight: The window's weight in the loss.
        source: The data set it is from.
        split: The split, decided by a hash of its document or frame, so that no document is in two splits.
    """

    text: str
    labels: list[list[float | None]]
    weight: float
    source: str
    split: Split


def split_of(key: str) -> Split:
    """Return the split of a key: 70 % train, 15 % valid, 15 % test."""
    percentile = int(hashlib.sha256(f"judge {key}".encode()).hexdigest()[:8], 16) % 100
    return "train" if percentile < 70 else "valid" if percentile < 85 else "test"


def severity_labels(severity: str) -> list[float | None]:
    """Return a category's labels for a known severity: whether it is at least mild, moderate, severe."""
    return [1.0 if i < SEVERITIES.index(severity) else 0.0 for i in range(3)]


def uniform_labels(value: float | None) -> list[list[float | None]]:
    """Return the same label for every category and severity."""
    return [[value] * 3 for _ in CATEGORIES]


def window_texts(text: str) -> list[str]:
    """Return the windows of a text that have more than four words."""
    return [w.of(text).strip() for w in windows(text, **WINDOW) if len(w.of(text).split()) > 4]


@lru_cache(maxsize=1)
def annotated_labels() -> dict[str, list[list[float | None]]]:
    """Return the labels of the windows that were labeled by hand, by the digests of the windows."""
    with ANNOTATIONS.open(encoding="utf-8", newline="") as lines:
        return {row["window"]: parse_labels(row["labels"]) for row in csv.DictReader(lines)}


def parse_labels(annotation: str) -> list[list[float | None]]:
    """Parse an annotation such as `violence:mild frightening:moderate`, or `none`.

    Raises:
        ValueError: If a category or a severity is unknown.
    """
    labels = uniform_labels(0.0)
    for label in annotation.split() if annotation != "none" else ():
        category, _, severity = label.partition(":")
        if category not in CATEGORIES or severity not in SEVERITIES[1:]:
            msg = (
                f"{label!r} is not a label; expected none, or category:severity with a category of "
                f"{', '.join(CATEGORIES)} and a severity of {', '.join(SEVERITIES[1:])}."
            )
            raise ValueError(msg)
        labels[CATEGORIES.index(category)] = severity_labels(severity)
    return labels


def digest(text: str) -> str:
    """Return the name of a window in `labeled_windows.csv`, or of a document in `passages.csv`."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]


def annotated_examples(data: Path) -> list[Example]:
    """Return the windows that were labeled by hand, and those of passages that were labeled as harmless."""
    examples = {}
    for passage in annotated_passages(data):
        if not any(value for row in passage.labels for value in row):
            for window in window_texts(passage.text):
                examples[window] = Example(window, uniform_labels(0.0), 1.0, passage.source, passage.split)
    for source, key, text in read_documents(data):
        for window in window_texts(text):
            labels = annotated_labels().get(digest(window))
            if labels is not None:
                examples[window] = Example(window, labels, _ANNOTATION_WEIGHT, source, split_of(key))
    return list(examples.values())


def annotated_passages(data: Path) -> list[Example]:
    """Return the passages that were labeled as a whole: parts of the sources, and stories of this project."""
    with (_FOLDER / "passages.csv").open(encoding="utf-8", newline="") as lines:
        passages_by_document = defaultdict(list)
        for row in csv.DictReader(lines):
            passages_by_document[row["document"]].append((int(row["first"]), int(row["words"]), row["labels"]))
    examples = []
    for source, key, text in read_documents(data):
        for first, count, annotation in passages_by_document.pop(digest(text), ()):
            passage = " ".join(text.split()[first : first + count])
            examples.append(Example(passage, parse_labels(annotation), 1.0, source, split_of(key)))
    examples.extend(
        Example(row["text"], parse_labels(row["labels"]), 1.0, "written", split_of(row["text"][:200]))
        for row in read_jsonl(_STORIES)
    )
    return examples


def read_documents(data: Path) -> Iterator[tuple[str, str, str]]:
    """Yield source, split key, and text of all stories and old books."""
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

"""Texts as sentences with labels, which the judge is trained on, and what the written corpus says of its texts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from taleward.core.policy import SEVERITIES
from taleward.moderation.policies.load import load_policy
from taleward.moderation.text.windows import Window, sentence_windows
from training.corpus.reader import (
    BANDS,
    Band,
    CorpusPair,
    CorpusPassage,
    CorpusShortText,
    is_held_out,
    load_pairs,
    load_passages,
    load_short_texts,
    load_stories,
)
from training.judge.labeled_windows import CATEGORIES, RELATED_CATEGORIES, Example, Split, severity_labels

OUTPUTS = len(CATEGORIES) * 3
UNKNOWN = math.nan
Labels = tuple[float, ...]
"""For each category in turn, whether a sentence is at least mildly, moderately, severely harmful: 1, 0 or NaN."""

_MARKED_WEIGHT = 2.0
_POLICY = load_policy("kids")


@dataclass(frozen=True, slots=True)
class SentenceGroup:
    """Sentences of which at least one is harmful where the label is 1, and none where it is 0.

    Attributes:
        sentences: Their indexes in the text.
        labels: The labels, `OUTPUTS` of them.
        weight: The weight of the group in the loss.
    """

    sentences: tuple[int, ...]
    labels: Labels
    weight: float = 1.0


@dataclass(slots=True)
class LabeledText:
    """A text with labels.

    Attributes:
        sentences: Its sentences, in order.
        groups: The labels; a sentence without a group has none.
        source: The data set that it is from.
        split: The split of its document, pair or frame.
        is_whole: Whether it is a whole text, such as a story, and no lone window or remark.
        pieces: The word pieces of each sentence, filled in by `tokenize` of `training_sections`.
    """

    sentences: list[str]
    groups: list[SentenceGroup]
    source: str
    split: Split
    is_whole: bool = False
    pieces: list[list[int]] = field(default_factory=list)

    def outcome(self, band: Band) -> float:
        """Return whether the text fails a band: 1 or 0, or NaN if its labels do not tell."""
        return outcome(self.groups, len(self.sentences), band)


def outcome(groups: Iterable[SentenceGroup], sentences: int, band: Band) -> float:
    """Return whether a text with these groups fails a band: 1 or 0, or NaN if the labels do not tell.

    Args:
        groups: The groups.
        sentences: The number of sentences of the text.
        band: An age band of the policy `kids`.
    """
    known: set[int] = set()
    unknown = False
    for group in groups:
        values = [group.labels[column] for column in _LIMITS[band]]
        if 1.0 in values:
            return 1.0
        unknown = unknown or any(math.isnan(value) for value in values)
        known.update(group.sentences)
    return UNKNOWN if unknown or len(known) < sentences else 0.0


def limits(band: str) -> list[int]:
    """Return, for each category, the output of the lowest severity that a band of the policy `kids` forbids."""
    return [3 * n + SEVERITIES.index(_POLICY.tolerance(c, band)) for n, c in enumerate(CATEGORIES)]


_LIMITS = {band: limits(band) for band in BANDS}


def text_of_window(example: Example) -> LabeledText:
    """Return a labeled window as a text; its labels hold for its sentences together.

    What was labeled as mildly violent or frightening before the bands had rules includes storms and growls, which good
    books for three-year-olds hold: at the lowest severity such a label is unknown.
    """
    sentences = [sentence for _, sentence in _sentences(example.text)]
    labels = [UNKNOWN if value is None else value for row in example.labels for value in row]
    for category in ("violence", "frightening"):
        column = 3 * CATEGORIES.index(category)
        if labels[column] == 1.0 and labels[column + 1] == 0.0:
            labels[column] = UNKNOWN
    group = SentenceGroup(tuple(range(len(sentences))), tuple(labels), example.weight)
    return LabeledText(sentences, [group], example.source, example.split)


def suitable_text(text: str, band: Band, source: str, split: Split, weight: float = 1.0) -> LabeledText:
    """Return a text that suits a band: no sentence exceeds what the band tolerates; below that nothing is known."""
    sentences = [sentence for _, sentence in _sentences(text)]
    labels = _suitable_labels(band)
    groups = [SentenceGroup((n,), labels, weight) for n in range(len(sentences))]
    return LabeledText(sentences, groups, source, split, is_whole=True)


def _suitable_labels(band: Band) -> Labels:
    tolerated = [SEVERITIES.index(_POLICY.tolerance(category, band)) for category in CATEGORIES]
    return tuple(UNKNOWN if level < lowest else 0.0 for lowest in tolerated for level in range(3))


def corpus_texts() -> list[LabeledText]:
    """Return the written corpus: stories, both texts of each pair, passages, and short texts."""
    texts = [suitable_text(s.whole, s.band, "stories", corpus_split(s.id)) for s in load_stories()]
    for pair in load_pairs():
        texts += [suitable_text(pair.text, pair.band, "pairs", corpus_split(pair.id)), _twin(pair)]
    texts += [_passage(passage) for passage in load_passages()]
    return texts + [_short_text(short) for short in load_short_texts()]


def corpus_split(id_: str) -> Split:
    """Return the split of a corpus row: `test` if it is held out, a tenth of the others `valid`, the rest `train`."""
    if is_held_out(id_):
        return "test"
    return "valid" if int(hashlib.sha256(f"valid {id_}".encode()).hexdigest(), 16) % 10 == 0 else "train"


def _twin(pair: CorpusPair) -> LabeledText:
    """Return the text of a pair that does not suit the band: what is known is that the changed sentences do not."""
    spans = _sentences(pair.twin)
    changed = _touching(spans, pair.spans)
    labels = [UNKNOWN] * OUTPUTS
    column = 3 * CATEGORIES.index(pair.category)
    for level in range(SEVERITIES.index(_POLICY.tolerance(pair.category, pair.band)) + 1):
        labels[column + level] = 1.0
    group = SentenceGroup(changed, tuple(labels), _MARKED_WEIGHT)
    return LabeledText([sentence for _, sentence in spans], [group], "twins", corpus_split(pair.id), is_whole=True)


def _passage(passage: CorpusPassage) -> LabeledText:
    spans = _sentences(passage.text)
    youngest = next((band for band in BANDS if passage.labels[band] == "pass"), None)
    labels = list(_suitable_labels(youngest)) if youngest else [UNKNOWN] * OUTPUTS
    unclear = _related({finding.category for finding in passage.findings})
    for number, category in enumerate(CATEGORIES):
        if passage.findings and category not in unclear:
            labels[3 * number : 3 * number + 3] = [0.0, 0.0, 0.0]
    groups = [SentenceGroup((n,), tuple(labels)) for n in range(len(spans))]
    for finding in passage.findings:
        marked = _touching(spans, [(finding.start, finding.end)])
        groups.append(SentenceGroup(marked, _labels_of({finding.category: finding.severity}), _MARKED_WEIGHT))
    return LabeledText([sentence for _, sentence in spans], groups, "passages", corpus_split(passage.id), is_whole=True)


def _short_text(short: CorpusShortText) -> LabeledText:
    sentences = [sentence for _, sentence in _sentences(short.text)]
    labels = list(_labels_of(short.labels))
    unclear = _related(short.labels)
    for number, category in enumerate(CATEGORIES):
        if category not in unclear:
            labels[3 * number : 3 * number + 3] = [0.0, 0.0, 0.0]
    if not short.labels:
        # Harmless from six years on: what is mildly violent or frightening there may still be too much at three.
        for category in ("violence", "frightening"):
            labels[3 * CATEGORIES.index(category)] = UNKNOWN
    group = SentenceGroup(tuple(range(len(sentences))), tuple(labels), _MARKED_WEIGHT)
    return LabeledText(sentences, [group], "short texts", corpus_split(short.id))


def _labels_of(severities: Mapping[str, str]) -> Labels:
    labels = [UNKNOWN] * OUTPUTS
    for category, severity in severities.items():
        column = 3 * CATEGORIES.index(category)
        labels[column : column + 3] = [UNKNOWN if value is None else value for value in severity_labels(severity)]
    return tuple(labels)


def _related(categories: Iterable[str]) -> set[str]:
    """Return the categories, and those that often accompany them, whose labels are therefore unknown."""
    named = set(categories)
    return named.union(*(RELATED_CATEGORIES[category] for category in named))


def _sentences(text: str) -> list[tuple[Window, str]]:
    return [(w, w.of(text).strip()) for w in sentence_windows(text) if w.of(text).strip()]


def _touching(sentences: Sequence[tuple[Window, str]], spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(
        number
        for number, (window, _) in enumerate(sentences)
        if any(window.start < end and start < window.end for start, end in spans)
    )


def of_split(texts: Iterable[LabeledText], split: Split) -> Iterator[LabeledText]:
    """Yield the texts of a split."""
    return (text for text in texts if text.split == split)

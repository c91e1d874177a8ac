"""What the judge's encoder reads in training: sections of texts, cut, joined and framed in many ways.

The judge meets sentences alone, in a stream behind a little context, and within whole stories. So a text is cut anew in
every epoch. To make the judge robust, a lone sentence is also put into a story, between quotation marks, or said twice:
none of that makes a harm harmless, nor a harmless sentence harmful.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from taleward.backends.onnx.minilm import MiniLM
from taleward.moderation.judges.embedded.head import END_PIECE, START_PIECE, UNKNOWN_PIECE
from taleward.moderation.judges.embedded.sections import split_into_sections
from taleward.moderation.text.normalize import undisguise
from training.corpus.reader import BANDS
from training.judge.labeled_text import LabeledText, SentenceGroup, outcome

SENTENCE_PIECES = 100
"""The most word pieces that are read of a sentence; longer ones are split before the judge reads them."""
SECTION_PIECES = 254
"""The most word pieces that the judge reads at once, without start and end."""
CONTEXT_PIECES = 60
"""The most word pieces that a section repeats of the one before it."""

_SECTION_PIECES = (120, 200, SECTION_PIECES, SECTION_PIECES, 350)
_CUT_SHARE = 0.4
"""Share of the texts that are read in short cuts, too."""
_CUT_SENTENCES = (1, 1, 2, 2, 3, 4)
_WINDOW_SHARE = 0.5
"""Share of the labeled windows that an epoch takes, drawn anew: there are many of each frame."""
_COMMENTS = ("davidson", "surge", "wikipedia")
_INSERTED_SHARE = 0.3
_INSERTED_SENTENCES = 3
_STORY_SENTENCES = (2, 4, 8, 12)
_STORY_WEIGHT = 0.3
_FRAMED_SHARE, _REPEATED_SHARE = 0.08, 0.06
_LENGTH_NOISE = 8
_FRAMES = (
    ('"', '" asked the boy.'),
    ('"', '" said Grandma.'),
    ('She said: "', '"'),
    ('"', '" he wrote.'),
    ('"', '" read the sign.'),
)

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class TrainingSection:
    """A section as the encoder reads it.

    Attributes:
        pieces: Word pieces, with the start and the end.
        sentence_of_piece: The sentence of each piece, -1 for the start and the end.
        groups: The labels.
        outcomes: For each band, whether the section fails: 1, 0, or NaN if unknown.
    """

    pieces: list[int]
    sentence_of_piece: list[int]
    groups: list[SentenceGroup]
    outcomes: tuple[float, ...]

    @property
    def sentences(self) -> int:
        """The number of sentences."""
        return self.sentence_of_piece[-2] + 1


def tokenize(texts: Sequence[LabeledText]) -> None:
    """Fill in the word pieces of every sentence, with disguised words written out, as the judge reads them."""
    encoder = MiniLM()
    clean = [undisguise(sentence, encoder.knows) for text in texts for sentence in text.sentences]
    pieces = iter(encoder.tokenize(clean))
    for text in texts:
        text.pieces = [next(pieces)[:SENTENCE_PIECES] or [UNKNOWN_PIECE] for _ in text.sentences]


def whole_sections(text: LabeledText, max_pieces: int = SECTION_PIECES) -> Iterator[TrainingSection]:
    """Yield the sections of a text, which share no sentence."""
    for section in split_into_sections([len(p) for p in text.pieces], max_pieces, 0):
        yield _section(text, section.start, section.end)


def epoch_sections(
    stories: Sequence[LabeledText], windows: Sequence[LabeledText], rng: random.Random
) -> Iterator[TrainingSection]:
    """Yield the sections of an epoch.

    Args:
        stories: Texts that are read whole: stories, passages, picture books.
        windows: Short texts and labeled windows.
        rng: Decides how they are cut and joined.
    """
    surroundings = [text for text in stories if text.source == "stories"]
    for text in stories:
        yield from whole_sections(text, rng.choice(_SECTION_PIECES))
        if rng.random() < _CUT_SHARE:
            yield from _cuts(text, rng)
    for window in windows:
        if window.source != "short texts" and rng.random() >= _WINDOW_SHARE:
            continue
        text = _varied(window, rng)
        if (
            len(text.sentences) <= _INSERTED_SENTENCES
            and text.source not in _COMMENTS
            and rng.random() < _INSERTED_SHARE
        ):
            text = _inserted(text, rng.choice(surroundings), rng)
        yield from whole_sections(text)


def _cuts(text: LabeledText, rng: random.Random) -> Iterator[TrainingSection]:
    start = 0
    while start < len(text.sentences):
        end = min(len(text.sentences), start + rng.choice(_CUT_SENTENCES))
        yield _section(text, start, end)
        start = end


def _section(text: LabeledText, start: int, end: int) -> TrainingSection:
    pieces, numbers = [START_PIECE], [-1]
    for number, sentence in enumerate(text.pieces[start:end]):
        pieces += sentence
        numbers += [number] * len(sentence)
    groups = [
        SentenceGroup(tuple(n - start for n in g.sentences), g.labels, g.weight)
        for g in text.groups
        if g.sentences and g.sentences[0] >= start and g.sentences[-1] < end
    ]
    outcomes = tuple(outcome(groups, end - start, band) for band in BANDS)
    return TrainingSection([*pieces, END_PIECE], [*numbers, -1], groups, outcomes)


def _varied(text: LabeledText, rng: random.Random) -> LabeledText:
    """Return a lone sentence of a frame or a short text framed or said twice, now and then; else the text itself."""
    if len(text.sentences) > 1 or not text.source.startswith(("synthetic", "short texts")):
        return text
    chance = rng.random()
    if chance < _FRAMED_SHARE:
        before, after = (_frame_pieces(part) for part in rng.choice(_FRAMES))
        return _changed(text, [[*before, *text.pieces[0], *after]])
    if chance < _FRAMED_SHARE + _REPEATED_SHARE:
        both = [SentenceGroup((0, 1), g.labels, g.weight) for g in text.groups]
        return LabeledText(text.sentences * 2, both, text.source, text.split, pieces=text.pieces * 2)
    return text


def _changed(text: LabeledText, pieces: list[list[int]]) -> LabeledText:
    return LabeledText(text.sentences, text.groups, text.source, text.split, pieces=pieces)


def _inserted(text: LabeledText, story: LabeledText, rng: random.Random) -> LabeledText:
    """Return a text between sentences of a story."""
    count = rng.choice(_STORY_SENTENCES)
    start = rng.randrange(max(1, len(story.sentences) - count))
    around = list(range(start, min(start + count, len(story.sentences))))
    position = rng.randrange(len(around) + 1)
    groups = [
        SentenceGroup((n if n < position else n + len(text.sentences),), story.groups[number].labels, _STORY_WEIGHT)
        for n, number in enumerate(around)
    ]
    groups += [SentenceGroup(tuple(n + position for n in g.sentences), g.labels, g.weight) for g in text.groups]
    before, after = around[:position], around[position:]

    def joined(of_story: list[_Item], of_text: list[_Item]) -> list[_Item]:
        return [*(of_story[n] for n in before), *of_text, *(of_story[n] for n in after)]

    sentences, pieces = joined(story.sentences, text.sentences), joined(story.pieces, text.pieces)
    return LabeledText(sentences, groups, text.source, text.split, pieces=pieces)


@lru_cache
def _frame_pieces(words: str) -> list[int]:
    return MiniLM().tokenize([words])[0]


def batches(sections: Sequence[TrainingSection], max_pieces: int, rng: random.Random) -> list[list[TrainingSection]]:
    """Return batches of sections of similar length, in random order.

    Args:
        sections: The sections.
        max_pieces: The most word pieces in a batch, padding included, unless it is a single section.
        rng: Decides the order.
    """
    by_length = sorted(sections, key=lambda s: len(s.pieces) + _LENGTH_NOISE * rng.random())
    result: list[list[TrainingSection]] = [[]]
    for section in by_length:
        longest = len(section.pieces) + _LENGTH_NOISE
        if result[-1] and (len(result[-1]) + 1) * longest > max_pieces:
            result.append([])
        result[-1].append(section)
    rng.shuffle(result)
    return result

"""Verdicts of the embedded judge for many texts and bands, each text read once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from taleward.core.verdict import Verdict
from taleward.moderation.calibration.detection_metrics import ece, reliability
from taleward.moderation.judges.embedded.head import Head, shipped_head
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.judges.lexicon import LexiconJudge

BAND = "6-8"
Row = dict[str, Any]


class _MemoizingHead:
    """A head that reads each text once, since judges of several bands read the same texts."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._log_odds: dict[tuple[tuple[int, ...], ...], Any] = {}

    def word_pieces(self, sentence: str) -> list[int]:
        return self._head.word_pieces(sentence)

    def log_odds(self, sentences: Sequence[Sequence[int]]) -> Any:
        key = tuple(map(tuple, sentences))
        if key not in self._log_odds:
            self._log_odds[key] = self._head.log_odds(sentences)
        return self._log_odds[key]


@lru_cache
def _head() -> _MemoizingHead:
    return _MemoizingHead(shipped_head())


@lru_cache
def embedded_judge(band: str = BAND) -> EmbeddedJudge:
    """Return the judge of a band, which remembers what it has read."""
    judge = EmbeddedJudge(band=band)
    judge._head = _head()  # type: ignore[assignment]
    return judge


@lru_cache
def lexicon_judge(band: str = BAND) -> LexiconJudge:
    """Return the word list as a judge of a band."""
    return LexiconJudge(band=band)


def verdicts(texts: Sequence[str], band: str = BAND) -> list[Verdict]:
    """Return the embedded judge's verdicts."""
    return [embedded_judge(band).invoke(text) for text in texts]


def failed(texts: Sequence[str], band: str = BAND) -> list[bool]:
    """Return which texts do not pass."""
    return [not verdict.passed for verdict in verdicts(texts, band)]


def score(verdict: Verdict) -> float:
    """Return the highest score of a verdict."""
    return max(verdict.scores.values(), default=0.0)


def scores(texts: Sequence[str], band: str = BAND) -> list[float]:
    """Return the highest score of each text."""
    return [score(verdict) for verdict in verdicts(texts, band)]


def share(values: Sequence[bool]) -> float:
    """Return the share that is true, NaN for none."""
    return float(np.mean(values)) if len(values) else float("nan")


def calibration_error(truth: Sequence[bool], probabilities: Sequence[float]) -> float:
    """Return the expected calibration error of probabilities, 0..1."""
    return ece(reliability(truth, probabilities))

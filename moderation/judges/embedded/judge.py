"""The judge that comes with Taleward: a trained encoder and head, and the lexicon beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taleward.backends.onnx import minilm
from taleward.core.errors import IntegrityError
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import SEVERITIES, Policy, Severity, exceeds
from taleward.core.verdict import Finding, Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.embedded.head import LEVELS, shipped_head
from taleward.moderation.judges.lexicon import CONTEXT, finding, known_categories, severity_score, unjudged
from taleward.moderation.text.language import looks_foreign
from taleward.moderation.text.lexicon import LexiconHit, find_hits, lexicon_categories
from taleward.moderation.text.windows import Window, sentence_windows, windows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_PLACE_SHARE = 0.5
_DREAD = "frightening"
_LEAST = 1e-6


def _chance(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-float(odds)))


def _english(text: str, window: Window) -> list[Window]:
    """The window, or its English sentences where others are in another language: of those the head knows nothing."""
    parts = [Window(window.start + s.start, window.start + s.end) for s in sentence_windows(window.of(text))]
    english = [p for p in parts if not looks_foreign(p.of(text))]
    return [window] if len(english) == len(parts) else english


class EmbeddedJudge(Judge):
    """Judges every window of a text, without a network, a key or a GPU.

    The head scores every window in every category; `head.Whole` combines them. Dread
    that builds up is added to what is frightening; then all categories are moved alike, so that the strongest is as far
    beyond its threshold as all of them together. A listed word scores from the threshold up, the more the head sees in
    its windows. Findings are the lexicon's hits, with their exact places, and, in each category that fails by the head
    alone, the worst sentence or window.

    In a policy of few categories fewer signs add up, so it is milder than its thresholds say; `calibrated` moves it.

    It reads English alone, and abstains where a text is not.

    Args:
        policy: A policy, or the name or path of one.
        band: A band of the policy.

    Raises:
        ConfigurationError: The policy has no category that this judge knows.
        MissingExtra: The extra `onnx` or the encoder's package is not installed.
        IntegrityError: The head was made for another encoder, or its weights are not its own.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8") -> None:
        super().__init__("embedded:judge", policy=policy, band=band)
        self._head = shipped_head()
        if self._head.config.encoder_sha256 != minilm.SHA256:
            raise IntegrityError(
                f"the judge's head was trained on an encoder with the SHA-256 "
                f"{self._head.config.encoder_sha256}; the one here has {minilm.SHA256}."
            )
        self.trained = self._head.config
        self.known = known_categories(self.policy, frozenset(self.trained.categories) | lexicon_categories(), self.spec)
        # Column, level, and threshold in log-odds, of each category in which the band does not tolerate everything.
        self._judged: dict[str, tuple[int, int, float]] = {}
        for column, category in enumerate(self.trained.categories):
            if category in self.known:
                level = SEVERITIES.index(self.policy.tolerance(category, band))
                threshold = min(max(self.policy.threshold(category, band), _LEAST), 1 - _LEAST)
                if level < len(LEVELS):
                    self._judged[category] = column, level, math.log(threshold / (1 - threshold))

    def assess(self, passage: Passage) -> Assessment:
        """Score all windows and look up all words."""
        text, begin = passage.with_context(CONTEXT)
        settings = self.trained
        places = windows(
            text,
            size=settings.window_sentences,
            max_words=settings.window_words,
            overlap=settings.window_overlap,
        )
        places = [w for w in places if text[max(begin, w.start) : w.end].strip()]
        english = [r for w in places for r in _english(text, w)]
        read = [r for w in english for r in self._fitting(text, w) if text[max(begin, r.start) : r.end].strip()]
        odds = self._odds(text, read)
        scores = dict.fromkeys(self.known, 0.0)
        findings = []
        for hit in find_hits(text):
            if hit.category not in self.known or hit.end <= begin:
                continue
            score = severity_score(self.policy, self.band, hit.category, hit.severity)
            least = min(score, self.policy.threshold(hit.category, self.band))
            score = least + self._belief(hit, read, odds) * (score - least)
            scores[hit.category] = max(scores[hit.category], score)
            findings.append(finding(hit, text))
        by_words = {f.category for f in findings if exceeds(f.severity, self.policy.tolerance(f.category, self.band))}
        for category, (column, level, bound) in self._judged.items() if read else ():
            worst = int(odds[:, column, level].argmax())
            scores[category] = max(scores[category], _chance(odds[worst, column, level]))
            if odds[worst, column, level] >= bound and category not in by_words:
                findings.append(self._place(text, begin, read[worst], category, odds[worst, column]))
        findings.sort(key=lambda f: (f.start or 0, f.end or 0, f.category))
        found = Assessment(
            scores=FrozenDict(scores),
            findings=tuple(f.shifted(-begin) for f in findings),
            detail=unjudged(self.policy, self.known),
        )
        return self.english_only(found, text, [*places, *sentence_windows(text)], begin)

    def _fitting(self, text: str, window: Window) -> list[Window]:
        """The window, or parts of it that the encoder reads to their ends."""
        own = window.of(text)
        if self._head.fits(own):
            return [window]
        middle = own.rfind(" ", 1, len(own) // 2 + 1)
        place = window.start + (middle if middle > 0 else len(own) // 2)
        parts = Window(window.start, place), Window(place, window.end)
        return [part for half in parts for part in self._fitting(text, half)]

    def _odds(self, text: str, read: list[Window]) -> Floats:
        """Log-odds of windows of a text, with what the whole of them adds, shape (windows, categories, 3)."""
        odds = self._log_odds([w.of(text) for w in read])
        return odds + self._added(odds) if read else odds

    def _belief(self, hit: LexiconHit, read: list[Window], odds: Floats) -> float:
        """How far the head agrees that there is something at a hit, 0..1; 1 where it did not read the place."""
        around = [n for n, w in enumerate(read) if w.start < hit.end and hit.start < w.end]
        if not around or not self._judged:
            return 1.0
        return min(
            1.0, 2 * _chance(max(odds[around, column, level].max() for column, level, _ in self._judged.values()))
        )

    def _log_odds(self, texts: list[str]) -> Floats:
        return self._head.log_odds(self._head.encode(texts))

    def _added(self, odds: Floats) -> Floats:
        """What the whole text adds to each category's log-odds, shape (1, categories, 1)."""
        import numpy

        added = numpy.zeros((1, odds.shape[1], 1), dtype=numpy.float32)
        if not self._judged:
            return added
        whole = self.trained.whole
        beyond = numpy.stack([odds[:, column, level] - bound for column, level, bound in self._judged.values()], axis=1)
        if _DREAD in self._judged:
            column, level, _ = self._judged[_DREAD]
            built_up = whole.built_up(odds[:, column, level], level)
            added[0, column] = built_up
            beyond[:, list(self._judged).index(_DREAD)] += built_up
        return added + numpy.float32(whole.together(beyond) - float(beyond.max()))

    def _place(self, text: str, begin: int, window: Window, category: str, odds: Floats) -> Finding:
        """The worst sentence of a window, from `begin` on; all of it where no sentence alone accounts for it."""
        parts = [
            Window(window.start + s.start, window.start + s.end)
            for s in sentence_windows(window.of(text))
            if text[max(begin, window.start + s.start) : window.start + s.end].strip()
        ]
        place = Window(max(begin, window.start), window.end)
        column, level, _ = self._judged[category]
        if len(parts) > 1:
            both = self._log_odds([*(p.of(text) for p in parts), window.of(text)])[:, column, level]
            worst = int(both[:-1].argmax())
            if _chance(both[worst]) >= _PLACE_SHARE * _chance(both[-1]):
                place = Window(max(begin, parts[worst].start), parts[worst].end)
        quote = place.of(text)
        start = place.start + len(quote) - len(quote.lstrip())
        quote = quote.strip()
        return Finding(
            category=category,
            severity=self._severity(category, odds),
            quote=quote,
            start=start,
            end=start + len(quote),
            rationale=f"reads like {self.policy.categories[category].title.lower()} (score {_chance(odds[level]):.2f})",
        )

    def _severity(self, category: str, odds: Floats) -> Severity:
        """The strongest severity that is as sure as the threshold asks and likely, at least the first not tolerated."""
        _, level, bound = self._judged[category]
        strongest = level
        for number in range(level + 1, len(LEVELS)):
            if odds[number] >= max(bound, 0.0):
                strongest = number
        return SEVERITIES[strongest + 1]

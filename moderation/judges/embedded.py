"""The judge that comes with Taleward: a trained encoder and head, and the lexicon beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taleward.backends import minilm
from taleward.core.errors import IntegrityError
from taleward.core.frozen import FrozenDict
from taleward.core.policy import SEVERITIES, Policy, Severity, exceeds
from taleward.core.verdict import Finding, Passage
from taleward.moderation.head import LEVELS, shipped_head
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.lexicon import CONTEXT, finding, known_categories, severity_score, unjudged
from taleward.moderation.language import seems_foreign
from taleward.moderation.lexicon import find_hits, lexicon_categories
from taleward.moderation.windows import Window, sentence_windows, windows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_PLACE_SHARE = 0.5


def _english(text: str, window: Window) -> list[Window]:
    """The window, or its English sentences where others are in another language: of those the head knows nothing."""
    parts = [Window(window.start + s.start, window.start + s.end) for s in sentence_windows(window.of(text))]
    english = [p for p in parts if not seems_foreign(p.of(text))]
    return [window] if len(english) == len(parts) else english


class EmbeddedJudge(Judge):
    """Judges every window of a text, without a network, a key or a GPU.

    A category's score is the head's probability that some window is worse than the band tolerates, or the
    lexicon's score where that is higher. Findings are the lexicon's hits, with their exact places, and, in each
    category that fails by the head alone, the worst sentence or window.

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
        self.weights_sha256 = self._head.config.weights_sha256
        trained = frozenset(self._head.config.categories)
        self.known = known_categories(self.policy, trained | lexicon_categories(), self.spec)
        self._columns = {c: i for i, c in enumerate(self._head.config.categories) if c in self.known}

    def assess(self, passage: Passage) -> Assessment:
        """Score all windows and look up all words."""
        text, begin = passage.with_context(CONTEXT)
        hits = [h for h in find_hits(text) if h.category in self.known and h.end > begin]
        findings = [finding(hit, text) for hit in hits]
        scores = dict.fromkeys(self.known, 0.0)
        for hit in hits:
            score = severity_score(self.policy, self.band, hit.category, hit.severity)
            scores[hit.category] = max(scores[hit.category], score)
        by_words = {f.category for f in findings if exceeds(f.severity, self.policy.tolerance(f.category, self.band))}
        settings = self._head.config
        places = windows(
            text,
            size=settings.window_sentences,
            max_words=settings.window_words,
            overlap=settings.window_overlap,
        )
        places = [w for w in places if w.end > begin]
        read = [r for w in places for r in _english(text, w) if r.end > begin]
        chances = self._chances([w.of(text) for w in read])
        for category, column in self._columns.items() if read else ():
            level = SEVERITIES.index(self.policy.tolerance(category, self.band))
            if level >= len(LEVELS):
                continue  # the band tolerates the strongest there is
            worst = int(chances[:, column, level].argmax())
            chance = float(chances[worst, column, level])
            scores[category] = max(scores[category], chance)
            if chance >= self.policy.threshold(category, self.band) and category not in by_words:
                findings.append(self._place(text, begin, read[worst], category, level, chances[worst, column]))
        findings.sort(key=lambda f: (f.start or 0, f.end or 0, f.category))
        found = Assessment(
            scores=FrozenDict(scores),
            findings=tuple(f.shifted(-begin) for f in findings),
            detail=unjudged(self.policy, self.known),
        )
        return self.english_only(found, text, [*places, *sentence_windows(text)], begin)

    def _chances(self, texts: list[str]) -> Floats:
        return self._head.probabilities(self._head.encoder.encode(texts))

    def _place(self, text: str, begin: int, window: Window, category: str, level: int, chances: Floats) -> Finding:
        """The worst sentence of a window, from `begin` on; all of it where no sentence alone accounts for it."""
        parts = [
            Window(window.start + s.start, window.start + s.end)
            for s in sentence_windows(window.of(text))
            if s.of(window.of(text)).strip() and window.start + s.end > begin
        ]
        place = Window(max(begin, window.start), window.end)
        if len(parts) > 1:
            alone = self._chances([p.of(text) for p in parts])[:, self._columns[category], level]
            worst = int(alone.argmax())
            if alone[worst] >= _PLACE_SHARE * chances[level]:
                place = parts[worst]
        quote = place.of(text)
        start = place.start + len(quote) - len(quote.lstrip())
        quote = quote.strip()
        return Finding(
            category=category,
            severity=self._severity(category, level, chances),
            quote=quote,
            start=start,
            end=start + len(quote),
            rationale=f"reads like {self.policy.categories[category].title.lower()} "
            f"(score {float(chances[level]):.2f})",
        )

    def _severity(self, category: str, level: int, chances: Floats) -> Severity:
        """The strongest severity that is as sure as the threshold asks, at least the first not tolerated."""
        threshold = self.policy.threshold(category, self.band)
        strongest = level
        for number in range(level + 1, len(LEVELS)):
            if chances[number] >= threshold:
                strongest = number
        return SEVERITIES[strongest + 1]

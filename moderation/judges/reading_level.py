"""Readability judge: the Automated Readability Index (Smith and Senter 1967), computed by textstat.

Index 1 corresponds to ages 5 to 6, and each further point to one more year. Among textstat's formulas it is one that
needs no pronouncing dictionary, which textstat would download.
"""

from __future__ import annotations

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.core.policy import Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.readable_english import ReadablePassage

_CONTEXT_CHARACTERS = 2000
_AGE_AT_INDEX_0 = 4


class ReadingLevelJudge(Judge):
    """Fail a text that is too hard to read for the age band.

    The limit is the band's `reading_level`. If the policy sets none, it is the index for readers one year older than
    the band's oldest. A passage is measured together with its context, since the index of a single sentence is
    unreliable. If part of a text is not English or is encoded, the judge abstains.

    Args:
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        limit: The highest index that passes, in 0..20; overrides the band's.

    Raises:
        ConfigurationError: If `limit` is out of range.
        MissingExtra: If the extra `reading` is not installed.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8", limit: float | None = None) -> None:
        super().__init__("reading-level", policy=policy, band=band)
        try:
            import textstat
        except ImportError as error:
            raise MissingExtra("the reading level", "reading") from error
        if limit is not None and not 0 <= limit <= 20:
            raise ConfigurationError(f"limit must be an index from 0 to 20; got {limit}.")
        self._index = textstat.textstat.automated_readability_index
        rules = self.policy.band(band)
        band_limit = rules.ages[1] + 1 - _AGE_AT_INDEX_0 if rules.reading_level is None else rules.reading_level
        self.limit = band_limit if limit is None else limit

    def assess(self, passage: Passage) -> Assessment:
        """Measure the passage together with its context."""
        readable = ReadablePassage.of(passage, _CONTEXT_CHARACTERS)
        index = float(self._index(readable.text))
        detail = f"Automated Readability Index {index:.1f}; the limit is {self.limit:g}"
        if index > self.limit:
            return Assessment(outcome="fail", detail=detail)
        return self.abstain_unless_read(Assessment(detail=detail), readable.unread)

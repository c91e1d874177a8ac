"""How hard a text is to read: the Automated Readability Index (Smith and Senter 1967), counted by textstat.

An index of 1 is read at 5 to 6 years, and each further point a year later. Of textstat's formulas this is one that
needs no pronouncing dictionary, which textstat would fetch from the network.
"""

from __future__ import annotations

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.core.policy import Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.text.windows import sentence_windows, windows

_CONTEXT = 2000
_AGE_AT_0 = 4
"""The index counts years of age from here: 1 is read from 5 years on."""


class ReadingLevel(Judge):
    """Fails a text that is too hard to read for the band.

    The limit is the band's `reading_level`, or, where the policy sets none, the index that is read a year above the
    band's oldest age. A passage is measured behind its context,
    for the index of one sentence says little. English alone; it abstains where a text is not.

    Args:
        policy: A policy, or the name or path of one.
        band: A band of the policy.
        limit: The highest index that passes, where it is not to follow from the band.

    Raises:
        MissingExtra: The extra `reading` is not installed.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8", limit: float | None = None) -> None:
        super().__init__("reading-level", policy=policy, band=band)
        try:
            import textstat
        except ImportError as error:
            raise MissingExtra("the reading level", "reading") from error
        if limit is not None and not 0 <= limit <= 20:
            raise ConfigurationError(f"limit is an index from 0 to 20; got {limit}.")
        self._index = textstat.textstat.automated_readability_index
        rules = self.policy.band(band)
        usual = rules.ages[1] + 1 - _AGE_AT_0 if rules.reading_level is None else rules.reading_level
        self.limit = usual if limit is None else limit

    def assess(self, passage: Passage) -> Assessment:
        """Measure the text behind its context."""
        text, begin = passage.with_context(_CONTEXT)
        index = float(self._index(text))
        said = f"Automated Readability Index {index:.1f}; the limit is {self.limit:g}"
        found = Assessment(outcome="fail" if index > self.limit else None, detail=said)
        if found.outcome == "fail":
            return found
        return self.english_only(found, text, [*windows(text), *sentence_windows(text)], begin)

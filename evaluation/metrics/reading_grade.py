"""Reading grade of outputs, by the same formula as the judge `reading-level`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from taleward.core.errors import MissingExtra
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample


class ReadingGrade(MeanMetric):
    """The mean Automated Readability Index (Smith and Senter 1967), roughly a US school grade; only for English.

    A text without words has no value.
    """

    name = "reading_grade"
    unit = "grade"

    def __init__(self) -> None:
        try:
            import textstat
        except ImportError as error:
            raise MissingExtra("the reading grade", "reading") from error
        self._readability_index = textstat.textstat.automated_readability_index

    @property
    def options(self) -> Mapping[str, object]:
        """The formula and the library's version."""
        return {"formula": "ari", "textstat": version("textstat")}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the index of each output."""
        return [
            float(self._readability_index(s.text)) if any(c.isalnum() for c in s.text) else float("nan")
            for s in samples
        ]

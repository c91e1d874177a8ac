"""Length of outputs in words or characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.metrics.tokenize import words
from taleward.evaluation.sample import Sample


class Length(MeanMetric):
    """The mean length of outputs; an empty output has length 0.

    Args:
        unit: `words` (see `taleward.evaluation.metrics.tokenize.words`) or `characters` (Unicode code points).
    """

    def __init__(self, unit: Literal["words", "characters"] = "words") -> None:
        if unit not in ("words", "characters"):
            raise ConfigurationError(f"unit must be 'words' or 'characters'; got {unit!r}.")
        self.name = self.unit = unit

    @property
    def options(self) -> Mapping[str, object]:
        """The tokenizer."""
        return {"words": "unicode"} if self.name == "words" else {}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the length of each output."""
        return [len(words(s.text)) if self.name == "words" else len(s.text) for s in samples]

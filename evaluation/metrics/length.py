"""How long outputs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.metrics.tokenize import words
from taleward.evaluation.sample import Sample


class Length(MeanMetric):
    """Mean length of the outputs; an empty text has length 0.

    Args:
        of: `words` (see `words.words`) or `characters` (Unicode code points).
    """

    def __init__(self, of: Literal["words", "characters"] = "words") -> None:
        if of not in ("words", "characters"):
            raise ConfigurationError(f"of is 'words' or 'characters'; got {of!r}.")
        self.name = self.unit = of

    @property
    def options(self) -> Mapping[str, object]:
        """How words are found."""
        return {"words": "unicode"} if self.name == "words" else {}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """The length of each output."""
        return [len(words(s.text)) if self.name == "words" else len(s.text) for s in samples]

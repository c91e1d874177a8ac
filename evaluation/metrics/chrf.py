"""chrF (Popović 2015), with sacrebleu's numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import Metric, ratio
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats


class ChrF(Metric):
    """Corpus F-score of character n-grams, 0..100; of several references the one with the best score counts.

    White space is left out. An empty text scores 0.

    Args:
        order: The longest n-grams.
        beta: How much more recall counts than precision.
        lowercase: Whether case does not matter.
    """

    name = "chrf"
    unit = "0-100"
    higher_is_better = True
    needs = ("output", "reference")

    def __init__(self, *, order: int = 6, beta: float = 2, lowercase: bool = False) -> None:
        if order < 1 or beta <= 0:
            raise ConfigurationError(f"order is 1 or more and beta above 0; got {order} and {beta}.")
        self.order, self.beta, self.lowercase = order, beta, lowercase

    @property
    def options(self) -> Mapping[str, object]:
        """The parts of sacrebleu's own signature."""
        case = "lc" if self.lowercase else "mixed"
        return {"case": case, "eff": "yes", "nc": self.order, "nw": 0, "space": "no", "beta": self.beta}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """For each order: n-grams of the output, n-grams of the reference, matches."""
        import numpy as np

        rows = np.empty((len(samples), 3 * self.order))
        for row, sample in zip(rows, samples, strict=True):
            output = self._ngrams(sample.text)
            against = np.array([self._matches(output, self._ngrams(r)) for r in sample.references], float)
            row[:] = against[np.argmax(self.value(against))]
        return rows

    def value(self, total: Floats) -> Floats:
        """The F-score of summed statistics, of the mean precision and recall over the orders that both sides have."""
        output, reference, matches = total[..., 0::3], total[..., 1::3], total[..., 2::3]
        both = (output > 0) & (reference > 0)
        orders = both.sum(axis=-1)
        precision = ratio((ratio(matches, output, 0.0) * both).sum(axis=-1), orders, 0.0)
        recall = ratio((ratio(matches, reference, 0.0) * both).sum(axis=-1), orders, 0.0)
        factor = self.beta**2
        return 100 * ratio((1 + factor) * precision * recall, factor * precision + recall, 0.0)

    def _ngrams(self, text: str) -> list[Counter[str]]:
        line = "".join((text.lower() if self.lowercase else text).split())
        return [Counter(line[i : i + n] for i in range(len(line) - n + 1)) for n in range(1, self.order + 1)]

    @staticmethod
    def _matches(output: list[Counter[str]], reference: list[Counter[str]]) -> list[int]:
        found = []
        for ours, theirs in zip(output, reference, strict=True):
            # As in sacrebleu, n-grams count only where the reference has any of their length.
            found += [ours.total() if theirs else 0, theirs.total(), shared(ours, theirs)]
        return found


def shared(first: Counter[str], second: Counter[str]) -> int:
    """How many members two bags share."""
    fewer, more = (first, second) if len(first) <= len(second) else (second, first)
    return sum(min(count, more[member]) for member, count in fewer.items() if member in more)

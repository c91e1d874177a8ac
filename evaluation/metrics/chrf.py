"""chrF (Popović 2015), with the same values as sacrebleu."""

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

    Whitespace is ignored. An empty output scores 0.

    Args:
        order: The longest n-grams.
        beta: How much more recall counts than precision.
        lowercase: Whether to ignore case.
    """

    name = "chrf"
    unit = "0-100"
    higher_is_better = True
    needs = ("output", "reference")

    def __init__(self, *, order: int = 6, beta: float = 2, lowercase: bool = False) -> None:
        if order < 1 or beta <= 0:
            raise ConfigurationError(f"order must be at least 1 and beta above 0; got {order} and {beta}.")
        self.order, self.beta, self.lowercase = order, beta, lowercase

    @property
    def options(self) -> Mapping[str, object]:
        """The parts of sacrebleu's own signature."""
        case = "lc" if self.lowercase else "mixed"
        return {"case": case, "eff": "yes", "nc": self.order, "nw": 0, "space": "no", "beta": self.beta}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return for each order the n-grams of the output, the n-grams of the reference, and the matches."""
        import numpy as np

        rows = np.empty((len(samples), 3 * self.order))
        for row, sample in zip(rows, samples, strict=True):
            output = self._ngrams(sample.text)
            by_reference = np.array([self._count(output, self._ngrams(r)) for r in sample.references], float)
            row[:] = by_reference[np.argmax(self.value(by_reference))]
        return rows

    def value(self, total: Floats) -> Floats:
        """Compute the F-score of the mean precision and recall over the orders that output and reference have."""
        output, reference, matches = total[..., 0::3], total[..., 1::3], total[..., 2::3]
        in_both = (output > 0) & (reference > 0)
        orders = in_both.sum(axis=-1)
        precision = ratio((ratio(matches, output, 0.0) * in_both).sum(axis=-1), orders, 0.0)
        recall = ratio((ratio(matches, reference, 0.0) * in_both).sum(axis=-1), orders, 0.0)
        factor = self.beta**2
        return 100 * ratio((1 + factor) * precision * recall, factor * precision + recall, 0.0)

    def _ngrams(self, text: str) -> list[Counter[str]]:
        characters = "".join((text.lower() if self.lowercase else text).split())
        return [
            Counter(characters[i : i + n] for i in range(len(characters) - n + 1)) for n in range(1, self.order + 1)
        ]

    @staticmethod
    def _count(output: list[Counter[str]], reference: list[Counter[str]]) -> list[int]:
        counts = []
        for output_ngrams, reference_ngrams in zip(output, reference, strict=True):
            # As in sacrebleu, n-grams count only if the reference has any of the same length.
            output_total = output_ngrams.total() if reference_ngrams else 0
            counts += [output_total, reference_ngrams.total(), _overlap(output_ngrams, reference_ngrams)]
        return counts


def _overlap(first: Counter[str], second: Counter[str]) -> int:
    """Return the size of the intersection of two multisets."""
    smaller, larger = (first, second) if len(first) <= len(second) else (second, first)
    return sum(min(count, larger[ngram]) for ngram, count in smaller.items() if ngram in larger)

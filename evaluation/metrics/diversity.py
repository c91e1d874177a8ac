"""Diversity of outputs: distinct n-grams, repetition, self-BLEU."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import MeanMetric, Metric, ratio
from taleward.evaluation.metrics.tokenize import words
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from taleward.evaluation.metrics.base import Floats


class Distinct(Metric):
    """Distinct-n (Li et al. 2016): different n-grams divided by all n-grams of the corpus, 0..1.

    The value falls with the length of a corpus, so compare only corpora of the same size. The bootstrap interval takes
    the n-gram counts of the whole corpus as given.

    Args:
        n: Words per n-gram.
    """

    unit = "share"
    higher_is_better = True

    def __init__(self, n: int = 2) -> None:
        self.n = _check_order(n)
        self.name = f"distinct_{n}"

    @property
    def options(self) -> Mapping[str, object]:
        """The order, and the tokenizer."""
        return {"n": self.n, "words": "unicode"}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return each sample's share of the different n-grams, and its number of n-grams."""
        import numpy as np

        texts = [_ngrams(words(s.text), self.n) for s in samples]
        counts = Counter(ngram for text in texts for ngram in text)
        # Each of the c occurrences of an n-gram counts 1 / c, so that the sum over samples is the corpus value.
        rows = [(sum(1 / counts[ngram] for ngram in text), len(text)) for text in texts]
        return np.array(rows, float).reshape(-1, 2)

    def value(self, total: Floats) -> Floats:
        """Compute different n-grams divided by all n-grams."""
        return ratio(total[..., 0], total[..., 1])


class Repetition(Metric):
    """The share of n-grams that occurred before in the same output (Welleck et al. 2020), 0..1.

    A text that is too short for an n-gram has no value.

    Args:
        n: Words per n-gram.
    """

    unit = "share"
    higher_is_better = False

    def __init__(self, n: int = 4) -> None:
        self.n = _check_order(n)
        self.name = "repetition" if n == 4 else f"repetition_{n}"

    @property
    def options(self) -> Mapping[str, object]:
        """The order, and the tokenizer."""
        return {"n": self.n, "words": "unicode"}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return each sample's number of repeated n-grams and of all n-grams."""
        import numpy as np

        texts = [_ngrams(words(s.text), self.n) for s in samples]
        return np.array([(len(text) - len(set(text)), len(text)) for text in texts], float).reshape(-1, 2)

    def value(self, total: Floats) -> Floats:
        """Compute repeated n-grams divided by all n-grams."""
        return ratio(total[..., 0], total[..., 1])


class SelfBleu(MeanMetric):
    """Self-BLEU (Zhu et al. 2018), 0..100: mean BLEU of each output with all others as references; low if diverse.

    It equals sacrebleu's sentence BLEU with the tokenizer 13a, but takes one pass over the corpus. The bootstrap
    interval takes the other outputs as given. A single output has no value.

    Args:
        order: The longest n-grams.
    """

    name = "self_bleu"
    unit = "0-100"
    higher_is_better = False

    def __init__(self, order: int = 4) -> None:
        from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

        self.order = _check_order(order)
        self._tokenize = Tokenizer13a()

    @property
    def options(self) -> Mapping[str, object]:
        """The parts of sacrebleu's own signature."""
        from sacrebleu import __version__

        return {
            "case": "mixed",
            "eff": "yes",
            "tok": "13a",
            "smooth": "exp",
            "order": self.order,
            "sacrebleu": __version__,
        }

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the BLEU of each output with all others as references."""
        from sacrebleu.metrics.bleu import BLEU

        if len(samples) < 2:
            return [float("nan")] * len(samples)
        texts = [self._tokenize(s.text.rstrip()).split() for s in samples]
        counts_by_text = [Counter(g for n in range(self.order) for g in _ngrams(text, n + 1)) for text in texts]
        highest_counts = _two_highest_counts(counts_by_text)
        lengths = sorted(map(len, texts))
        scores = []
        for text, counts in zip(texts, counts_by_text, strict=True):
            matches, totals = [0] * self.order, [max(0, len(text) - n) for n in range(self.order)]
            for ngram, count in counts.items():
                highest, second = highest_counts[ngram]
                # If this text has the highest count itself, the most in any other text is the second highest.
                matches[len(ngram) - 1] += min(count, second if count == highest else highest)
            reference_length = _closest_other_length(lengths, len(text))
            bleu = BLEU.compute_bleu(matches, totals, len(text), reference_length, "exp", None, True, self.order)
            scores.append(float(bleu.score))
        return scores


def _check_order(n: int) -> int:
    if n < 1:
        raise ConfigurationError(f"n-grams need at least 1 word; got {n}.")
    return n


def _ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[k:] for k in range(n)), strict=False))


def _two_highest_counts(counts_by_text: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Return for each n-gram its highest count in any text, and its highest count in any other text."""
    highest_counts: dict[tuple[str, ...], tuple[int, int]] = {}
    for counts in counts_by_text:
        for ngram, count in counts.items():
            highest, second = highest_counts.get(ngram, (0, 0))
            highest_counts[ngram] = (count, highest) if count > highest else (highest, max(second, count))
    return highest_counts


def _closest_other_length(lengths: Sequence[int], length: int) -> int:
    """Return the length of the other text that is closest to a text's own length; the shorter one if two are."""
    position = bisect_left(lengths, length)
    neighbors = [*lengths[max(0, position - 1) : position], *lengths[position + 1 : position + 2]]
    return min(neighbors, key=lambda other: (abs(other - length), other))

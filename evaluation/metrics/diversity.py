"""How varied the outputs are, among each other and within themselves."""

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
    """Distinct-n of the corpus (Li et al. 2016): different n-grams over all n-grams of all outputs, 0..1.

    An n-gram that occurs c times counts 1 / c wherever it does, so that sums over samples are the corpus's value. The
    interval takes those counts as given. It falls with the length of a corpus: compare corpora of one size.

    Args:
        n: Words of an n-gram.
    """

    unit = "share"
    higher_is_better = True

    def __init__(self, n: int = 2) -> None:
        self.n = _order(n)
        self.name = f"distinct_{n}"

    @property
    def options(self) -> Mapping[str, object]:
        """The order, and how words are found."""
        return {"n": self.n, "words": "unicode"}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Shares in different n-grams, and n-grams."""
        import numpy as np

        texts = [_ngrams(words(s.text), self.n) for s in samples]
        counts = Counter(ngram for text in texts for ngram in text)
        rows = [(sum(1 / counts[ngram] for ngram in text), len(text)) for text in texts]
        return np.array(rows, float).reshape(-1, 2)

    def value(self, total: Floats) -> Floats:
        """Different n-grams over n-grams."""
        return ratio(total[..., 0], total[..., 1])


class Repetition(Metric):
    """Share of the n-grams that occurred before in the same output (Welleck et al. 2020), 0..1.

    A text too short for an n-gram has no value.

    Args:
        n: Words of an n-gram.
    """

    unit = "share"
    higher_is_better = False

    def __init__(self, n: int = 4) -> None:
        self.n = _order(n)
        self.name = "repetition" if n == 4 else f"repetition_{n}"

    @property
    def options(self) -> Mapping[str, object]:
        """The order, and how words are found."""
        return {"n": self.n, "words": "unicode"}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Repeated n-grams, and n-grams."""
        import numpy as np

        texts = [_ngrams(words(s.text), self.n) for s in samples]
        return np.array([(len(text) - len(set(text)), len(text)) for text in texts], float).reshape(-1, 2)

    def value(self, total: Floats) -> Floats:
        """Repeated n-grams over n-grams."""
        return ratio(total[..., 0], total[..., 1])


class SelfBleu(MeanMetric):
    """Mean BLEU, 0..100, of each output against all others as references (Zhu et al. 2018): high where they are alike.

    sacrebleu's sentence BLEU with its tokenizer 13a, at the cost of one pass over the corpus. The interval takes the
    others as given. One output alone has no value.

    Args:
        order: The longest n-grams.
    """

    name = "self_bleu"
    unit = "0-100"
    higher_is_better = False

    def __init__(self, order: int = 4) -> None:
        from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

        self.order = _order(order)
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
        """BLEU of each output against the others."""
        from sacrebleu.metrics.bleu import BLEU

        if len(samples) < 2:
            return [float("nan")] * len(samples)
        texts = [self._tokenize(s.text.rstrip()).split() for s in samples]
        counts = [Counter(g for n in range(self.order) for g in _ngrams(text, n + 1)) for text in texts]
        most = _two_highest(counts)
        lengths = sorted(map(len, texts))
        scores = []
        for text, own in zip(texts, counts, strict=True):
            hits, totals = [0] * self.order, [max(0, len(text) - n) for n in range(self.order)]
            for ngram, count in own.items():
                first, second = most[ngram]
                hits[len(ngram) - 1] += min(count, second if count == first else first)
            closest = _closest(lengths, len(text))
            found = BLEU.compute_bleu(hits, totals, len(text), closest, "exp", None, True, self.order)
            scores.append(float(found.score))
        return scores


def _order(n: int) -> int:
    if n < 1:
        raise ConfigurationError(f"n-grams have 1 word or more; got {n}.")
    return n


def _ngrams(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(text[k:] for k in range(n)), strict=False))


def _two_highest(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int]]:
    """The highest count of each n-gram in any text, and the highest in any other text."""
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for own in counts:
        for ngram, count in own.items():
            first, second = found.get(ngram, (0, 0))
            found[ngram] = (count, first) if count > first else (first, max(second, count))
    return found


def _closest(lengths: Sequence[int], own: int) -> int:
    """The other text's length that is nearest to one's own; of two the shorter."""
    at = bisect_left(lengths, own)
    others = [*lengths[max(0, at - 1) : at], *lengths[at + 1 : at + 2]]
    return min(others, key=lambda length: (abs(length - own), length))

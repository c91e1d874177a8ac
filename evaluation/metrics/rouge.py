"""ROUGE (Lin 2004) with the numbers of the package rouge-score, by a faster way.

The longest common subsequence comes from bit vectors (Hyyrö 2004): one addition of long integers does a whole row of
the usual table. Row i is an integer whose bit j is 0 where the length rises from column j to column j + 1, so that a
length in the table is a count of zeros.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, get_args

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample

RougeType = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]
RougeMeasure = Literal["f", "precision", "recall"]

_TOKEN = re.compile(r"[a-z0-9]+")
_UNSTEMMED = 3
"""Words up to this length keep their end, as in rouge-score."""


class Rouge(MeanMetric):
    """Mean ROUGE of the outputs, 0..1; of several references the one with the best F counts. An empty text scores 0.

    Words are runs of a to z and 0 to 9, so that texts in other alphabets have none and score 0, as in rouge-score.

    Args:
        kind: `rouge1` and `rouge2` share words and pairs of words; `rougeL` the longest common subsequence of the
            texts; `rougeLsum` that of their lines, taken together.
        of: The F-score, precision or recall.
        stem: Whether words are cut to their stems (Porter 1980); needs nltk.
    """

    higher_is_better = True
    needs = ("output", "reference")

    def __init__(self, kind: RougeType = "rougeL", *, of: RougeMeasure = "f", stem: bool = False) -> None:
        for option, came, taken in (("kind", kind, get_args(RougeType)), ("of", of, get_args(RougeMeasure))):
            if came not in taken:
                raise ConfigurationError(f"{option} is one of {', '.join(taken)}; got {came!r}.")
        self.kind, self.of, self.stem = kind, of, stem
        self.name = kind if of == "f" else f"{kind}_{of}"
        self._stem = _stemmer() if stem else None

    @property
    def options(self) -> Mapping[str, object]:
        """Which kind, and how words are found."""
        return {"tok": "a-z0-9", "stem": "porter" if self.stem else "no", "refs": "best-f", "rouge-score": "0.1.2"}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """The score of each output."""
        measure, found = _KINDS[self.kind], []
        for sample in samples:
            output = self._lines(sample.text)
            best = max(
                (_rates(*measure(self._lines(r), output)) for r in sample.references), key=lambda rates: rates[0]
            )
            found.append(best[get_args(RougeMeasure).index(self.of)])
        return found

    def _lines(self, text: str) -> list[list[str]]:
        """The words; of the lines for `rougeLsum`, else of all."""
        lines = text.split("\n") if self.kind == "rougeLsum" else [text]
        words = [_TOKEN.findall(line.lower()) for line in lines]
        stem = self._stem
        return words if stem is None else [[stem(w) for w in line] for line in words]


def _rates(hits: int, reference: int, output: int) -> tuple[float, float, float]:
    """F, precision and recall."""
    precision, recall = hits / max(output, 1), hits / max(reference, 1)
    return (2 * precision * recall / (precision + recall) if hits else 0.0), precision, recall


def _ngrams(n: int, reference: list[list[str]], output: list[list[str]]) -> tuple[int, int, int]:
    theirs, ours = (list(zip(*(words[0][k:] for k in range(n)), strict=False)) for words in (reference, output))
    counts = Counter(ours)
    hits = sum(min(count, counts[ngram]) for ngram, count in Counter(theirs).items() if ngram in counts)
    return hits, len(theirs), len(ours)


def _subsequence(reference: list[list[str]], output: list[list[str]]) -> tuple[int, int, int]:
    theirs, ours = reference[0], output[0]
    rows = _rows(theirs, _where(ours), len(ours))
    return len(ours) - rows[-1].bit_count(), len(theirs), len(ours)


def _summary(reference: list[list[str]], output: list[list[str]]) -> tuple[int, int, int]:
    """Words of the union of each reference line's subsequences with the output's lines, each word counted once."""
    left = Counter(word for line in reference for word in line), Counter(word for line in output for word in line)
    totals = left[0].total(), left[1].total()
    wheres = [_where(line) for line in output]
    hits = 0
    for line in reference:
        places: set[int] = set()
        for other, where in zip(output, wheres, strict=True):
            places.update(_places(line, other, where))
        for word in (line[place] for place in sorted(places)):
            if left[0][word] > 0 and left[1][word] > 0:
                hits += 1
                left[0][word] -= 1
                left[1][word] -= 1
    return hits, *totals


def _where(output: Sequence[str]) -> dict[str, int]:
    """Where each word stands, as bits; the first word is the lowest."""
    where: dict[str, int] = {}
    for place, word in enumerate(output):
        where[word] = where.get(word, 0) | 1 << place
    return where


def _rows(reference: Sequence[str], where: Mapping[str, int], columns: int) -> list[int]:
    """The bit vectors of the table's rows, from the empty reference on; column 1 is the lowest bit."""
    row = full = (1 << columns) - 1
    rows = [full]
    for word in reference:
        if word in where:
            met = row & where[word]
            row = (row + met | row - met) & full
        rows.append(row)
    return rows


def _places(reference: Sequence[str], output: Sequence[str], where: Mapping[str, int]) -> list[int]:
    """The reference's words in one longest common subsequence; of several the one that rouge-score takes."""
    met = [place for place, word in enumerate(reference) if word in where]
    if len(met) < 2:
        return met
    rows = _rows([reference[place] for place in met], where, len(output))
    places: list[int] = []
    i, j = len(met), len(output)
    length = j - rows[i].bit_count()
    while length:
        if reference[met[i - 1]] == output[j - 1]:
            i, j, length = i - 1, j - 1, length - 1
            places.append(met[i])
        elif j - (rows[i - 1] & (1 << j) - 1).bit_count() < length:
            j -= 1
        else:
            i -= 1
    return places


def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer

    porter = PorterStemmer()
    return lru_cache(maxsize=50_000)(lambda word: word if len(word) <= _UNSTEMMED else porter.stem(word))


_KINDS: Mapping[RougeType, Callable[[list[list[str]], list[list[str]]], tuple[int, int, int]]] = {
    "rouge1": lambda reference, output: _ngrams(1, reference, output),
    "rouge2": lambda reference, output: _ngrams(2, reference, output),
    "rougeL": _subsequence,
    "rougeLsum": _summary,
}

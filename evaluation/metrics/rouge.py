"""ROUGE (Lin 2004), with the same values as the package rouge-score, but faster.

The longest common subsequence is computed with bit vectors (Hyyrö 2004): one addition of long integers does a whole row
of the dynamic-programming table. A row is an integer whose bit j is 0 where the length rises from column j to column
j + 1, so that a length in the table is a count of zeros.
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
RougeComponent = Literal["f", "precision", "recall"]

Lines = list[list[str]]
"""The words of a text by line; `rougeLsum` alone splits a text into lines."""

_TOKEN = re.compile(r"[a-z0-9]+")
_MAX_UNSTEMMED = 3
"""Words up to this length are not stemmed, as in rouge-score."""


class Rouge(MeanMetric):
    """The mean ROUGE of outputs, 0..1; of several references the one with the best F-score counts.

    An empty output scores 0. As in rouge-score, words are runs of the letters a to z and digits: texts in other
    alphabets have none and score 0.

    Args:
        kind: `rouge1` and `rouge2` compare words and pairs of words; `rougeL` uses the longest common subsequence of
            the texts, `rougeLsum` those of their lines.
        component: F-score, precision or recall.
        stem: Whether to stem words (Porter 1980); needs nltk.
    """

    higher_is_better = True
    needs = ("output", "reference")

    def __init__(self, kind: RougeType = "rougeL", *, component: RougeComponent = "f", stem: bool = False) -> None:
        for option, value, allowed in (
            ("kind", kind, get_args(RougeType)),
            ("component", component, get_args(RougeComponent)),
        ):
            if value not in allowed:
                raise ConfigurationError(f"{option} must be one of {', '.join(allowed)}; got {value!r}.")
        self.kind, self.component, self.stem = kind, component, stem
        self.name = kind if component == "f" else f"{kind}_{component}"
        self._stem_word = _stemmer() if stem else None

    @property
    def options(self) -> Mapping[str, object]:
        """The tokenizer, and the version of rouge-score whose values are given."""
        return {"tok": "a-z0-9", "stem": "porter" if self.stem else "no", "refs": "best-f", "rouge-score": "0.1.2"}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the score of each output."""
        count_matches, index = _MATCH_COUNTERS[self.kind], get_args(RougeComponent).index(self.component)
        scores = []
        for sample in samples:
            output = self._tokenize(sample.text)
            by_reference = (_scores(*count_matches(self._tokenize(r), output)) for r in sample.references)
            best = max(by_reference, key=lambda f_precision_recall: f_precision_recall[0])
            scores.append(best[index])
        return scores

    def _tokenize(self, text: str) -> Lines:
        texts = text.split("\n") if self.kind == "rougeLsum" else [text]
        lines = [_TOKEN.findall(line.lower()) for line in texts]
        stem_word = self._stem_word
        return lines if stem_word is None else [[stem_word(word) for word in line] for line in lines]


def _scores(matches: int, reference_length: int, output_length: int) -> tuple[float, float, float]:
    """Compute F-score, precision and recall."""
    precision, recall = matches / max(output_length, 1), matches / max(reference_length, 1)
    return (2 * precision * recall / (precision + recall) if matches else 0.0), precision, recall


def _match_ngrams(n: int, reference: Lines, output: Lines) -> tuple[int, int, int]:
    """Count matches, n-grams of the reference, and n-grams of the output."""
    reference_ngrams, output_ngrams = (
        list(zip(*(lines[0][k:] for k in range(n)), strict=False)) for lines in (reference, output)
    )
    counts = Counter(output_ngrams)
    matches = sum(min(count, counts[ngram]) for ngram, count in Counter(reference_ngrams).items() if ngram in counts)
    return matches, len(reference_ngrams), len(output_ngrams)


def _match_subsequence(reference: Lines, output: Lines) -> tuple[int, int, int]:
    """Count the words of the longest common subsequence, of the reference, and of the output."""
    rows = _lcs_rows(reference[0], _word_positions(output[0]), len(output[0]))
    return len(output[0]) - rows[-1].bit_count(), len(reference[0]), len(output[0])


def _match_summary(reference: Lines, output: Lines) -> tuple[int, int, int]:
    """Count the words in the union of each reference line's subsequences with all output lines, each word once.

    The other two numbers are the words of the reference and of the output.
    """
    unmatched_reference = Counter(word for line in reference for word in line)
    unmatched_output = Counter(word for line in output for word in line)
    totals = unmatched_reference.total(), unmatched_output.total()
    positions_by_line = [_word_positions(line) for line in output]
    matches = 0
    for reference_line in reference:
        union: set[int] = set()
        for output_line, positions in zip(output, positions_by_line, strict=True):
            union.update(_lcs_indices(reference_line, output_line, positions))
        for word in (reference_line[index] for index in sorted(union)):
            if unmatched_reference[word] > 0 and unmatched_output[word] > 0:
                matches += 1
                unmatched_reference[word] -= 1
                unmatched_output[word] -= 1
    return matches, *totals


def _word_positions(words: Sequence[str]) -> dict[str, int]:
    """Return the positions of each word as a bit vector; the lowest bit is the first position."""
    positions: dict[str, int] = {}
    for index, word in enumerate(words):
        positions[word] = positions.get(word, 0) | 1 << index
    return positions


def _lcs_rows(reference: Sequence[str], output_positions: Mapping[str, int], columns: int) -> list[int]:
    """Return the rows of the table as bit vectors, from the empty reference on; the lowest bit is column 1."""
    row = full = (1 << columns) - 1
    rows = [full]
    for word in reference:
        if word in output_positions:
            # Hyyrö's V' = (V + (V & M)) | (V & ~M); V - (V & M) is V & ~M.
            matches = row & output_positions[word]
            row = (row + matches | row - matches) & full
        rows.append(row)
    return rows


def _lcs_indices(reference: Sequence[str], output: Sequence[str], output_positions: Mapping[str, int]) -> list[int]:
    """Return the reference's indices in the longest common subsequence; of several, the one rouge-score takes."""
    # Words that the output lacks cannot be in a subsequence; without them the table is smaller.
    candidates = [index for index, word in enumerate(reference) if word in output_positions]
    if len(candidates) < 2:
        return candidates
    rows = _lcs_rows([reference[index] for index in candidates], output_positions, len(output))
    indices: list[int] = []
    i, j = len(candidates), len(output)
    length = j - rows[i].bit_count()
    # As in rouge-score, the reference's last word is dropped rather than the output's if both keep the length.
    while length:
        if reference[candidates[i - 1]] == output[j - 1]:
            i, j, length = i - 1, j - 1, length - 1
            indices.append(candidates[i])
        elif j - (rows[i - 1] & (1 << j) - 1).bit_count() < length:
            j -= 1
        else:
            i -= 1
    return indices


def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer

    porter = PorterStemmer()
    return lru_cache(maxsize=50_000)(lambda word: word if len(word) <= _MAX_UNSTEMMED else porter.stem(word))


_MATCH_COUNTERS: Mapping[RougeType, Callable[[Lines, Lines], tuple[int, int, int]]] = {
    "rouge1": lambda reference, output: _match_ngrams(1, reference, output),
    "rouge2": lambda reference, output: _match_ngrams(2, reference, output),
    "rougeL": _match_subsequence,
    "rougeLsum": _match_summary,
}

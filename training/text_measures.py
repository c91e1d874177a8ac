"""Measures of generated texts: repetition, variety, and runs that are copied from other texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from taleward.evaluation.metrics import metric
from taleward.evaluation.sample import as_samples


def repetition(words: Sequence[str], size: int = 4) -> float:
    """Return the share of a text's word n-grams that are repeated, 0..1; 0 for texts shorter than `size`."""
    ngrams = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


class CopyDetector:
    """Find the longest run of words that is copied from a set of texts.

    Args:
        texts: The words of each text, from `words_of`.
    """

    _SIZE = 6

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        self._ngram_hashes: set[int] = set()
        joined_texts = []
        for words in texts:
            joined_texts.append(f" {' '.join(words)} \n")
            self._ngram_hashes.update(self._hashes(words))
        self._text = "".join(joined_texts)

    def _hashes(self, words: Sequence[str]) -> list[int]:
        return [hash(tuple(words[i : i + self._SIZE])) for i in range(len(words) - self._SIZE + 1)]

    def longest_copy(self, words: Sequence[str]) -> int:
        """Return the length, in words, of the longest run of `words` that is in one of the texts."""
        # A run is searched for only if the hashes of all its n-grams are known; a collision costs one search.
        known = [h in self._ngram_hashes for h in self._hashes(words)] + [True] * (self._SIZE - 1)
        best, start = 0, 0
        while start + best < len(words):
            end = start + best + 1
            may_be_copied = end - start < self._SIZE or all(known[start : end - self._SIZE + 1])
            if may_be_copied and f" {' '.join(words[start:end])} " in self._text:
                best += 1
            else:
                start += 1
        return best


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower())


def distinct(texts: Sequence[Sequence[str]], size: int = 2) -> float:
    """Return the share of distinct word n-grams over all texts, 0..1 (Li et al. 2016, arXiv 1510.03055)."""
    ngrams = [tuple(words[i : i + size]) for words in texts for i in range(len(words) - size + 1)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def self_bleu(texts: Sequence[str]) -> float:
    """Return the mean BLEU of each text against the others, 0..100 (Zhu et al. 2018, arXiv 1802.01886)."""
    result = metric("self_bleu").score(as_samples([{"output": text} for text in texts]), resamples=2)
    return float(result.value or 0.0)

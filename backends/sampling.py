"""Choosing the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


_FEW = 256


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: 0 takes the likeliest token; above, logits are divided by it.
        top_p: Nucleus (Holtzman et al. 2020, arXiv 1904.09751): the smallest set of tokens with at least this
            probability, above 0 up to 1.
        repetition_penalty: Divides positive and multiplies negative logits of tokens that were seen already
            (Keskar et al. 2019, arXiv 1909.05858); 1 leaves them.
        max_tokens: Tokens written at most.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_tokens: int = 400


class Sampler:
    """Chooses the tokens of one text.

    Args:
        sampling: How to draw.
        seed: The same seed draws the same from the same logits; `None` draws a seed.
        prompt: Tokens that are there already.
    """

    def __init__(self, sampling: Sampling, seed: int | None, prompt: Sequence[int]) -> None:
        import numpy

        self._sampling = sampling
        self._random = numpy.random.Generator(numpy.random.PCG64(seed))
        self._seen = set(prompt)
        self._penalised = numpy.array(sorted(self._seen), dtype=numpy.int64)

    def choose(self, logits: npt.NDArray[np.float32]) -> int:
        """The next token's number, by one number for each token of the vocabulary, shape (vocabulary,)."""
        import numpy

        token = int(self._scores(logits).argmax()) if self._sampling.temperature == 0 else self._drawn(logits)
        if token not in self._seen:
            self._seen.add(token)
            if self._sampling.repetition_penalty != 1.0:
                self._penalised = numpy.append(self._penalised, token)
        return token

    def _scores(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        import numpy

        scores = logits.astype(numpy.float64)
        penalty = self._sampling.repetition_penalty
        if penalty != 1.0:
            old = scores[self._penalised]
            scores[self._penalised] = numpy.where(old > 0, old / penalty, old * penalty)
        return scores

    def _drawn(self, logits: npt.NDArray[np.float32]) -> int:
        import numpy

        scores = self._scores(logits)
        chances = numpy.exp((scores - scores.max()) / self._sampling.temperature)
        drawn, top_p, total = self._random.random(), self._sampling.top_p, float(chances.sum())
        if top_p >= 1.0:
            return _at(chances.cumsum(), drawn * total)
        few = min(_FEW, len(chances))
        for count in (few, len(chances)):
            # The likeliest ones in order; the nucleus hardly ever needs more than a few.
            likeliest = numpy.argpartition(-chances, count - 1)[:count]
            likeliest = likeliest[numpy.lexsort((likeliest, -chances[likeliest]))]
            cumulated = chances[likeliest].cumsum()
            if cumulated[-1] >= top_p * total or count == len(chances):
                break
        # The nucleus ends with the first token at which it holds top_p.
        end = min(int(numpy.searchsorted(cumulated, top_p * total)), len(likeliest) - 1)
        return int(likeliest[_at(cumulated[: end + 1], drawn * cumulated[end])])


def _at(cumulated: npt.NDArray[np.float64], place: float) -> int:
    import numpy

    return min(int(numpy.searchsorted(cumulated, place, side="right")), len(cumulated) - 1)

"""Choosing the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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


def generator(seed: int | None) -> np.random.Generator:
    """Where randomness comes from: the same for the same seed; `None` draws a seed."""
    import numpy

    return numpy.random.Generator(numpy.random.PCG64(seed))


def choose(
    logits: npt.NDArray[np.float32], seen: Sequence[int], sampling: Sampling, random: np.random.Generator
) -> int:
    """The next token's number.

    Args:
        logits: One number a token of the vocabulary, shape (vocabulary,).
        seen: Tokens so far, prompt included.
        sampling: How to draw.
        random: Where randomness comes from; not used at temperature 0.
    """
    import numpy

    scores = logits.astype(numpy.float64)
    if sampling.repetition_penalty != 1.0 and seen:
        index = numpy.unique(numpy.asarray(seen))
        old = scores[index]
        scores[index] = numpy.where(old > 0, old / sampling.repetition_penalty, old * sampling.repetition_penalty)
    if sampling.temperature == 0:
        return int(scores.argmax())
    scores = (scores - scores.max()) / sampling.temperature
    order = numpy.argsort(-scores, kind="stable")
    cumulated = numpy.exp(scores[order]).cumsum()
    cumulated /= cumulated[-1]
    # The nucleus ends with the first token at which it holds top_p.
    size = int(numpy.searchsorted(cumulated, sampling.top_p)) + 1 if sampling.top_p < 1.0 else len(order)
    drawn = random.random() * cumulated[size - 1]
    return int(order[min(int(numpy.searchsorted(cumulated, drawn, side="right")), size - 1)])

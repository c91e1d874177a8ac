"""Choosing the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


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


def choose(logits: Tensor, seen: Sequence[int], sampling: Sampling, generator: Generator) -> int:
    """The next token's number.

    Args:
        logits: One number a token of the vocabulary, shape (vocabulary,).
        seen: Tokens so far, prompt included.
        sampling: How to draw.
        generator: Where randomness comes from; not used at temperature 0.
    """
    import torch

    scores = logits.float().clone()
    if sampling.repetition_penalty != 1.0 and seen:
        index = torch.tensor(sorted(set(seen)), device=scores.device)
        old = scores[index]
        scores[index] = torch.where(old > 0, old / sampling.repetition_penalty, old * sampling.repetition_penalty)
    if sampling.temperature == 0:
        return int(scores.argmax())
    probabilities = torch.softmax(scores / sampling.temperature, -1).cpu()
    if sampling.top_p < 1.0:
        ordered, order = probabilities.sort(descending=True)
        beyond = ordered.cumsum(0) - ordered >= sampling.top_p
        probabilities[order[beyond]] = 0.0
    return int(torch.multinomial(probabilities, 1, generator=generator))

"""Decide between given answers by their probabilities, read from a model's logits without generating text.

Guard models answer with one of a few words, and their model cards define the score as the softmax over those words at
the position where the answer begins (ShieldGemma, arXiv 2407.21772; Llama Guard 3, arXiv 2407.21783).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from taleward.backends.local.language_model import LanguageModel
from taleward.core.errors import BackendError, ContextTooLong

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class AnswerProbabilities(NamedTuple):
    """The probabilities of several answers.

    Attributes:
        probabilities: The probability of each answer, in the order of the choices; their sum is 1.
        mass: The total probability of the choices among all texts, 0..1. Near 0, the model would have said something
            else.
    """

    probabilities: tuple[float, ...]
    mass: float


def decide(model: LanguageModel, prompts: Sequence[Sequence[int]], choices: Sequence[str]) -> list[AnswerProbabilities]:
    """Decide for each prompt between the same choices; see `decide_each`."""
    return decide_each(model, prompts, [choices] * len(prompts))


def decide_each(
    model: LanguageModel, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[str]]
) -> list[AnswerProbabilities]:
    """Decide for each prompt between its choices. The tokens that all prompts begin with are processed once.

    The probability of an answer of several tokens is the product of theirs. The text to judge, which the prompts of one
    judgment share, so costs one forward pass, and each question about it a short one.

    Args:
        model: A causal language model.
        prompts: The tokens of one or more prompts, none empty.
        choices: For each prompt two or more answers, none of which is a prefix of another.

    Returns:
        One decision per prompt, in order.

    Raises:
        ValueError: If there are no prompts, a prompt is empty, or choices are fewer than two or prefixes of each other.
        BackendError: If the model's logits are not finite numbers.
        ContextTooLong: If prompt and answer are longer than the model's context.
    """
    answers = [[model.encode(choice) for choice in prompt_choices] for prompt_choices in choices]
    is_ambiguous = any(len(tokens) < 2 or _has_prefix_of_another(tokens) for tokens in answers)
    if not prompts or not all(prompts) or is_ambiguous:
        msg = (
            "a decision needs non-empty prompts, and two or more choices of which none is a prefix of another; got "
            f"{len(prompts)} prompts of {[len(prompt) for prompt in prompts]} tokens and the choices "
            f"{[list(prompt_choices) for prompt_choices in choices]}"
        )
        raise ValueError(msg)
    longest = max(len(prompt) + max(map(len, tokens)) for prompt, tokens in zip(prompts, answers, strict=True))
    if longest > model.context_length:
        raise ContextTooLong(
            f"text, question and answer have {longest} tokens; the model's context is {model.context_length}.",
            hint="Shorten the text or split it, or use a model with a longer context.",
        )
    columns = zip(*prompts, strict=False)
    shared_length = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    if any(len(prompt) == shared_length for prompt in prompts):
        shared_length -= 1  # each prompt needs at least one token of its own, whose forward pass gives its logits
    cache = model.step(prompts[0][:shared_length])[1] if shared_length and len(prompts) > 1 else None
    own_tokens = [prompt[shared_length:] if cache is not None else prompt for prompt in prompts]
    return [
        _decision(_next_token_logprobs(model, tokens, cache), prompt_answers)
        for tokens, prompt_answers in zip(own_tokens, answers, strict=True)
    ]


def _next_token_logprobs(
    model: LanguageModel, prompt: Sequence[int], shared_cache: Any
) -> Callable[[tuple[int, ...]], Floats]:
    """A function from the first tokens of an answer to the next token's log-probabilities, shape (vocabulary,)."""
    logits, cache = model.step(prompt, shared_cache)
    known: dict[tuple[int, ...], Floats] = {(): _log_softmax(logits)}

    def logprobs_after(prefix: tuple[int, ...]) -> Floats:
        if prefix not in known:
            known[prefix] = _log_softmax(model.step(prefix, cache)[0])
        return known[prefix]

    return logprobs_after


def _decision(
    logprobs_after: Callable[[tuple[int, ...]], Floats], answers: Sequence[Sequence[int]]
) -> AnswerProbabilities:
    import numpy

    # Products of many probabilities underflow, so they are sums of logarithms, shifted by the largest.
    logprobs = numpy.array(
        [sum(float(logprobs_after(tuple(answer[:i]))[token]) for i, token in enumerate(answer)) for answer in answers]
    )
    probabilities = numpy.exp(logprobs - logprobs.max())
    probabilities /= probabilities.sum()
    mass = min(1.0, float(numpy.exp(logprobs).sum()))
    return AnswerProbabilities(tuple(float(probability) for probability in probabilities), mass)


def _log_softmax(logits: npt.NDArray[np.float32]) -> Floats:
    import numpy

    with numpy.errstate(invalid="ignore"):
        shifted = logits.astype(numpy.float64) - float(logits.max())
    log_softmax: Floats = shifted - numpy.log(numpy.exp(shifted).sum())
    if numpy.isnan(log_softmax).any():
        raise BackendError(
            "the model's logits are not numbers.",
            hint="Its weights may be damaged, or overflow in its dtype.",
        )
    return log_softmax


def _has_prefix_of_another(answers: Sequence[Sequence[int]]) -> bool:
    return any(i != j and list(b[: len(a)]) == list(a) for i, a in enumerate(answers) for j, b in enumerate(answers))

"""Decisions: which of several answers a model would give, read from its logits without writing any.

Guard models answer with one of a few words, and their cards define the score as the softmax over those words at the
position where the answer begins (ShieldGemma, arXiv 2407.21772; Llama Guard 3, arXiv 2407.21783).
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
    """A model's choice among several answers.

    Attributes:
        probabilities: One number for each answer, in their order; together 1.
        mass: What the answers have together of the probability of all texts, 0..1. Near 0 the model would have
            said something else.
    """

    probabilities: tuple[float, ...]
    mass: float


def decide(model: LanguageModel, prompts: Sequence[Sequence[int]], choices: Sequence[str]) -> list[AnswerProbabilities]:
    """A decision for each prompt among the same choices; see `decide_each`."""
    return decide_each(model, prompts, [choices] * len(prompts))


def decide_each(
    model: LanguageModel, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[str]]
) -> list[AnswerProbabilities]:
    """A decision for each prompt; the tokens that all prompts begin with are read once.

    An answer of several tokens has the product of their probabilities. The text to judge, which the prompts of one
    judgement share, so costs one forward pass, and each question about it a short one.

    Args:
        model: A causal language model.
        prompts: Tokens of one prompt or more, none empty.
        choices: For each prompt two answers or more, none of which begins another.

    Returns:
        One decision a prompt, in their order.

    Raises:
        ValueError: There are no prompts, fewer than two choices, or one choice begins another.
        BackendError: The model's logits are not numbers.
        ContextTooLong: A prompt is longer than the model reads.
    """
    answers = [[model.encode(choice) for choice in some] for some in choices]
    if not prompts or not all(prompts) or any(len(some) < 2 or _one_begins_another(some) for some in answers):
        msg = (
            f"a decision needs prompts and two choices or more of which none begins another; got {len(prompts)} "
            f"prompts with {[len(p) for p in prompts]} tokens and the choices {[list(some) for some in choices]}"
        )
        raise ValueError(msg)
    most = max(len(prompt) + max(map(len, some)) for prompt, some in zip(prompts, answers, strict=True))
    if most > model.context_length:
        raise ContextTooLong(
            f"text, question and answer have {most} tokens; the model reads {model.context_length}.",
            hint="Shorten the text or ask about its parts, or take a model with a longer context.",
        )
    columns = zip(*prompts, strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    if any(len(prompt) == shared for prompt in prompts):
        shared -= 1  # each prompt ends with a step of its own, which brings its logits
    cache = model.step(prompts[0][:shared])[1] if shared and len(prompts) > 1 else None
    own = [prompt[shared:] if cache is not None else prompt for prompt in prompts]
    return [_decision(_reader(model, p, cache), some) for p, some in zip(own, answers, strict=True)]


def _reader(model: LanguageModel, question: Sequence[int], shared: Any) -> Callable[[tuple[int, ...]], Floats]:
    """A function from the first tokens of an answer to the log-probabilities of its next token, shape (vocabulary,)."""
    logits, cache = model.step(question, shared)
    known: dict[tuple[int, ...], Floats] = {(): _log_softmax(logits)}

    def read(begun: tuple[int, ...]) -> Floats:
        if begun not in known:
            known[begun] = _log_softmax(model.step(begun, cache)[0])
        return known[begun]

    return read


def _decision(read: Callable[[tuple[int, ...]], Floats], answers: Sequence[Sequence[int]]) -> AnswerProbabilities:
    import numpy

    logs = numpy.array(
        [sum(float(read(tuple(answer[:i]))[token]) for i, token in enumerate(answer)) for answer in answers]
    )
    chances = numpy.exp(logs - logs.max())
    chances /= chances.sum()
    return AnswerProbabilities(tuple(float(c) for c in chances), min(1.0, float(numpy.exp(logs).sum())))


def _log_softmax(logits: npt.NDArray[np.float32]) -> Floats:
    import numpy

    with numpy.errstate(invalid="ignore"):
        shifted = logits.astype(numpy.float64) - float(logits.max())
    log_softmax: Floats = shifted - numpy.log(numpy.exp(shifted).sum())
    if numpy.isnan(log_softmax).any():
        raise BackendError(
            "the model's logits are not numbers.", hint="Its weights are damaged, or its number format is too small."
        )
    return log_softmax


def _one_begins_another(answers: Sequence[Sequence[int]]) -> bool:
    return any(i != j and list(b[: len(a)]) == list(a) for i, a in enumerate(answers) for j, b in enumerate(answers))

"""Token sampling: temperature, top-k, nucleus, repetition penalty, n-gram blocking, grammars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

from taleward.core.errors import BackendError, ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from taleward.backends.engine.grammar import GrammarMatcher


_NUCLEUS_GUESS = 256
"""Number of most likely tokens in which to look for the nucleus first; real models seldom need more."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are sampled.

    Attributes:
        temperature: Logits are divided by it; 0 always takes the most likely token.
        top_p: Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751): sample from the smallest set of tokens with at
            least this probability, above 0 and up to 1.
        top_k: Sample only from this many of the most likely tokens; 0 does not limit them.
        repetition_penalty: Divides positive and multiplies negative logits of tokens that are already in the text
            (Keskar et al. 2019, arXiv 1909.05858); 1 leaves them unchanged.
        no_repeat_ngram_size: No sequence of this many tokens occurs twice, the prompt included; 0 does not limit them.
            Ignored if the text follows a grammar.
        max_tokens: Maximum number of tokens to generate.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    max_tokens: int = 400

    def __post_init__(self) -> None:
        for name, (number_type, is_valid, expected) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, number_type) or not is_valid(value):
                raise ConfigurationError(f"{name} must be {expected}; got {value!r}.")


_RANGES: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "temperature": (Real, lambda v: v >= 0, "a number, 0 or more"),
    "top_p": (Real, lambda v: 0 < v <= 1, "a number above 0 and up to 1"),
    "top_k": (Integral, lambda v: v >= 0, "an integer, 0 or more"),
    "repetition_penalty": (Real, lambda v: v > 0, "a number above 0"),
    "no_repeat_ngram_size": (Integral, lambda v: v >= 0, "an integer, 0 or more"),
    "max_tokens": (Integral, lambda v: v >= 1, "an integer, 1 or more"),
}


class TokenLogprob(NamedTuple):
    """A generated token's log-probability under the model, before temperature, penalties and grammar.

    Attributes:
        token: Token id.
        logprob: Natural logarithm of its probability.
        top_logprobs: Token ids and log-probabilities of the most likely tokens at its position, most likely first.
    """

    token: int
    logprob: float
    top_logprobs: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Samples the tokens of one sequence.

    Args:
        sampling: How tokens are sampled.
        seed: Equal seeds sample equal tokens from equal logits; `None` picks a random seed.
        prompt: Tokens of the prompt.
        matcher: The grammar's state; `None` if the text follows no grammar.
        top_logprobs: How many of the most likely tokens to report with each token's log-probability; `None` reports
            no log-probabilities.

    Attributes:
        logprobs: One per sampled token, if `top_logprobs` is not `None`.
    """

    def __init__(
        self,
        sampling: Sampling,
        seed: int | None,
        prompt: Sequence[int],
        matcher: GrammarMatcher | None = None,
        top_logprobs: int | None = None,
    ) -> None:
        import numpy

        self.logprobs: list[TokenLogprob] = []
        self._sampling, self._matcher, self._top_logprobs = sampling, matcher, top_logprobs
        self._random = numpy.random.Generator(numpy.random.PCG64(seed))
        self._seen = set(prompt)
        self._penalized = numpy.array(sorted(self._seen), dtype=numpy.int64)
        # A grammar may have no other token to offer than the one that completes a repeated n-gram.
        self._ngram_size = sampling.no_repeat_ngram_size if matcher is None else 0
        self._prefix: list[int] = []
        self._followers: dict[tuple[int, ...], list[int]] = {}
        for token in prompt if self._ngram_size else ():
            self._record_ngram(token)

    @property
    def complete(self) -> bool:
        """Whether the text is complete, because the grammar accepts no further token."""
        return self._matcher is not None and self._matcher.complete

    def choose(self, logits: npt.NDArray[np.float32], remaining: int) -> int:
        """Sample the next token.

        Args:
            logits: Next-token logits, shape (vocabulary,).
            remaining: How many tokens may still be generated, this one included.

        Returns:
            The token id.

        Raises:
            BackendError: If the logits are not finite numbers.
        """
        import numpy

        # NaN and +inf carry over to the maximum, so one check covers all logits; -inf is how models rule out a token.
        if not numpy.isfinite(logits.max()):
            raise BackendError(
                "the model's logits are not finite numbers.",
                hint="Its weights may be damaged, or its dtype too narrow: try float32.",
            )
        allowed = logits if self._matcher is None else numpy.where(self._matcher.allowed(), logits, -numpy.inf)
        token = self._sample(allowed) if self._sampling.temperature else self._argmax(allowed)
        if self._matcher is not None:
            token = self._matcher.accept(token, remaining)
        if self._top_logprobs is not None:
            # From the logits as the model gave them: what callers compare must not depend on sampling options.
            self.logprobs.append(token_logprob(logits, token, self._top_logprobs))
        if self._ngram_size:
            self._record_ngram(token)
        if token not in self._seen:
            self._seen.add(token)
            if self._sampling.repetition_penalty != 1.0:
                self._penalized = numpy.append(self._penalized, token)
        return token

    def _record_ngram(self, token: int) -> None:
        """Record that a token followed the last `no_repeat_ngram_size - 1` tokens."""
        if len(self._prefix) == self._ngram_size - 1:
            self._followers.setdefault(tuple(self._prefix), []).append(token)
        self._prefix = [*self._prefix, token][1 - self._ngram_size :] if self._ngram_size > 1 else []

    def _argmax(self, logits: npt.NDArray[np.float32]) -> int:
        unchanged = self._sampling.repetition_penalty == 1.0 and not self._ngram_size
        return int(logits.argmax() if unchanged else self._penalized_logits(logits).argmax())

    def _penalized_logits(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        import numpy

        # float64: a float32 cumulative sum over a large vocabulary drops the tail of the distribution.
        penalized = logits.astype(numpy.float64)
        penalty = self._sampling.repetition_penalty
        if penalty != 1.0:
            seen = penalized[self._penalized]
            penalized[self._penalized] = numpy.where(seen > 0, seen / penalty, seen * penalty)
        if banned := self._followers.get(tuple(self._prefix)):
            penalized[banned] = -numpy.inf
        return penalized

    def _sample(self, logits: npt.NDArray[np.float32]) -> int:
        import numpy

        penalized = self._penalized_logits(logits)
        # One random number per token, whatever the options: changing top_p or top_k does not shift the seed's sequence.
        random, top_p = self._random.random(), self._sampling.top_p
        # Select before taking exponentials: for 152,000 tokens the selection takes 0.15 ms, all exponentials 2.6 ms.
        top_k = _largest(penalized, self._sampling.top_k) if self._sampling.top_k else None
        if top_k is not None:
            penalized = penalized[top_k]
        weights = numpy.exp((penalized - penalized.max()) / self._sampling.temperature)
        index = _sample_nucleus(weights, random, top_p)
        return index if top_k is None else int(top_k[index])


def _sample_nucleus(weights: npt.NDArray[np.float64], random: float, top_p: float) -> int:
    """Sample an index from the nucleus.

    Args:
        weights: Probabilities up to a common factor, shape (tokens,).
        random: A random number from 0 to 1.
        top_p: Probability of the nucleus.
    """
    total = float(weights.sum())
    if top_p >= 1.0:
        return _index_at(weights.cumsum(), random * total)
    count = _NUCLEUS_GUESS
    while True:
        # Sorting a few tokens, and more only if they do not hold the nucleus, beats sorting the whole vocabulary.
        likeliest = _by_value(weights, _largest(weights, count))
        cumulative = weights[likeliest].cumsum()
        if cumulative[-1] >= top_p * total or len(likeliest) == len(weights):
            break
        count *= 16
    # The nucleus includes the token that reaches top_p, so it is never empty.
    end = min(int(cumulative.searchsorted(top_p * total)), len(likeliest) - 1)
    return int(likeliest[_index_at(cumulative[: end + 1], random * cumulative[end])])


def _largest(values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Return the indices of the `count` largest values and of all values equal to the smallest of them, unsorted."""
    import numpy

    indices = numpy.arange(len(values))
    if count >= len(values):
        return indices
    width = len(values) // (4 * count)
    if width > 1:
        # `count` blocks have a maximum of at least this bound, so every smaller value is out. One pass over the
        # vocabulary leaves few candidates to partition.
        block_maxima = values[: len(values) // width * width].reshape(-1, width).max(axis=1)
        indices = numpy.flatnonzero(values >= numpy.partition(block_maxima, -count)[-count])
    candidates = values[indices]
    # Ties at the cut are all kept: which of them a partition returns depends on numpy's version and the CPU.
    largest: npt.NDArray[np.intp] = indices[candidates >= numpy.partition(candidates, -count)[-count]]
    return largest


def _by_value(values: npt.NDArray[np.float64], indices: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Sort indices by their values, largest first; ties by index, so that equal seeds give equal texts everywhere."""
    by_value: npt.NDArray[np.intp] = indices[(-values[indices]).argsort(kind="stable")]
    return by_value


def token_logprob(logits: npt.NDArray[np.float32], token: int, top_logprobs: int) -> TokenLogprob:
    """Compute a token's log-probability, and those of the `top_logprobs` most likely tokens, from next-token logits."""
    import numpy

    logprobs = logits.astype(numpy.float64)
    logprobs -= logprobs.max()
    logprobs -= numpy.log(numpy.exp(logprobs).sum())
    top = _by_value(logprobs, _largest(logprobs, top_logprobs))[:top_logprobs] if top_logprobs else ()
    return TokenLogprob(token, float(logprobs[token]), tuple((int(i), float(logprobs[i])) for i in top))


def _index_at(cumulative: npt.NDArray[np.float64], value: float) -> int:
    import numpy

    # Rounding can put the value at the very end of the last interval, one past the last index.
    return min(int(numpy.searchsorted(cumulative, value, side="right")), len(cumulative) - 1)

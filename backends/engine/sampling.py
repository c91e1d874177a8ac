"""Choosing the next token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

from taleward.core.errors import BackendError, ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from taleward.backends.engine.grammar import Matcher


_FEW = 256


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: 0 takes the likeliest token; above, logits are divided by it.
        top_p: Nucleus (Holtzman et al. 2020, arXiv 1904.09751): the smallest set of tokens with at least this
            probability, above 0 up to 1.
        top_k: Only this many of the likeliest tokens are drawn; 0 leaves all.
        repetition_penalty: Divides positive and multiplies negative logits of tokens that were seen already
            (Keskar et al. 2019, arXiv 1909.05858); 1 leaves them.
        no_repeat_ngram_size: So many tokens in a row never come twice, those of the prompt counted; 0 lets them. A text
            that follows a grammar is free of it.
        max_tokens: Tokens written at most.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    max_tokens: int = 400

    def __post_init__(self) -> None:
        for name, (kind, taken, words) in _TAKEN.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind) or not taken(value):
                raise ConfigurationError(f"{name} is {words}; got {value!r}.")


_TAKEN: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "temperature": (Real, lambda v: v >= 0, "a number from 0"),
    "top_p": (Real, lambda v: 0 < v <= 1, "a number above 0 up to 1"),
    "top_k": (Integral, lambda v: v >= 0, "a whole number from 0"),
    "repetition_penalty": (Real, lambda v: v > 0, "a number above 0"),
    "no_repeat_ngram_size": (Integral, lambda v: v >= 0, "a whole number from 0"),
    "max_tokens": (Integral, lambda v: v >= 1, "a whole number from 1"),
}


class Score(NamedTuple):
    """What the model itself thought of a token, before temperature, penalties and grammar.

    Attributes:
        token: Its number.
        logprob: The natural logarithm of its probability.
        likeliest: Numbers and log-probabilities of the likeliest tokens at its place, the likeliest first.
    """

    token: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Chooses the tokens of one text.

    Args:
        sampling: How to draw.
        seed: The same seed draws the same from the same logits; `None` draws a seed.
        prompt: Tokens that are there already.
        matcher: The grammar's state, where the text must follow one.
        logprobs: How many of the likeliest tokens are scored beside the one chosen; `None` scores none.
    """

    def __init__(
        self,
        sampling: Sampling,
        seed: int | None,
        prompt: Sequence[int],
        matcher: Matcher | None = None,
        logprobs: int | None = None,
    ) -> None:
        import numpy

        self.scores: list[Score] = []
        self._sampling, self._matcher, self._logprobs = sampling, matcher, logprobs
        self._random = numpy.random.Generator(numpy.random.PCG64(seed))
        self._seen = set(prompt)
        self._penalised = numpy.array(sorted(self._seen), dtype=numpy.int64)
        self._size = sampling.no_repeat_ngram_size if matcher is None else 0
        self._last: list[int] = []
        self._behind: dict[tuple[int, ...], list[int]] = {}
        for token in prompt if self._size else ():
            self._note(token)

    @property
    def complete(self) -> bool:
        """Whether the grammar takes no further token."""
        return self._matcher is not None and self._matcher.complete

    def choose(self, logits: npt.NDArray[np.float32], left: int) -> int:
        """The next token's number.

        Args:
            logits: One number for each token of the vocabulary, shape (vocabulary,).
            left: How many tokens may be written, this one included.

        Raises:
            BackendError: The logits are not numbers.
        """
        import numpy

        if not numpy.isfinite(logits.max()):
            raise BackendError(
                "the model's logits are not numbers.",
                hint="Its weights are damaged, or its number format is too small.",
            )
        allowed = logits if self._matcher is None else numpy.where(self._matcher.allowed(), logits, -numpy.inf)
        token = self._drawn(allowed) if self._sampling.temperature else self._likeliest(allowed)
        if self._matcher is not None:
            token = self._matcher.take(token, left)
        if self._logprobs is not None:
            self.scores.append(score(logits, token, self._logprobs))
        if self._size:
            self._note(token)
        if token not in self._seen:
            self._seen.add(token)
            if self._sampling.repetition_penalty != 1.0:
                self._penalised = numpy.append(self._penalised, token)
        return token

    def _note(self, token: int) -> None:
        """Remember which token came behind the ones before it."""
        if len(self._last) == self._size - 1:
            self._behind.setdefault(tuple(self._last), []).append(token)
        self._last = [*self._last, token][1 - self._size :] if self._size > 1 else []

    def _likeliest(self, logits: npt.NDArray[np.float32]) -> int:
        plain = self._sampling.repetition_penalty == 1.0 and not self._size
        return int(logits.argmax() if plain else self._scores(logits).argmax())

    def _scores(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        import numpy

        scores = logits.astype(numpy.float64)
        penalty = self._sampling.repetition_penalty
        if penalty != 1.0:
            old = scores[self._penalised]
            scores[self._penalised] = numpy.where(old > 0, old / penalty, old * penalty)
        if banned := self._behind.get(tuple(self._last)):
            scores[banned] = -numpy.inf
        return scores

    def _drawn(self, logits: npt.NDArray[np.float32]) -> int:
        import numpy

        scores = self._scores(logits)
        drawn, top_p = self._random.random(), self._sampling.top_p
        # With top_k, only those few are looked at: exponentials of a large vocabulary take their time.
        kept = _largest(scores, self._sampling.top_k) if self._sampling.top_k else None
        if kept is not None:
            scores = scores[kept]
        chances = numpy.exp((scores - scores.max()) / self._sampling.temperature)
        place = _drawn(chances, drawn, top_p)
        return place if kept is None else int(kept[place])


def _drawn(chances: npt.NDArray[np.float64], drawn: float, top_p: float) -> int:
    """A place, drawn from the smallest set of the likeliest that holds `top_p`; chances need not sum to one."""
    total = float(chances.sum())
    if top_p >= 1.0:
        return _at(chances.cumsum(), drawn * total)
    count = _FEW
    while True:
        # The likeliest ones in order; the nucleus hardly ever needs more than a few.
        likeliest = _ordered(chances, _largest(chances, count))
        cumulated = chances[likeliest].cumsum()
        if cumulated[-1] >= top_p * total or len(likeliest) == len(chances):
            break
        count *= 16
    # The nucleus ends with the first token at which it holds top_p.
    end = min(int(cumulated.searchsorted(top_p * total)), len(likeliest) - 1)
    return int(likeliest[_at(cumulated[: end + 1], drawn * cumulated[end])])


def _largest(values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Places of so many of the largest values, and of all that equal the last of them."""
    import numpy

    places = numpy.arange(len(values))
    if count >= len(values):
        return places
    width = len(values) // (4 * count)
    if width > 1:
        # So many stretches have a value from this one up: all others are too small, and looking is faster than sorting.
        tops = values[: len(values) // width * width].reshape(-1, width).max(axis=1)
        places = numpy.flatnonzero(values >= numpy.partition(tops, -count)[-count])
    few = values[places]
    kept: npt.NDArray[np.intp] = places[few >= numpy.partition(few, -count)[-count]]
    return kept


def _ordered(values: npt.NDArray[np.float64], places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Places by their values, the largest first, ties by place."""
    ordered: npt.NDArray[np.intp] = places[(-values[places]).argsort(kind="stable")]
    return ordered


def score(logits: npt.NDArray[np.float32], token: int, likeliest: int) -> Score:
    """The log-probability of a token, and of as many of the likeliest."""
    import numpy

    exact = logits.astype(numpy.float64)
    exact -= exact.max()
    exact -= numpy.log(numpy.exp(exact).sum())
    top = _ordered(exact, _largest(exact, likeliest))[:likeliest] if likeliest else ()
    return Score(token, float(exact[token]), tuple((int(i), float(exact[i])) for i in top))


def _at(cumulated: npt.NDArray[np.float64], place: float) -> int:
    import numpy

    return min(int(numpy.searchsorted(cumulated, place, side="right")), len(cumulated) - 1)

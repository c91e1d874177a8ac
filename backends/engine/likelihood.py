"""How likely a model finds texts: the log-probability of each token behind those before it.

The convention: a text's tokens stand behind the token that begins a text (where a model has none, the one that ends it,
as in EleutherAI's evaluation harness), so that every token of the text is scored, and nothing behind its end is. A text
longer than the context is read in windows: the first one scores all its tokens; each further one moves on by `stride`
tokens and scores those alone, each behind at least `context - stride` tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from taleward.core.errors import BackendError, ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LONGEST = 2048
"""Tokens of a window where no context is given and the model would take more."""


class Window(NamedTuple):
    """Tokens that are read together.

    Attributes:
        tokens: Two or more.
        scored: How many of the last ones are scored; at least one, and not the first.
    """

    tokens: Sequence[int]
    scored: int


class TokenScores(NamedTuple):
    """What a model expects of tokens.

    Attributes:
        logprobs: Natural logarithm of each scored token's probability, shape (tokens,).
        best: Whether each was the most likely one, shape (tokens,).
    """

    logprobs: npt.NDArray[np.float64]
    best: npt.NDArray[np.bool_]


class TextScores(NamedTuple):
    """What a model expects of a text.

    Attributes:
        logprobs: See `TokenScores`.
        best: See `TokenScores`.
        characters: Characters of the text that the scored tokens stand for.
    """

    logprobs: npt.NDArray[np.float64]
    best: npt.NDArray[np.bool_]
    characters: int


class Reads(Protocol):
    """A model that scores tokens."""

    context_length: int

    @property
    def start(self) -> int | None:
        """The token before a text."""

    def encode(self, text: str) -> list[int]:
        """A text's tokens."""

    def read(self, windows: Sequence[Window]) -> list[TokenScores]:
        """The scores of each window."""


def likelihood(
    model: Reads, texts: Sequence[str], *, context: int | None = None, stride: int | None = None
) -> list[TextScores]:
    """The scores of every token of each text; an empty text has none.

    Args:
        model: A local model.
        texts: Any texts.
        context: Tokens of a window, the beginning one included; `window_of` says what it is where it is not given.
        stride: Tokens by which windows move on; half of the context where it is not given.

    Raises:
        BackendError: The model's logits are not numbers.
        ConfigurationError: Context or stride are out of their range.
    """
    import numpy as np

    context, stride = window_of(model.context_length, context, stride)
    tokens = [[*([] if model.start is None else [model.start]), *model.encode(text)] for text in texts]
    windows = [list(_windows(ids, context, stride)) for ids in tokens]
    found = iter(model.read([window for mine in windows for window in mine]))
    scores = []
    for text, mine in zip(texts, windows, strict=True):
        parts = [next(found) for _ in mine]
        logprobs = np.concatenate([np.empty(0), *(p.logprobs for p in parts)])
        if not np.isfinite(logprobs).all():
            raise BackendError(
                "the model's logits are not numbers: its weights are broken, or too large for its dtype."
            )
        best = np.concatenate([np.empty(0, bool), *(p.best for p in parts)])
        scores.append(TextScores(logprobs, best, len(text)))
    return scores


def window_of(most: int, context: int | None, stride: int | None) -> tuple[int, int]:
    """The context and stride that `likelihood` goes by, for a model that takes `most` tokens.

    Raises:
        ConfigurationError: They are out of their range.
    """
    context = min(most, LONGEST) if context is None else context
    if not 2 <= context <= most:
        raise ConfigurationError(f"context is 2 to {most} tokens for this model; got {context}.")
    stride = context // 2 if stride is None else stride
    if not 1 <= stride < context:
        raise ConfigurationError(f"stride is 1 to {context - 1} tokens for a context of {context}; got {stride}.")
    return context, stride


def groups(windows: Sequence[Window], tokens: int) -> Iterator[list[int]]:
    """Positions of windows of like length that together have so many tokens at most, padding included; one at least."""
    group: list[int] = []
    for at in sorted(range(len(windows)), key=lambda n: len(windows[n].tokens)):
        if group and len(windows[at].tokens) * (len(group) + 1) > tokens:
            yield group
            group = []
        group.append(at)
    if group:
        yield group


def in_groups(
    windows: Sequence[Window],
    tokens: int,
    read: Callable[[list[Window]], list[TokenScores]],
    mapped: Callable[[Callable[[list[int]], Any], Iterator[list[int]]], Any] = map,
) -> list[TokenScores]:
    """What `read` gives for groups of windows, in the order of the windows."""
    found: dict[int, TokenScores] = {}

    def one(group: list[int]) -> None:
        found.update(zip(group, read([windows[at] for at in group]), strict=True))

    for _ in mapped(one, groups(windows, tokens)):
        pass
    return [found[at] for at in range(len(windows))]


def _windows(ids: Sequence[int], context: int, stride: int) -> Iterator[Window]:
    if len(ids) < 2:
        return
    end = min(context, len(ids))
    yield Window(ids[:end], end - 1)
    while end < len(ids):
        after = min(end + stride, len(ids))
        yield Window(ids[max(0, after - context) : after], after - end)
        end = after

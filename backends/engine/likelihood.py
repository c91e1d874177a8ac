"""Token likelihoods of texts under a language model, for perplexity and similar metrics.

Each text follows the token that begins a text (or, if the model has none, its end token, as in EleutherAI's LM
Evaluation Harness), so every token of the text is scored; no end token is scored. A text longer than the context is
scored in windows: the first scores all its tokens; each further one moves on by `stride` tokens and scores only those,
each given at least `context - stride` tokens before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from taleward.core.errors import BackendError, ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DEFAULT_MAX_CONTEXT = 2048
"""Maximum number of tokens in a window if you give no `context`, even if the model's context is longer.

A window's logits take context times vocabulary times 4 bytes: 1.2 GB for 2,048 tokens of a vocabulary of 152,000.
"""


class ScoringWindow(NamedTuple):
    """Tokens that go through the model together.

    Attributes:
        tokens: Token ids, at least two.
        scored: How many of the last ones are scored: at least one, and never the first token, which has none before it.
    """

    tokens: Sequence[int]
    scored: int


class TokenScores(NamedTuple):
    """Scores of a window's tokens.

    Attributes:
        logprobs: Natural logarithm of each scored token's probability, shape (tokens,).
        best: Whether each token was the most likely one, shape (tokens,).
    """

    logprobs: npt.NDArray[np.float64]
    best: npt.NDArray[np.bool_]


class TextScores(NamedTuple):
    """Scores of a text's tokens.

    Attributes:
        logprobs: See `TokenScores`.
        best: See `TokenScores`.
        characters: Number of characters that the scored tokens cover.
    """

    logprobs: npt.NDArray[np.float64]
    best: npt.NDArray[np.bool_]
    characters: int


class ScoringModel(Protocol):
    """A model that scores tokens."""

    context_length: int

    @property
    def start(self) -> int | None:
        """The token that goes before a text, or `None`."""

    def encode(self, text: str) -> list[int]:
        """Tokenize a text."""

    def read(self, windows: Sequence[ScoringWindow]) -> list[TokenScores]:
        """Score the tokens of each window."""


def likelihood(
    model: ScoringModel, texts: Sequence[str], *, context: int | None = None, stride: int | None = None
) -> list[TextScores]:
    """Score every token of each text; an empty text has no scores.

    Args:
        model: A local model.
        texts: The texts.
        context: Number of tokens in a window, the start token included; see `window_of` for the default.
        stride: Number of tokens by which windows move on; defaults to half of the context.

    Raises:
        BackendError: If the model's logits are not finite numbers.
        ConfigurationError: If the context or the stride is out of range.
    """
    import numpy as np

    context, stride = window_of(model.context_length, context, stride)
    tokens = [[*([] if model.start is None else [model.start]), *model.encode(text)] for text in texts]
    windows_by_text = [list(_windows(ids, context, stride)) for ids in tokens]
    # All windows in one call: the model batches those of similar length, whatever texts they come from.
    window_scores = iter(model.read([window for windows in windows_by_text for window in windows]))
    scores = []
    for text, windows in zip(texts, windows_by_text, strict=True):
        parts = [next(window_scores) for _ in windows]
        # The empty arrays give an empty text a result of the right type.
        logprobs = np.concatenate([np.empty(0), *(part.logprobs for part in parts)])
        if not np.isfinite(logprobs).all():
            raise BackendError(
                "the model's logits are not finite numbers.",
                hint="Its weights may be damaged, or its dtype too narrow: try float32.",
            )
        best = np.concatenate([np.empty(0, bool), *(part.best for part in parts)])
        scores.append(TextScores(logprobs, best, len(text)))
    return scores


def window_of(context_length: int, context: int | None, stride: int | None) -> tuple[int, int]:
    """Check a context and a stride, and fill in their defaults.

    Args:
        context_length: The model's context length in tokens.
        context: Number of tokens in a window; defaults to `context_length`, but at most `DEFAULT_MAX_CONTEXT`.
        stride: Number of tokens by which windows move on; defaults to half of the context.

    Raises:
        ConfigurationError: If one of them is out of range.
    """
    context = min(context_length, DEFAULT_MAX_CONTEXT) if context is None else context
    if not 2 <= context <= context_length:
        raise ConfigurationError(f"context must be 2 to {context_length} tokens for this model; got {context}.")
    # Half the context reads each token twice, and gives it at least half a window before it.
    stride = context // 2 if stride is None else stride
    if not 1 <= stride < context:
        raise ConfigurationError(f"stride must be 1 to {context - 1} tokens for a context of {context}; got {stride}.")
    return context, stride


def score_in_batches(
    windows: Sequence[ScoringWindow],
    max_tokens: int,
    score: Callable[[list[ScoringWindow]], list[TokenScores]],
    map_batches: Callable[[Callable[[list[int]], Any], Iterator[list[int]]], Any] = map,
) -> list[TokenScores]:
    """Score windows in batches of similar length, and return the scores in the order of the windows.

    Args:
        windows: The windows.
        max_tokens: Maximum number of tokens in a batch, padding included; a longer window is scored alone.
        score: Scores one batch.
        map_batches: A function like `map`; pass an executor's to score batches in parallel.
    """
    scores: dict[int, TokenScores] = {}

    def score_batch(batch: list[int]) -> None:
        scores.update(zip(batch, score([windows[index] for index in batch]), strict=True))

    for _ in map_batches(score_batch, _batches_by_length(windows, max_tokens)):
        pass
    return [scores[index] for index in range(len(windows))]


def _batches_by_length(windows: Sequence[ScoringWindow], max_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of each batch, shortest windows first."""
    batch: list[int] = []
    for index in sorted(range(len(windows)), key=lambda n: len(windows[n].tokens)):
        # In order of length, the newest window is the longest: all others are padded to it.
        if batch and len(windows[index].tokens) * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _windows(ids: Sequence[int], context: int, stride: int) -> Iterator[ScoringWindow]:
    if len(ids) < 2:
        return
    end = min(context, len(ids))
    yield ScoringWindow(ids[:end], end - 1)
    while end < len(ids):
        next_end = min(end + stride, len(ids))
        # The last window is as long as the others, not a short rest: its tokens deserve as much context.
        yield ScoringWindow(ids[max(0, next_end - context) : next_end], next_end - end)
        end = next_end

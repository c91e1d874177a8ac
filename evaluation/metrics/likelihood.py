"""Likelihood of outputs under a language model: perplexity, bits per character, next-token accuracy.

Texts longer than the model's context are scored in windows, see `taleward.backends.engine.likelihood`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from taleward.backends.chat_models import chat_model
from taleward.backends.engine.likelihood import TextScores, window_of
from taleward.backends.hosted.build_chat import echo_likelihood
from taleward.backends.local.chat import LocalChat
from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import Metric, ratio
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from taleward.evaluation.metrics.base import Floats

_NATS, _TOKENS, _CHARACTERS, _TOP_TOKENS = range(4)
"""The columns of the statistics."""


class Likelihood(Metric):
    """The base class of metrics that score outputs with a language model.

    Each output is scored on its own, from its first token. An empty output has no tokens and no value.

    Args:
        model: A model spec, or a chat model: either a local one, or `openai:NAME` with a server that returns the
            log-probabilities of a prompt.
        context: Tokens per window; only for local models.
        stride: Tokens from one window to the next; only for local models.

    Raises:
        ConfigurationError: If the model cannot score texts, or `context` or `stride` is out of range.
    """

    def __init__(
        self,
        model: str | BaseChatModel = "embedded:storyteller",
        *,
        context: int | None = None,
        stride: int | None = None,
    ) -> None:
        self.model = chat_model(model)
        self.context, self.stride = context, stride
        if isinstance(self.model, LocalChat):
            self.context, self.stride = window_of(self.model.context_length, context, stride)
        elif context is not None or stride is not None:
            raise ConfigurationError(
                "context and stride are only for local models; a server scores a whole text.",
                hint="Leave them out.",
            )
        elif not hasattr(self.model, "root_client"):
            raise ConfigurationError(
                f"a {type(self.model).__name__} cannot score the likelihood of a text.",
                hint="Use a local model, such as 'embedded:storyteller', or chat_model('openai:NAME', base_url=...) "
                "with a server that returns the log-probabilities of a prompt, as vLLM does.",
            )

    @property
    def options(self) -> Mapping[str, object]:
        """The model and its windows."""
        spec = getattr(self.model, "spec", None) or getattr(self.model, "model_name", type(self.model).__name__)
        windows = {} if self.context is None else {"context": self.context, "stride": self.stride}
        precision = getattr(self.model, "precision", None)
        return {"model": spec, **({"precision": precision} if precision else {}), **windows}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Return the negative log-likelihood in nats, tokens, characters, and tokens that were the most likely ones."""
        import numpy as np

        texts = tuple(sample.text for sample in samples)
        return np.array(_score_texts(_ModelKey(self.model), texts, self.context, self.stride), float).reshape(-1, 4)


class Perplexity(Likelihood):
    """The exponential of the mean negative log-likelihood per token; it depends on the model's tokenizer.

    See `Likelihood` for the arguments.
    """

    name = "perplexity"
    higher_is_better = False

    def value(self, total: Floats) -> Floats:
        """Compute the perplexity from summed statistics."""
        import numpy as np

        perplexity: Floats = np.exp(ratio(total[..., _NATS], total[..., _TOKENS]))
        return perplexity


class BitsPerCharacter(Likelihood):
    """The negative log-likelihood in bits per character; it can be compared across tokenizers.

    See `Likelihood` for the arguments.
    """

    name = "bits_per_character"
    unit = "bits"
    higher_is_better = False

    def value(self, total: Floats) -> Floats:
        """Compute the bits per character from summed statistics."""
        return ratio(total[..., _NATS], total[..., _CHARACTERS] * math.log(2))


class NextTokenAccuracy(Likelihood):
    """The share of tokens that the model would have predicted itself. See `Likelihood` for the arguments."""

    name = "next_token_accuracy"
    unit = "share"
    higher_is_better = True

    def value(self, total: Floats) -> Floats:
        """Compute the share from summed statistics."""
        return ratio(total[..., _TOP_TOKENS], total[..., _TOKENS])


class _ModelKey:
    """A hashable wrapper, so that a chat model can be a cache key; equal models have equal class and settings."""

    def __init__(self, model: BaseChatModel) -> None:
        self.model = model

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ModelKey) and (self.model is other.model or self.model == other.model)

    def __hash__(self) -> int:
        # Chat models are not hashable; those of one type are told apart by `__eq__`.
        return hash(type(self.model))


# The three metrics of one evaluation score the same texts, so the last result is kept.
@lru_cache(maxsize=1)
def _score_texts(
    key: _ModelKey, texts: tuple[str, ...], context: int | None, stride: int | None
) -> list[tuple[float, int, int, int]]:
    if isinstance(key.model, LocalChat):
        scores: list[TextScores] = key.model.likelihood(texts, context=context, stride=stride)
    else:
        scores = echo_likelihood(key.model, texts)
    return [(-float(s.logprobs.sum()), len(s.logprobs), s.characters, int(s.best.sum())) for s in scores]

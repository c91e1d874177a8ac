"""How likely a language model finds the outputs: perplexity, bits a character, next-token accuracy.

Long texts are read in the windows of `taleward.backends.engine.likelihood`. One reading serves all three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from taleward.backends.chat_models import chat_model
from taleward.backends.engine.likelihood import TextScores, window_of
from taleward.backends.hosted.openai import echo_likelihood
from taleward.backends.local.chat import LocalChat
from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import Metric, ratio
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from taleward.evaluation.metrics.base import Floats

_NATS, _TOKENS, _CHARACTERS, _BEST = range(4)


class Likelihood(Metric):
    """What a model expects of the outputs, each read from its beginning. An empty text has no tokens and no value.

    Args:
        model: A spec, or a chat model: one that runs here, or `openai:NAME` behind a server that gives the
            log-probabilities of a prompt.
        context: Tokens of a window, for local models.
        stride: Tokens by which windows move on, for local models.

    Raises:
        ConfigurationError: The model cannot say how likely a text is, or context or stride are out of their range.
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
            raise ConfigurationError("context and stride are for local models; a server reads a text whole.")
        elif not hasattr(self.model, "root_client"):
            raise ConfigurationError(
                f"a {type(self.model).__name__} does not say how likely it finds a text.",
                hint="Take a local model, such as 'embedded:storyteller', or chat_model('openai:NAME', base_url=...) "
                "whose server gives the log-probabilities of a prompt, as vLLM does.",
            )

    @property
    def options(self) -> Mapping[str, object]:
        """The model and its windows."""
        spec = getattr(self.model, "spec", None) or getattr(self.model, "model_name", type(self.model).__name__)
        windows = {} if self.context is None else {"context": self.context, "stride": self.stride}
        precision = getattr(self.model, "precision", None)
        return {"model": spec, **({"precision": precision} if precision else {}), **windows}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Nats, tokens, characters, and tokens that were the most likely ones."""
        import numpy as np

        model = _ById(self.model)
        return np.array(_read(model, tuple(s.text for s in samples), self.context, self.stride), float).reshape(-1, 4)


class Perplexity(Likelihood):
    """Exponential of the mean negative log-likelihood of a token; depends on the model's tokenizer.

    See `Likelihood` for the arguments.
    """

    name = "perplexity"
    higher_is_better = False

    def value(self, total: Floats) -> Floats:
        """Perplexity of summed statistics."""
        import numpy as np

        found: Floats = np.exp(ratio(total[..., _NATS], total[..., _TOKENS]))
        return found


class BitsPerCharacter(Likelihood):
    """Negative log-likelihood in bits by characters; comparable across tokenizers.

    See `Likelihood` for the arguments.
    """

    name = "bits_per_character"
    unit = "bits"
    higher_is_better = False

    def value(self, total: Floats) -> Floats:
        """Bits a character of summed statistics."""
        return ratio(total[..., _NATS], total[..., _CHARACTERS] * math.log(2))


class NextTokenAccuracy(Likelihood):
    """Share of the tokens that the model would have written itself. See `Likelihood` for the arguments."""

    name = "next_token_accuracy"
    unit = "share"
    higher_is_better = True

    def value(self, total: Floats) -> Floats:
        """The share, of summed statistics."""
        return ratio(total[..., _BEST], total[..., _TOKENS])


class _ById:
    """A model that a cache can tell from others: two of one class and settings are one."""

    def __init__(self, model: BaseChatModel) -> None:
        self.model = model

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and (self.model is other.model or self.model == other.model)

    def __hash__(self) -> int:
        return hash(type(self.model))


@lru_cache(maxsize=1)
def _read(
    model: _ById, texts: tuple[str, ...], context: int | None, stride: int | None
) -> list[tuple[float, int, int, int]]:
    if isinstance(model.model, LocalChat):
        found: list[TextScores] = model.model.likelihood(texts, context=context, stride=stride)
    else:
        found = echo_likelihood(model.model, texts)
    return [(-float(f.logprobs.sum()), len(f.logprobs), f.characters, int(f.best.sum())) for f in found]

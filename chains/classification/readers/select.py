"""Which reader a classifier's model gets."""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from taleward.backends.chat_models import chat_model
from taleward.backends.embedding_models import embeddings
from taleward.chains.classification.chain import Reader
from taleward.chains.classification.readers.embeddings import VectorReader
from taleward.chains.classification.readers.entailment import EntailmentReader
from taleward.chains.classification.readers.generated import OPENAI, AnswerReader
from taleward.chains.classification.readers.logits import LogitsReader
from taleward.chains.model_kind import family, is_local, name_of
from taleward.chains.task import LabelTask
from taleward.core.errors import ConfigurationError

By = Literal["auto", "probabilities", "constrained", "text"]
"""How a language model answers: by the labels' log-probabilities, which `auto` takes where the model runs here, and
which OpenAI's client can be asked for too (models that reason refuse); by words that are held to the labels, as `auto`
otherwise; or by words that are only read strictly."""
_WAYS = ("auto", "probabilities", "constrained", "text")


def reader(
    model: str | BaseChatModel | Embeddings,
    task: LabelTask,
    *,
    by: By,
    multi_label: bool,
    calibrate: bool,
    abstains: bool,
    options: dict[str, Any],
) -> Reader:
    """The reader for a model's family.

    Raises:
        ConfigurationError: The model is of no family that classifies, or cannot be asked this way.
    """
    if by not in _WAYS:
        raise ConfigurationError(f"by is one of {', '.join(_WAYS)}; got {by!r}.")
    kind, spec = family(model), name_of(model)
    if kind != "chat" and by != "auto":
        raise ConfigurationError(f"{spec} is no language model that writes; by={by!r} says how those answer.")
    if kind == "embeddings" and not isinstance(model, BaseChatModel):
        return VectorReader(embeddings(model, **options), spec, task, multi_label=multi_label)
    if kind == "classifier" and isinstance(model, str):
        return EntailmentReader(model, task, multi_label=multi_label, **options)
    if kind != "chat" or isinstance(model, Embeddings):
        raise ConfigurationError(
            f"{spec} turns texts into texts; it has no labels to choose from.",
            hint="Take embeddings, an NLI model, or a chat model. For summaries: taleward.Summarizer.",
        )
    chat = chat_model(model, **options)
    if is_local(chat) and by in ("auto", "probabilities"):
        return LogitsReader(chat, spec, task, multi_label=multi_label, calibrated=calibrate)
    scored = by == "probabilities"
    if scored and (multi_label or type(chat).__name__ not in OPENAI):
        what = "one label a text" if multi_label else "an hf:, embedded: or openai: model"
        raise ConfigurationError(
            f"the log-probabilities of {spec} cannot be had for this: it takes {what}.", hint="Leave by= out."
        )
    return AnswerReader(
        chat,
        spec,
        task,
        multi_label=multi_label,
        constrained=by != "text",
        abstains=abstains and not scored,
        scored=scored,
    )

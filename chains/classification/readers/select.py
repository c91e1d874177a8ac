"""Select the label reader for a model."""

from __future__ import annotations

from typing import Any, Literal, get_args

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from taleward.backends.capabilities import capabilities
from taleward.backends.chat_models import chat_model
from taleward.backends.embedding_models import embeddings
from taleward.chains.classification.label_chain import LabelReader
from taleward.chains.classification.readers.embeddings import EmbeddingLabelReader
from taleward.chains.classification.readers.entailment import EntailmentLabelReader
from taleward.chains.classification.readers.generated import GeneratedLabelReader
from taleward.chains.classification.readers.logits import LogitsLabelReader
from taleward.chains.model_kind import model_kind, model_name
from taleward.chains.task_definitions import LabelTask
from taleward.core.errors import ConfigurationError

AnswerMethod = Literal["auto", "probabilities", "constrained", "text"]
"""How a generative model answers:

* `probabilities`: by the log-probabilities of the labels. Works with models that run in this process and with OpenAI's
  clients (OpenAI's reasoning models refuse).
* `constrained`: by text that is constrained to the labels, if the model supports it.
* `text`: by unconstrained text, which is parsed strictly.
* `auto`: `probabilities` for models that run in this process, `constrained` for all others.
"""


def select_reader(
    model: str | BaseChatModel | Embeddings,
    task: LabelTask,
    *,
    by: AnswerMethod,
    multi_label: bool,
    calibrate: bool,
    abstains: bool,
    options: dict[str, Any],
) -> LabelReader:
    """Create the reader for a model's kind.

    Args:
        model: A spec or a model.
        task: The labels and the question.
        by: How a generative model answers.
        multi_label: Whether several labels may apply at once.
        calibrate: Whether to remove the model's bias from log-probabilities.
        abstains: Whether a model without scores may answer that no label fits.
        options: Options for the model.

    Raises:
        ConfigurationError: If this kind of model cannot classify, or cannot answer `by` this method.
    """
    methods = get_args(AnswerMethod)
    if by not in methods:
        raise ConfigurationError(f"by must be one of {', '.join(methods)}; got {by!r}.")
    kind, spec = model_kind(model), model_name(model)
    if kind != "chat" and by != "auto":
        raise ConfigurationError(f"by={by!r} applies to chat models only, and {spec} is not one.", hint="Omit by=.")
    if kind == "embeddings" and not isinstance(model, BaseChatModel):
        return EmbeddingLabelReader(embeddings(model, **options), spec, task, multi_label=multi_label)
    if kind == "classifier" and isinstance(model, str):
        return EntailmentLabelReader(model, task, multi_label=multi_label, **options)
    if kind != "chat" or isinstance(model, Embeddings):
        raise ConfigurationError(
            f"{spec} is an encoder-decoder model, which cannot classify.",
            hint="Use embeddings, an NLI model or a chat model. For summaries, use taleward.Summarizer.",
        )
    chat = chat_model(model, **options)
    if capabilities(chat).decisions and by in ("auto", "probabilities"):
        return LogitsLabelReader(chat, spec, task, multi_label=multi_label, calibrated=calibrate)
    scored = by == "probabilities"
    if scored and (multi_label or not capabilities(chat).logprobs):
        need = "one label per text" if multi_label else "an hf:, embedded: or openai: model"
        raise ConfigurationError(f"by='probabilities' with {spec} needs {need}.", hint="Omit by=.")
    return GeneratedLabelReader(
        chat,
        spec,
        task,
        multi_label=multi_label,
        constrained=by != "text",
        # With scores the threshold decides, so the model need not judge its own certainty.
        abstains=abstains and not scored,
        scored=scored,
    )

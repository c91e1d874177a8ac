"""Which family a model is of, and so which way a task goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from taleward.backends.base.spec import parse_spec
from taleward.backends.transformers.hub import model_config

if TYPE_CHECKING:
    from taleward.backends.local.language_model import LanguageModel

Family = Literal["chat", "embeddings", "classifier", "encoder-decoder"]
"""`chat`: decoders, which write (GPT, Llama, every hosted chat model). `embeddings`: encoders that give vectors
(MiniLM). `classifier`: encoders with a head of labels (BERT, DeBERTa, NLI cross-encoders). `encoder-decoder`: texts to
texts (T5, BART)."""
_WRITES = ("ForCausalLM", "LMHeadModel")


def family(model: str | BaseChatModel | Embeddings) -> Family:
    """The family of a model; that of an `hf:` spec stands in the model's `config.json`.

    Specs of other providers are taken for chat models: hand their embeddings in ready, from `taleward.embeddings`.

    Raises:
        ConfigurationError: The spec is none.
        BackendError: The model cannot be had.
    """
    if isinstance(model, Embeddings):
        return "embeddings"
    if isinstance(model, BaseChatModel):
        return "chat"
    spec = parse_spec(model)
    if spec.provider == "embedded":
        return "embeddings" if spec.model == "minilm" else "chat"
    if spec.provider != "hf":
        return "chat"
    config = model_config(spec.model)
    kinds = [str(kind) for kind in config.get("architectures") or ()]
    if any(kind.endswith("ForSequenceClassification") for kind in kinds):
        return "classifier"
    if config.get("is_encoder_decoder"):
        return "encoder-decoder"
    if not kinds or any(kind.endswith(_WRITES) for kind in kinds):
        return "chat"
    return "embeddings"


def name_of(model: str | BaseChatModel | Embeddings) -> str:
    """What a model is called in results."""
    if isinstance(model, str):
        return model
    spec = getattr(model, "spec", None)
    return spec if isinstance(spec, str) else type(model).__name__


def is_local(model: BaseChatModel) -> bool:
    """Whether a chat model runs in this process, so that its tokens and log-probabilities can be had."""
    from taleward.backends.local.chat import LocalChat

    return isinstance(model, LocalChat)


def loaded(model: BaseChatModel) -> LanguageModel | None:
    """The model behind a chat model that runs here; `None` for every other one."""
    if not is_local(model):
        return None
    found: Any = model._loaded  # type: ignore[attr-defined]
    return found  # type: ignore[no-any-return]

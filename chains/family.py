"""Which family a model is of, and so which way a task goes with it."""

from __future__ import annotations

from typing import Literal

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from taleward.backends.hub import model_config
from taleward.backends.spec import parse_spec

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

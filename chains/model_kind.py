"""Detect what kind of model a spec names: chat model, embeddings, classifier or encoder-decoder."""

from __future__ import annotations

from typing import Literal

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from taleward.backends.base.spec import parse_spec
from taleward.backends.transformers.hub_files import model_config

ModelKind = Literal["chat", "embeddings", "classifier", "encoder-decoder"]
"""The four kinds of models that the chains tell apart:

* `chat`: decoders, which generate text. GPT, Llama, Qwen and every hosted chat model; those that follow instructions
  and those that only continue a text.
* `embeddings`: encoders that turn a text into a vector. MiniLM, BGE, E5.
* `classifier`: encoders with a classification head. BERT and DeBERTa fine-tuned on labels or on NLI (entailment).
* `encoder-decoder`: models that turn one text into another. T5, BART, Pegasus.
"""
# "GPT2LMHeadModel" and its like predate the "ForCausalLM" of later architectures.
_DECODER_SUFFIXES = ("ForCausalLM", "LMHeadModel")


def model_kind(model: str | BaseChatModel | Embeddings) -> ModelKind:
    """Return the kind of a model.

    For an `hf:` spec the kind is read from the `architectures` in the model's `config.json`. Specs of other providers
    count as chat models; to use their embeddings, pass an object from `taleward.embeddings`.

    Raises:
        ConfigurationError: If the spec is not a valid `provider:model`.
        BackendError: If the model's `config.json` cannot be loaded.
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
    architectures = [str(architecture) for architecture in config.get("architectures") or ()]
    if any(architecture.endswith("ForSequenceClassification") for architecture in architectures):
        return "classifier"
    if config.get("is_encoder_decoder"):
        return "encoder-decoder"
    if not architectures or any(architecture.endswith(_DECODER_SUFFIXES) for architecture in architectures):
        return "chat"
    # Plain encoders ("BertModel", "BertForMaskedLM") have no head for a task, only vectors.
    return "embeddings"


def model_name(model: str | BaseChatModel | Embeddings) -> str:
    """Return the name of a model for results: its spec, or its class name if it has none."""
    if isinstance(model, str):
        return model
    spec = getattr(model, "spec", None)
    return spec if isinstance(spec, str) else type(model).__name__

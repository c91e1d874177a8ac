"""Access to the loaded model behind an `hf:` chat model, for its logits and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.base.shipped_models import is_embedded
from taleward.backends.local.chat import LocalChat

if TYPE_CHECKING:
    from taleward.backends.onnx.llama import HubLlama
    from taleward.backends.transformers.causal_lm import HubCausalLM

    HubModel = HubCausalLM | HubLlama


def runs_here(model: BaseChatModel) -> bool:
    """Whether this is an `hf:` chat model, whose logits and tokenizer are available in this process."""
    return isinstance(model, LocalChat) and not is_embedded(Path(model.path))


def local_model(model: BaseChatModel) -> HubModel | None:
    """Load and return the model behind an `hf:` chat model; `None` for any other chat model."""
    if not runs_here(model):
        return None
    loaded: Any = model._loaded  # type: ignore[attr-defined]
    return loaded  # type: ignore[no-any-return]

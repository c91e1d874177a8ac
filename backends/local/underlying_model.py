"""Access to the loaded model behind a chat model that runs in this process, for its logits and its tokenizer."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel

from taleward.backends.local.chat import LocalChat
from taleward.backends.local.language_model import LanguageModel


def loaded_model(model: BaseChatModel) -> LanguageModel | None:
    """Load and return the language model behind an `hf:` or `embedded:` chat model; `None` for any other model."""
    if not isinstance(model, LocalChat):
        return None
    language_model: LanguageModel = model._loaded
    return language_model

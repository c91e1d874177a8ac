"""Model specs: `provider:model`, LangChain's own convention."""

from __future__ import annotations

from typing import NamedTuple

from taleward.core.errors import ConfigurationError


class ModelSpec(NamedTuple):
    """A provider and the name of one of its models."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


def parse_spec(text: str) -> ModelSpec:
    """Split a spec at its first colon; the model name may contain further colons and slashes.

    Raises:
        ConfigurationError: If there is no colon, or the provider or the model is empty.
    """
    provider, colon, model = text.partition(":")
    if not colon or not provider.strip() or not model.strip():
        raise ConfigurationError(
            f"{text!r} is not a model spec; expected 'provider:model'.",
            hint="For example 'embedded:storyteller', 'hf:Qwen/Qwen3-0.6B' or 'openai:gpt-5-mini'.",
        )
    return ModelSpec(provider.strip(), model.strip())

"""Chat models by spec. A new backend is one function and one line in `PROVIDERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.base.embedded import embedded_path
from taleward.backends.base.options import made
from taleward.backends.base.spec import ModelSpec, parse_spec
from taleward.backends.hosted.openai import langchain_chat, openai_chat
from taleward.core.errors import ConfigurationError


def _embedded(spec: ModelSpec, **options: Any) -> BaseChatModel:
    if (other := _OTHERS.get(spec.model)) is not None:
        raise ConfigurationError(f"{spec} writes no text.", hint=f"{other}; the embedded writer is {_WRITER!r}.")
    return _local(spec, str(embedded_path(spec.model)), {"engine": "onnx", **options})


def _hf(spec: ModelSpec, **options: Any) -> BaseChatModel:
    return _local(spec, spec.model, options)


def _local(spec: ModelSpec, path: str, options: Mapping[str, Any]) -> BaseChatModel:
    from taleward.backends.local.chat import LocalChat

    hint = "What a call takes, such as stop, goes with the call, or by bind(): chat_model(...).bind(stop=['###'])."
    if "base_url" in options:
        hint = "base_url is for a server with OpenAI's API: name the model 'openai:NAME'."
    return made(LocalChat, str(spec), path, options, hint=hint)


_WRITER = "embedded:storyteller"
_OTHERS = {
    "judge": "Make a judge of it with taleward.judge('embedded:judge', policy='kids', band='6-8')",
    "minilm": "It embeds: taleward.embeddings('embedded:minilm')",
}

PROVIDERS: dict[str, Callable[..., BaseChatModel]] = {
    "embedded": _embedded,
    "hf": _hf,
    "openai": openai_chat,
}
"""Providers of our own; every other name goes to LangChain's `init_chat_model`."""


def chat_model(model: str | BaseChatModel, **options: Any) -> BaseChatModel:
    """The chat model behind a spec.

    Args:
        model: A spec such as `embedded:storyteller`, `hf:Qwen/Qwen3-0.6B` or `openai:gpt-5-mini`; or a LangChain
            chat model, which is given back as it is.
        options: For the model: `temperature`, `max_tokens`, `seed`, and `base_url` for `openai:`; all others are in
            `LocalChat` for a model that runs here, and in `openai_chat` for one behind an API.

    Raises:
        ConfigurationError: The spec is none, the provider or an option is unknown, a value is not taken, a library or a
            key is missing, or options came with a ready model.
    """
    if isinstance(model, BaseChatModel):
        if options:
            raise ConfigurationError(
                f"a ready {type(model).__name__} takes no options here; got {sorted(options)}.",
                hint="Set them where the model is made, or give a spec such as 'openai:gpt-5-mini'.",
            )
        return model
    spec = parse_spec(model)
    make: Callable[..., BaseChatModel] = PROVIDERS.get(spec.provider) or langchain_chat
    return make(spec, **options)

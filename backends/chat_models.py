"""Chat models by spec. To add a backend, write one function and add one line to `PROVIDERS`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.base.option_validation import build_model
from taleward.backends.base.shipped_models import embedded_path
from taleward.backends.base.spec import ModelSpec, parse_spec
from taleward.backends.hosted.build_chat import langchain_chat, openai_chat
from taleward.backends.hosted.chat import HostedChat
from taleward.backends.onnx.adapted_model import adapter_base, missing_base
from taleward.backends.transformers.gguf_header import find_gguf
from taleward.core.errors import ConfigurationError

_log = logging.getLogger(__name__)


def _embedded_chat(spec: ModelSpec, **options: Any) -> BaseChatModel:
    if (hint := _OTHER_EMBEDDED.get(spec.model)) is not None:
        raise ConfigurationError(
            f"{spec} does not generate text.", hint=f"{hint}; the embedded writer is {_EMBEDDED_WRITER!r}."
        )
    folder = embedded_path(spec.model)
    base = adapter_base(folder)
    if base is not None and base.path is None:
        if spec.model != "storyteller":
            raise missing_base(spec.model, base)
        _log.warning(
            "%s needs %s, which is not installed: %s tells a much simpler story instead. To install it, run: "
            "pip install %s",
            spec, base.name, _SMALL_WRITER, base.pip_args,
        )  # fmt: skip
        return _embedded_chat(parse_spec(_SMALL_WRITER), **options)
    # ONNX Runtime by default: an embedded model then needs neither torch nor transformers.
    defaults = {"engine": "onnx"} if base is None else {"engine": "onnx", "precision": "int8"}
    if options.get("engine", "onnx") != "onnx":
        defaults = {}
    return _local_chat(spec, str(folder), {**defaults, **options})


def _hub_chat(spec: ModelSpec, **options: Any) -> BaseChatModel:
    # A folder and the GGUF file in it are one model, which then is loaded once.
    return _local_chat(spec, str(find_gguf(spec.model) or spec.model), options)


def _local_chat(spec: ModelSpec, path: str, options: Mapping[str, Any]) -> BaseChatModel:
    from taleward.backends.local.chat import LocalChat

    hint = "Pass per-call options such as stop with the call, or bind them: chat_model(...).bind(stop=['###'])."
    if "base_url" in options:
        hint = "base_url is for servers with OpenAI's API: use the spec 'openai:NAME'."
    return build_model(LocalChat, str(spec), path, options, hint=hint)


_EMBEDDED_WRITER, _SMALL_WRITER = "embedded:storyteller", "embedded:storyteller-mini"
_OTHER_EMBEDDED = {
    "judge": "Create a judge with taleward.judge('embedded:judge', policy='kids', band='6-8')",
    "minilm": "Use it for embeddings: taleward.embeddings('embedded:minilm')",
}

PROVIDERS: dict[str, Callable[..., BaseChatModel]] = {
    "embedded": _embedded_chat,
    "hf": _hub_chat,
    "openai": openai_chat,
}
"""Taleward's own providers; every other provider goes to LangChain's `init_chat_model`."""


def chat_model(model: str | BaseChatModel, **options: Any) -> BaseChatModel:
    """Create the chat model for a spec.

    Args:
        model: A spec such as `embedded:storyteller`, `hf:Qwen/Qwen3-0.6B` or `openai:gpt-5-mini`; or a LangChain
            chat model, which is returned unchanged.
        options: Model options: `temperature`, `max_tokens`, `seed`, and `base_url` for `openai:`. See `LocalChat` for
            the others of a model that runs in this process, and `openai_chat` for those of a hosted one.

    Raises:
        ConfigurationError: If the spec is malformed, the provider or an option is unknown, a value is invalid, a
            library or an API key is missing, or you pass options together with an existing model.
    """
    if isinstance(model, BaseChatModel):
        if options:
            raise ConfigurationError(
                f"cannot apply options to an existing {type(model).__name__}; got {sorted(options)}.",
                hint="Set them when you create the model, or pass a spec such as 'openai:gpt-5-mini'.",
            )
        return model
    spec = parse_spec(model)
    factory: Callable[..., BaseChatModel] = PROVIDERS.get(spec.provider) or langchain_chat
    chat = factory(spec, **options)
    if isinstance(chat, HostedChat):
        chat.caller.chat_options = options
    return chat

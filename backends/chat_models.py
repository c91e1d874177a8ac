"""Chat models by spec. To add a backend, write one function and add one line to `PROVIDERS`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.base.option_validation import build_model
from taleward.backends.base.shipped_models import embedded_path
from taleward.backends.base.spec import ModelSpec, parse_spec
from taleward.backends.hosted.build_chat import langchain_chat, openai_chat
from taleward.backends.hosted.chat import HostedChat
from taleward.backends.onnx.adapted_model import adapter_base, complete_folder, lacks_base, missing_base
from taleward.backends.transformers.gguf_header import find_gguf
from taleward.core.errors import ConfigurationError

_log = logging.getLogger(__name__)


def _embedded_chat(spec: ModelSpec, **options: Any) -> BaseChatModel:
    if spec.model.startswith(("/", "./", "../", "~")):
        return _local_chat(spec, str(_embedded_folder(spec)), {"engine": "onnx", **options})
    if (hint := _OTHER_EMBEDDED.get(spec.model)) is not None:
        raise ConfigurationError(
            f"{spec} does not generate text.", hint=f"{hint}; the embedded writer is {_EMBEDDED_WRITER!r}."
        )
    folder = embedded_path(spec.model)
    base = adapter_base(folder)
    if base is not None and lacks_base(folder):
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


def _embedded_folder(spec: ModelSpec) -> Path:
    folder = Path(spec.model).expanduser()
    if not (folder / "config.json").is_file():
        missing = "has no config.json" if folder.is_dir() else "is not a folder"
        raise ConfigurationError(
            f"{spec}: {folder} {missing}.",
            hint="Pass a folder with config.json, weights and tokenizer, as `taleward tune writer` leaves it, or "
            f"the name of an embedded model, such as {_EMBEDDED_WRITER!r}.",
        )
    return complete_folder(folder)


def _registered_chat(spec: ModelSpec, *, tracking_uri: str | None = None, **options: Any) -> BaseChatModel:
    from taleward.backends.local.registered_models import load_registered_model

    chat = _local_chat(spec, "", options)  # rejects wrong options before anything is downloaded
    # The spec of the version itself: where an alias points today says nothing about a tale of last month.
    version_spec, folder = load_registered_model(spec.model, tracking_uri)
    return chat.model_copy(update={"spec": version_spec, "path": str(folder)})


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
    "models": _registered_chat,
    "openai": openai_chat,
}
"""Taleward's own providers; every other provider goes to LangChain's `init_chat_model`."""


def chat_model(model: str | BaseChatModel, **options: Any) -> BaseChatModel:
    """Create the chat model for a spec.

    Args:
        model: A spec such as `embedded:storyteller`, `hf:Qwen/Qwen3-0.6B` or `openai:gpt-5-mini`; the folder of a
            tuned writer, `embedded:./folder`, or its name in MLflow's model registry, `models:/storyteller@champion`
            or `models:/storyteller/3`; or a LangChain chat model, which is returned unchanged.
        options: Model options: `temperature`, `max_tokens`, `seed`, `base_url` for `openai:`, and `tracking_uri` for
            `models:`, which is MLflow's own by default, and otherwise the store in `.taleward` in the working
            directory. See `LocalChat` for the others of a model that runs in this process, and `openai_chat` for those
            of a hosted one.

    Raises:
        ConfigurationError: If the spec is malformed, the provider or an option is unknown, a value is invalid, a
            library or an API key is missing, the registry has no such model, or you pass options together with an
            existing model.
        BackendError: If the registry of a `models:` spec cannot be read.
        IntegrityError: If a registered model's files were changed.
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

"""Chat models behind an API: OpenAI and every server that speaks its language, and LangChain's own list."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from taleward.backends.likelihood import TextScores
from taleward.backends.spec import ModelSpec
from taleward.core.errors import BackendError, ConfigurationError, MissingKey, UnknownName

_TIMEOUT_S = 60.0
_AT_ONCE = 8


def openai_chat(spec: ModelSpec, *, base_url: str | None = None, **options: Any) -> BaseChatModel:
    """A model of OpenAI, or of any server with the same API (vLLM, Ollama, llama.cpp, `transformers serve`).

    Args:
        spec: The model.
        base_url: The server, up to and including `/v1`; `OPENAI_BASE_URL` where it is not given, else OpenAI.
        options: Handed to `langchain_openai.ChatOpenAI`.

    Raises:
        MissingKey: OpenAI itself is meant and `OPENAI_API_KEY` is not set.
    """
    from langchain_openai import ChatOpenAI

    base_url = base_url or os.environ.get("OPENAI_BASE_URL")
    key = os.environ.get("OPENAI_API_KEY")
    if not key and base_url is None and "api_key" not in options:
        raise MissingKey(
            f"{spec} needs a key: the environment has no OPENAI_API_KEY.",
            hint="Set OPENAI_API_KEY, or give base_url= for a server that needs none, "
            "or use 'embedded:storyteller', which runs here.",
        )
    # A compatible server on one's own machine asks for no key, but the client insists on sending one.
    options.setdefault("api_key", SecretStr(key or "no-key"))
    options.setdefault("timeout", _TIMEOUT_S)
    return ChatOpenAI(model=spec.model, base_url=base_url, **options)


def langchain_chat(spec: ModelSpec, **options: Any) -> BaseChatModel:
    """A model of any provider that LangChain's `init_chat_model` knows.

    Raises:
        UnknownName: LangChain does not know the provider.
        ConfigurationError: The provider's package is not installed; the message says which.
    """
    from langchain.chat_models import init_chat_model

    try:
        model: BaseChatModel = init_chat_model(spec.model, model_provider=spec.provider, **options)
    except ImportError as error:
        raise ConfigurationError(f"{spec} cannot be used here: {error}") from error
    except ValueError as error:
        if "provider" not in str(error):
            raise
        listed = str(error).partition("are:")[2].split(",")
        known = ["embedded", "hf", *(name.strip(" .\n") for name in listed)]
        raise UnknownName("provider", spec.provider, known) from None
    return model


def echoed(model: Any, texts: Sequence[str]) -> list[TextScores]:
    """How likely a server's model finds texts, by its legacy completions, which can give a prompt back with its scores.

    The first token is scored where the server does so (it puts a token before it), else it is left out.

    Args:
        model: A `ChatOpenAI`.
        texts: Any texts; an empty one is not asked about.

    Raises:
        BackendError: The server does not answer, or not with log-probabilities.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda text: _echoed(model, text), texts))


def _echoed(model: Any, text: str) -> TextScores:
    import numpy as np
    import openai

    if not text:
        return TextScores(np.empty(0), np.empty(0, bool), 0)
    try:
        answer = model.root_client.completions.create(
            model=model.model_name, prompt=text, max_tokens=1, temperature=0, echo=True, logprobs=1
        )
    except openai.OpenAIError as error:
        raise BackendError(f"{model.model_name} did not say how likely it finds a text: {error}") from error
    told = answer.choices[0].logprobs
    if told is None or not told.token_logprobs or not told.top_logprobs or not told.text_offset:
        raise BackendError(
            f"{model.model_name}'s server gives no log-probabilities of a prompt.",
            hint="vLLM does: its /v1/completions takes echo and logprobs.",
        )
    found = [
        (chance, chance >= max((best or {}).values(), default=chance), offset)
        for chance, best, offset in zip(told.token_logprobs, told.top_logprobs, told.text_offset, strict=True)
        if chance is not None and offset < len(text)
    ]
    characters = len(text) - found[0][2] if found else 0
    return TextScores(np.array([f[0] for f in found], float), np.array([f[1] for f in found], bool), characters)

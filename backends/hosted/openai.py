"""Chat models behind an API: OpenAI and every server that speaks its language, and LangChain's own list."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from taleward.backends.base.spec import ModelSpec
from taleward.backends.engine.likelihood import TextScores
from taleward.backends.hosted.call import ModelCaller
from taleward.backends.hosted.chat import hosted
from taleward.backends.hosted.ignored_options import OptionSupport
from taleward.backends.hosted.pricing import find_price, parse_price
from taleward.backends.hosted.rate_limits import Pace
from taleward.backends.hosted.retries import Attempts, Terms
from taleward.core.errors import BackendError, ConfigurationError, MissingKey, UnknownName
from taleward.core.redaction import redact

_AT_ONCE = 8
_OPENAI = "https://api.openai.com"
_TERMS = {"concurrency": "concurrency", "max_retries": "max_retries", "timeout": "timeout_s"}
_TERMS |= {"total_timeout_s": "total_timeout_s", "hedge_s": "hedge_s"}
_CONNECTIONS = {"http_async_client", "http_client", "http_socket_options", "openai_proxy"}
_SAY_WHY = frozenset({"BaseChatOpenAI", "ChatAnthropic"})
"""Vendors' classes whose answers always say why they ended: a stream without a reason was cut off."""
_paces: dict[object, Pace] = {}
_servers: dict[object, OptionSupport] = {}
_lock = threading.Lock()


def openai_chat(spec: ModelSpec, *, base_url: str | None = None, **options: Any) -> BaseChatModel:
    """A model of OpenAI, or of any server with the same API (vLLM, Ollama, llama.cpp, `transformers serve`).

    Args:
        spec: The model.
        base_url: The server, up to and including `/v1`; `OPENAI_BASE_URL` where it is not given, else OpenAI.
        options: See `with_calls`; all others are handed to `langchain_openai.ChatOpenAI`.

    Raises:
        ConfigurationError: `base_url` is no address.
        MissingKey: OpenAI itself is meant and `OPENAI_API_KEY` is not set.
    """
    from langchain_openai import ChatOpenAI

    base_url = openai_access(spec, base_url, options)
    own: dict[str, Any] = {"include_response_headers": True, "stream_usage": True, **connections(options)}

    def make(**given: Any) -> BaseChatModel:
        return ChatOpenAI(model=spec.model, base_url=base_url, **{**own, **given})

    return with_calls(spec, make, server=base_url or _OPENAI, foreign=is_foreign(base_url), **options)


def openai_access(spec: ModelSpec, base_url: str | None, options: dict[str, Any]) -> str | None:
    """Where a server with OpenAI's API is, `None` for OpenAI's own; the key is put among the options.

    Raises:
        ConfigurationError: `base_url` is no address.
        MissingKey: OpenAI itself is meant and `OPENAI_API_KEY` is not set.
    """
    base_url = base_url or os.environ.get("OPENAI_BASE_URL")
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"base_url is an address that begins with http:// or https://; got {base_url!r}.",
            hint="For example 'http://127.0.0.1:8000/v1'; it is also read from OPENAI_BASE_URL.",
        )
    key = os.environ.get("OPENAI_API_KEY")
    if not key and base_url is None and "api_key" not in options:
        raise MissingKey(
            f"{spec} needs a key: the environment has no OPENAI_API_KEY.",
            hint="Set OPENAI_API_KEY, or give base_url= for a server that needs none, "
            "or use 'embedded:storyteller' or 'embedded:minilm', which run here.",
        )
    # A compatible server on one's own machine asks for no key, but the client insists on sending one.
    options.setdefault("api_key", SecretStr(key or "no-key"))
    return base_url


def is_foreign(base_url: str | None) -> bool:
    """Whether a server is another than OpenAI's own."""
    return base_url is not None and not base_url.startswith(_OPENAI)


def langchain_chat(spec: ModelSpec, **options: Any) -> BaseChatModel:
    """A model of any provider that LangChain's `init_chat_model` knows.

    Args:
        spec: The model.
        options: See `with_calls`; all others are the provider's.

    Raises:
        UnknownName: LangChain does not know the provider.
        ConfigurationError: The provider's package is not installed; the message says which.
    """
    from langchain.chat_models import init_chat_model

    def make(**given: Any) -> BaseChatModel:
        try:
            model: BaseChatModel = init_chat_model(spec.model, model_provider=spec.provider, **given)
        except ImportError as error:
            raise ConfigurationError(f"{spec} cannot be used here: {error}") from error
        except ValueError as error:
            if "provider" not in str(error):
                raise
            listed = str(error).partition("are:")[2].split(",")
            known = ["embedded", "hf", *(name.strip(" .\n") for name in listed)]
            raise UnknownName("provider", spec.provider, known) from None
        return model

    return with_calls(spec, make, server=str(options.get("base_url") or spec.provider), **options)


def with_calls(
    spec: ModelSpec,
    make: Callable[..., BaseChatModel],
    *,
    server: str,
    foreign: bool = False,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    price_usd: Sequence[float] | None = None,
    fallbacks: Sequence[str | BaseChatModel] = (),
    **options: Any,
) -> BaseChatModel:
    """A vendor's chat model with limits, retries, deadlines and fallbacks.

    Args:
        spec: The model.
        make: Makes it, from its own options.
        server: Where it is.
        foreign: Whether the server is not the vendor's own: its prices are not known, and it may ignore options.
        requests_per_minute: The most; learned from the server's headers where it is not given.
        tokens_per_minute: The same.
        price_usd: US dollars for a million tokens read and a million written; see `find_price` where it is not given.
        fallbacks: Specs, or chat models, that are asked in turn where this one cannot answer.
        options: `concurrency`, `max_retries`, `timeout`, `total_timeout_s` and `hedge_s`, see `Terms`; all others for
            `make`.

    Raises:
        ConfigurationError: A value is none of those that are taken.
    """
    from taleward.backends.chat_models import chat_model

    terms = Terms(**{_TERMS[name]: options.pop(name) for name in list(options) if name in _TERMS})
    for name, value in (("requests_per_minute", requests_per_minute), ("tokens_per_minute", tokens_per_minute)):
        if value is not None and not value > 0:
            raise ConfigurationError(f"{name} is a number above 0; got {value!r}.")
    if isinstance(fallbacks, str):
        raise ConfigurationError(f"fallbacks is a list of specs; got {fallbacks!r}.", hint=f"Give [{fallbacks!r}].")
    model = make(**options)
    own = {"max_retries": 0, "timeout": terms.timeout_s}  # ours are in their place
    if own := {name: value for name, value in own.items() if name in _taken(model)}:
        model = make(**{**options, **own})
    price = parse_price(price_usd) if price_usd is not None else None if foreign else find_price(spec)
    key = options.get("api_key")
    place = (server, spec, hash(key.get_secret_value() if isinstance(key, SecretStr) else key))
    with _lock:
        pace = _paces.setdefault(
            (place, requests_per_minute, tokens_per_minute), Pace(requests_per_minute, tokens_per_minute)
        )
        honoured = _servers.setdefault(place, OptionSupport(str(spec))) if foreign else None
    others = [chat_model(other) for other in fallbacks]
    ends = any(kind.__name__ in _SAY_WHY for kind in type(model).__mro__)
    caller = ModelCaller(Attempts(str(spec), terms, pace), price=price, fallbacks=others, ends=ends)
    return hosted(model, caller, honoured)


def connections(options: Mapping[str, Any]) -> dict[str, Any]:
    """The clients that all models of OpenAI's clients share, unless the options say something of theirs."""
    return {} if _CONNECTIONS & options.keys() else _connections(os.getpid())


@cache
def _connections(process: int) -> dict[str, Any]:
    """Clients that all models of a process share: to make them takes a tenth of a second.

    LangChain keeps those of the last 128 servers, and leaves the connections of all before them open.
    """
    from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

    return {"http_async_client": DefaultAsyncHttpxClient(), "http_client": DefaultHttpxClient()}


def _taken(model: BaseChatModel) -> set[str]:
    """Names that a model's class takes for its settings."""
    fields = type(model).model_fields
    return {*fields, *(field.alias for field in fields.values() if field.alias)}


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
        raise BackendError(
            f"{model.model_name} did not say how likely it finds a text: {redact(str(error))}"
        ) from error
    told = answer.choices[0].logprobs
    if told is None or not told.token_logprobs or not told.top_logprobs or not told.tokens:
        raise BackendError(
            f"{model.model_name}'s server gives no log-probabilities of a prompt.",
            hint="vLLM does: its /v1/completions takes echo and logprobs.",
        )
    # The last ones were written behind the text. Offsets do not tell which: vLLM counts a token that begins a text in.
    written = 1 if answer.usage is None else answer.usage.completion_tokens
    read = slice(0, len(told.token_logprobs) - written)
    found = [
        (chance, chance >= max((best or {}).values(), default=chance))
        for chance, best in zip(told.token_logprobs[read], told.top_logprobs[read], strict=True)
        if chance is not None
    ]
    unscored = told.tokens[0] if told.token_logprobs[0] is None and text.startswith(told.tokens[0]) else ""
    return TextScores(
        np.array([f[0] for f in found], float), np.array([f[1] for f in found], bool), len(text) - len(unscored)
    )

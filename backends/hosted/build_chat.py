"""Chat models behind an API: OpenAI, every OpenAI-compatible server, and LangChain's other providers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from taleward.backends.base.spec import ModelSpec
from taleward.backends.engine.likelihood import TextScores
from taleward.backends.hosted.call import ModelCaller
from taleward.backends.hosted.chat import as_hosted_chat
from taleward.backends.hosted.option_fallbacks import OptionSupport
from taleward.backends.hosted.pricing import find_price, parse_price
from taleward.backends.hosted.rate_limits import RateLimiter
from taleward.backends.hosted.resilience import CallSettings, Retrier
from taleward.backends.hosted.subclass import remember_secrets
from taleward.core.errors import BackendError, ConfigurationError, MissingKey, UnknownName
from taleward.core.redaction import redact, remember_secret, without_secrets

_ECHO_CONCURRENCY = 8
_OPENAI_URL = "https://api.openai.com"
_SETTINGS = {
    "concurrency": "concurrency",
    "max_retries": "max_retries",
    "timeout": "timeout_s",
    "total_timeout_s": "total_timeout_s",
    "hedge_s": "hedge_s",
}
"""Options to fields of `CallSettings`."""
_CLIENT_OPTIONS = {"http_async_client", "http_client", "http_socket_options", "openai_proxy"}
_REPORT_FINISH_REASON = frozenset({"BaseChatOpenAI", "ChatAnthropic"})
"""Vendors' classes whose answers always have a finish reason: a stream without one was cut off."""
_rate_limiters: dict[object, RateLimiter] = {}
_option_supports: dict[object, OptionSupport] = {}
_lock = threading.Lock()


def openai_chat(spec: ModelSpec, *, base_url: str | None = None, **options: Any) -> BaseChatModel:
    """A chat model of OpenAI, or of an OpenAI-compatible server (vLLM, Ollama, llama.cpp, `transformers serve`).

    Args:
        spec: The model.
        base_url: The server's URL up to and including `/v1`. Defaults to `OPENAI_BASE_URL`, then to OpenAI.
        options: See `build_hosted_chat`; all others are passed to `langchain_openai.ChatOpenAI`.

    Raises:
        ConfigurationError: If `base_url` is not an HTTP URL.
        MissingKey: If the server is OpenAI's and `OPENAI_API_KEY` is not set.
    """
    from langchain_openai import ChatOpenAI

    base_url = openai_access(spec, base_url, options)
    defaults: dict[str, Any] = {"include_response_headers": True, "stream_usage": True, **shared_clients(options)}

    def make(**vendor_options: Any) -> BaseChatModel:
        return ChatOpenAI(model=spec.model, base_url=base_url, **{**defaults, **vendor_options})

    return build_hosted_chat(
        spec, make, server=base_url or _OPENAI_URL, third_party=is_third_party(base_url), **options
    )


def openai_access(spec: ModelSpec, base_url: str | None, options: dict[str, Any]) -> str | None:
    """Resolve the URL and the key of a server with OpenAI's API.

    Args:
        spec: The model, for messages.
        base_url: As for `openai_chat`.
        options: Options for the client; `api_key` is added if it is missing, and HTTP clients if the URL contains a
            user name and a password.

    Returns:
        The server's URL without user name and password; `None` for OpenAI's own.

    Raises:
        ConfigurationError: If `base_url` is not an HTTP URL, or it contains a password and `options` an HTTP client.
        MissingKey: If the server is OpenAI's and `OPENAI_API_KEY` is not set.
    """
    base_url = base_url or os.environ.get("OPENAI_BASE_URL")
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"base_url must start with http:// or https://; got {redact(base_url)!r}.",
            hint="For example 'http://127.0.0.1:8000/v1'; it is also read from OPENAI_BASE_URL.",
        )
    key = os.environ.get("OPENAI_API_KEY")
    if not key and base_url is None and "api_key" not in options:
        raise MissingKey(
            f"{spec} needs an API key, and OPENAI_API_KEY is not set.",
            hint="Set OPENAI_API_KEY, or give base_url= for a server that needs no key, "
            "or use 'embedded:storyteller' or 'embedded:minilm', which run locally.",
        )
    # A compatible server on your own machine asks for no key, but the client insists on sending one.
    options.setdefault("api_key", SecretStr(key or "no-key"))
    return None if base_url is None else _without_credentials(base_url, options)


def _without_credentials(base_url: str, options: dict[str, Any]) -> str:
    """Move user name and password from a URL, which is printed and traced, to the HTTP clients in `options`."""
    url = urlsplit(base_url)
    if "@" not in url.netloc:
        return base_url
    password = SecretStr(unquote(url.password or ""))
    remember_secret(password)
    if in_the_way := sorted(_CLIENT_OPTIONS & options.keys()):
        raise ConfigurationError(
            f"base_url contains a user name or a password, which cannot be used with {', '.join(in_the_way)}.",
            hint="Leave them out of the URL, and give your HTTP clients auth=(user, password).",
        )
    options |= _shared_clients(os.getpid(), unquote(url.username or ""), password)
    return urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2]))


def is_third_party(base_url: str | None) -> bool:
    """Whether a server is not OpenAI's own."""
    return base_url is not None and not base_url.startswith(_OPENAI_URL)


def langchain_chat(spec: ModelSpec, **options: Any) -> BaseChatModel:
    """A chat model of any provider that LangChain's `init_chat_model` supports.

    Args:
        spec: The model.
        options: See `build_hosted_chat`; all others are passed to the provider's class.

    Raises:
        UnknownName: If LangChain does not know the provider.
        ConfigurationError: If the provider's package is not installed; the message names it.
    """
    from langchain.chat_models import init_chat_model

    def make(**vendor_options: Any) -> BaseChatModel:
        try:
            model: BaseChatModel = init_chat_model(spec.model, model_provider=spec.provider, **vendor_options)
        except ImportError as error:
            raise ConfigurationError(f"{spec} needs a package that is not installed: {error}") from error
        except ValueError as error:
            if "provider" not in str(error):
                raise
            # LangChain lists its providers only in the message of this error.
            supported = str(error).partition("are:")[2].split(",")
            known = ["embedded", "hf", *(name.strip(" .\n") for name in supported)]
            raise UnknownName("provider", spec.provider, known) from None
        return model

    return build_hosted_chat(spec, make, server=str(options.get("base_url") or spec.provider), **options)


def build_hosted_chat(
    spec: ModelSpec,
    make: Callable[..., BaseChatModel],
    *,
    server: str,
    third_party: bool = False,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    price_usd: Sequence[float] | None = None,
    fallbacks: Sequence[str | BaseChatModel] = (),
    **options: Any,
) -> BaseChatModel:
    """Add rate limits, retries, deadlines, fallbacks and costs to a vendor's chat model.

    Args:
        spec: The model.
        make: Makes the vendor's model from the remaining options.
        server: The server's URL or provider. Models of one server share what is learned about it.
        third_party: Whether the server is not the vendor's own, so that prices are unknown and options may be ignored.
        requests_per_minute: Maximum rate. Learned from the server's headers by default.
        tokens_per_minute: As `requests_per_minute`.
        price_usd: US dollars per million input and output tokens. By default the price of `find_price`.
        fallbacks: Specs or chat models to try in order if this model cannot answer.
        options: `concurrency`, `max_retries`, `timeout`, `total_timeout_s` and `hedge_s`, see `CallSettings`; all
            others are passed to `make`.

    Raises:
        ConfigurationError: If a value is out of range.
    """
    from taleward.backends.chat_models import chat_model

    settings = CallSettings(**{_SETTINGS[name]: options.pop(name) for name in list(options) if name in _SETTINGS})
    for name, value in (("requests_per_minute", requests_per_minute), ("tokens_per_minute", tokens_per_minute)):
        if value is not None and not value > 0:
            raise ConfigurationError(f"{name} must be positive; got {value!r}.")
    if isinstance(fallbacks, str):
        raise ConfigurationError(f"fallbacks must be a list of specs; got {fallbacks!r}.", hint=f"Use [{fallbacks!r}].")
    model = make(**options)
    # Retries and timeouts are `Retrier`'s. Only an instance tells which of the two the vendor's class supports.
    overrides = {"max_retries": 0, "timeout": settings.timeout_s}
    if overrides := {name: value for name, value in overrides.items() if name in _setting_names(model)}:
        model = make(**{**options, **overrides})
    remember_secrets(options, model)
    price = parse_price(price_usd) if price_usd is not None else None if third_party else find_price(spec)
    key = options.get("api_key")
    # Each account has its own rate limits. The key's hash tells them apart without keeping the key itself.
    account = (server, spec, hash(key.get_secret_value() if isinstance(key, SecretStr) else key))
    with _lock:
        rate_limiter = _rate_limiters.setdefault(
            (account, requests_per_minute, tokens_per_minute), RateLimiter(requests_per_minute, tokens_per_minute)
        )
        option_support = _option_supports.setdefault(account, OptionSupport(str(spec))) if third_party else None
    caller = ModelCaller(
        Retrier(str(spec), settings, rate_limiter),
        price=price,
        fallbacks=[chat_model(fallback) for fallback in fallbacks],
        reports_finish_reason=any(base.__name__ in _REPORT_FINISH_REASON for base in type(model).__mro__),
    )
    return as_hosted_chat(model, caller, option_support)


def shared_clients(options: Mapping[str, Any]) -> dict[str, Any]:
    """The HTTP clients shared by all models of OpenAI's client; empty if `options` configure the connection."""
    return {} if _CLIENT_OPTIONS & options.keys() else _shared_clients(os.getpid())


@cache
def _shared_clients(_process_id: int, user: str = "", password: SecretStr | None = None) -> dict[str, Any]:
    """One pair of HTTP clients per process, and per user of a server with passwords: making one takes 0.1 s.

    LangChain's own cache keeps the clients of the last 128 servers, and leaves the connections of older ones open.
    """
    from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

    auth = None if password is None else (user, password.get_secret_value())
    return {"http_async_client": DefaultAsyncHttpxClient(auth=auth), "http_client": DefaultHttpxClient(auth=auth)}


def _setting_names(model: BaseChatModel) -> set[str]:
    """The names and aliases of a model's settings."""
    fields = type(model).model_fields
    return {*fields, *(field.alias for field in fields.values() if field.alias)}


def echo_likelihood(model: Any, texts: Sequence[str]) -> list[TextScores]:
    """Score texts with a server's legacy completions API, which can echo a prompt with its log-probabilities.

    The first token is scored only if the server puts a token in front of it.

    Args:
        model: A `ChatOpenAI`.
        texts: Any texts. Empty ones are not sent.

    Raises:
        BackendError: If the server does not answer, or not with log-probabilities.
    """
    with ThreadPoolExecutor(_ECHO_CONCURRENCY) as pool:
        return list(pool.map(lambda text: _score_text(model, text), texts))


def _score_text(model: Any, text: str) -> TextScores:
    import numpy as np
    import openai

    if not text:
        return TextScores(np.empty(0), np.empty(0, bool), 0)
    try:
        completion = model.root_client.completions.create(
            model=model.model_name, prompt=text, max_tokens=1, temperature=0, echo=True, logprobs=1
        )
    except openai.OpenAIError as error:
        raise BackendError(f"{model.model_name} could not score a text: {redact(str(error))}") from without_secrets(
            error
        )
    logprobs = completion.choices[0].logprobs
    if logprobs is None or not logprobs.token_logprobs or not logprobs.top_logprobs or not logprobs.tokens:
        raise BackendError(
            f"{model.model_name}'s server gives no log-probabilities of a prompt.",
            hint="Use vLLM, whose /v1/completions supports echo and logprobs.",
        )
    # The last tokens are generated. Offsets cannot tell which: vLLM counts a token that starts a text.
    generated = 1 if completion.usage is None else completion.usage.completion_tokens
    prompt = slice(0, len(logprobs.token_logprobs) - generated)
    scores = [
        (logprob, logprob >= max((top or {}).values(), default=logprob))
        for logprob, top in zip(logprobs.token_logprobs[prompt], logprobs.top_logprobs[prompt], strict=True)
        if logprob is not None
    ]
    first = logprobs.tokens[0]
    unscored = first if logprobs.token_logprobs[0] is None and text.startswith(first) else ""
    return TextScores(
        np.array([logprob for logprob, _ in scores], float),
        np.array([is_best for _, is_best in scores], bool),
        len(text) - len(unscored),
    )

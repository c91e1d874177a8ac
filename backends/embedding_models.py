"""Embedding models by spec. To add a backend, write one function and add one line to `PROVIDERS`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.embeddings import Embeddings

from taleward.backends.base.spec import ModelSpec, parse_spec
from taleward.backends.hosted.build_chat import is_third_party, openai_access, shared_clients
from taleward.backends.hosted.embeddings import hosted_embeddings
from taleward.backends.hosted.subclass import remember_secrets
from taleward.core.errors import ConfigurationError, UnknownName


def _embedded_embeddings(spec: ModelSpec, **options: Any) -> Embeddings:
    from taleward.backends.onnx.minilm import MiniLMEmbeddings

    if spec.model != "minilm":
        raise UnknownName("embedded embeddings", spec.model, ["minilm"])
    return MiniLMEmbeddings(**_check_names(MiniLMEmbeddings, spec, options))


def _hub_embeddings(spec: ModelSpec, **options: Any) -> Embeddings:
    from taleward.backends.transformers.embeddings import HubEmbeddings

    return HubEmbeddings(spec.model, **_check_names(HubEmbeddings, spec, options))


def _check_names(embeddings_class: type, spec: ModelSpec, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options unchanged, or raise if one is not a keyword-only parameter of the class."""
    parameters = inspect.signature(embeddings_class).parameters
    known = [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise UnknownName(f"option of {spec}", name, known)
    return options


def _openai_embeddings(spec: ModelSpec, *, base_url: str | None = None, **options: Any) -> Embeddings:
    from langchain_openai import OpenAIEmbeddings

    base_url = openai_access(spec, base_url, options)
    if is_third_party(base_url):
        # By default LangChain sends OpenAI token ids instead of text, which other servers cannot interpret.
        options.setdefault("check_embedding_ctx_length", False)
    options = {**shared_clients(options), **options}
    model = OpenAIEmbeddings(model=spec.model, base_url=base_url, **options)
    remember_secrets(options, model)
    return hosted_embeddings(spec, model)


def _langchain_embeddings(spec: ModelSpec, **options: Any) -> Embeddings:
    from langchain.embeddings import init_embeddings

    try:
        model = init_embeddings(spec.model, provider=spec.provider, **options)
    except ImportError as error:
        raise ConfigurationError(f"{spec} is not available: {error}") from error
    except ValueError as error:
        # LangChain has no exception of its own for an unknown provider, and lists the known ones in the message only.
        if f"Provider '{spec.provider}' is not supported" not in str(error):
            raise
        known = {*PROVIDERS, *re.findall(r"- (\w+):", str(error))}
        raise UnknownName("provider of embeddings", spec.provider, known) from None
    if not isinstance(model, Embeddings):
        raise ConfigurationError(f"{spec} is a {type(model).__name__}, not a LangChain Embeddings.")
    remember_secrets(options, model)
    return hosted_embeddings(spec, model)


PROVIDERS: dict[str, Callable[..., Embeddings]] = {
    "embedded": _embedded_embeddings,
    "hf": _hub_embeddings,
    "openai": _openai_embeddings,
}
"""Taleward's own providers; every other provider goes to LangChain's `init_embeddings`."""


def embeddings(model: str | Embeddings, **options: Any) -> Embeddings:
    """Create the embedding model for a spec.

    Args:
        model: A spec such as `embedded:minilm`, `hf:BAAI/bge-small-en-v1.5` or `openai:text-embedding-3-small`; or a
            LangChain `Embeddings`, which is returned unchanged.
        options: Options of the provider's class; see `HubEmbeddings` for `hf:`. `openai:` takes `base_url`.

    Raises:
        ConfigurationError: If the spec is malformed, a name or an option is unknown, a library or an API key is
            missing, or you pass options together with an existing model.
    """
    if isinstance(model, Embeddings):
        if options:
            raise ConfigurationError(
                f"cannot apply options to an existing {type(model).__name__}; got {sorted(options)}.",
                hint="Set them when you create the embeddings, or pass a spec such as 'embedded:minilm'.",
            )
        return model
    spec = parse_spec(model)
    factory: Callable[..., Embeddings] = PROVIDERS.get(spec.provider) or _langchain_embeddings
    return factory(spec, **options)

"""Embeddings by spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.embeddings import Embeddings

from taleward.backends.spec import ModelSpec, parse_spec
from taleward.core.errors import ConfigurationError, UnknownName


def _embedded(spec: ModelSpec, **options: Any) -> Embeddings:
    from taleward.backends.minilm import MiniLMEmbeddings

    if spec.model != "minilm":
        raise UnknownName("embedded embeddings", spec.model, ["minilm"])
    return MiniLMEmbeddings(**options)


def _hf(spec: ModelSpec, **options: Any) -> Embeddings:
    from taleward.backends.hub_embeddings import HubEmbeddings

    return HubEmbeddings(spec.model, **options)


def _langchain(spec: ModelSpec, **options: Any) -> Embeddings:
    from langchain.embeddings import init_embeddings

    try:
        made = init_embeddings(spec.model, provider=spec.provider, **options)
    except ImportError as error:
        raise ConfigurationError(f"{spec} cannot be used here: {error}") from error
    if not isinstance(made, Embeddings):
        raise ConfigurationError(f"{spec} makes a {type(made).__name__}, which is no embeddings")
    return made


PROVIDERS: dict[str, Callable[..., Embeddings]] = {"embedded": _embedded, "hf": _hf}
"""Providers of our own; every other name goes to LangChain's `init_embeddings`."""


def embeddings(model: str | Embeddings, **options: Any) -> Embeddings:
    """The embeddings behind a spec.

    Args:
        model: A spec such as `embedded:minilm`, `hf:BAAI/bge-small-en-v1.5` or `openai:text-embedding-3-small`; or
            LangChain embeddings, which are given back as they are.
        options: For the provider's class; see `HubEmbeddings` for `hf:`.

    Raises:
        ConfigurationError: The spec is none, the name is unknown, or a library is missing.
    """
    if isinstance(model, Embeddings):
        return model
    spec = parse_spec(model)
    make: Callable[..., Embeddings] = PROVIDERS.get(spec.provider) or _langchain
    return make(spec, **options)

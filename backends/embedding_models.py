"""Embeddings by spec."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.embeddings import Embeddings

from taleward.backends.base.spec import ModelSpec, parse_spec
from taleward.backends.hosted.embeddings import hosted_embeddings
from taleward.backends.hosted.openai import is_third_party, openai_access, shared_clients
from taleward.core.errors import ConfigurationError, UnknownName


def _embedded(spec: ModelSpec, **options: Any) -> Embeddings:
    from taleward.backends.onnx.minilm import MiniLMEmbeddings

    if spec.model != "minilm":
        raise UnknownName("embedded embeddings", spec.model, ["minilm"])
    return MiniLMEmbeddings(**_known(MiniLMEmbeddings, spec, options))


def _hf(spec: ModelSpec, **options: Any) -> Embeddings:
    from taleward.backends.transformers.embeddings import HubEmbeddings

    return HubEmbeddings(spec.model, **_known(HubEmbeddings, spec, options))


def _known(kind: type, spec: ModelSpec, options: Mapping[str, Any]) -> Mapping[str, Any]:
    names = [name for name, taken in inspect.signature(kind).parameters.items() if taken.kind is taken.KEYWORD_ONLY]
    for name in options:
        if name not in names:
            raise UnknownName(f"option of {spec}", name, names)
    return options


def _openai(spec: ModelSpec, *, base_url: str | None = None, **options: Any) -> Embeddings:
    from langchain_openai import OpenAIEmbeddings

    base_url = openai_access(spec, base_url, options)
    if is_third_party(base_url):
        # Else it sends numbers of OpenAI's tokens in place of texts, which others do not know.
        options.setdefault("check_embedding_ctx_length", False)
    options = {**shared_clients(options), **options}
    return hosted_embeddings(spec, OpenAIEmbeddings(model=spec.model, base_url=base_url, **options))


def _langchain(spec: ModelSpec, **options: Any) -> Embeddings:
    from langchain.embeddings import init_embeddings

    try:
        made = init_embeddings(spec.model, provider=spec.provider, **options)
    except ImportError as error:
        raise ConfigurationError(f"{spec} cannot be used here: {error}") from error
    except ValueError as error:
        if f"Provider '{spec.provider}' is not supported" not in str(error):
            raise
        known = {*PROVIDERS, *re.findall(r"- (\w+):", str(error))}
        raise UnknownName("provider of embeddings", spec.provider, known) from None
    if not isinstance(made, Embeddings):
        raise ConfigurationError(f"{spec} makes a {type(made).__name__}, which is no embeddings")
    return hosted_embeddings(spec, made)


PROVIDERS: dict[str, Callable[..., Embeddings]] = {"embedded": _embedded, "hf": _hf, "openai": _openai}
"""Providers of our own; every other name goes to LangChain's `init_embeddings`."""


def embeddings(model: str | Embeddings, **options: Any) -> Embeddings:
    """The embeddings behind a spec.

    Args:
        model: A spec such as `embedded:minilm`, `hf:BAAI/bge-small-en-v1.5` or `openai:text-embedding-3-small`; or
            LangChain embeddings, which are given back as they are.
        options: For the provider's class; see `HubEmbeddings` for `hf:`. `openai:` takes `base_url`.

    Raises:
        ConfigurationError: The spec is none, a name or an option is unknown, a library or a key is missing, or options
            came with ready embeddings.
    """
    if isinstance(model, Embeddings):
        if options:
            raise ConfigurationError(
                f"ready {type(model).__name__} take no options here; got {sorted(options)}.",
                hint="Set them where the embeddings are made, or give a spec such as 'embedded:minilm'.",
            )
        return model
    spec = parse_spec(model)
    make: Callable[..., Embeddings] = PROVIDERS.get(spec.provider) or _langchain
    return make(spec, **options)

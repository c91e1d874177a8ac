"""Add methods to a vendor's object that is still an instance of the vendor's class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, SecretStr, create_model

from taleward.core.redaction import is_secret_name, redact_data, remember_secret

_PYDANTIC_STATE = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


class SecretFreeRepr(BaseModel):
    """A mixin without keys in its `repr`, which LangChain also puts into traces."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, redact_data(value)) for name, value in super().__repr_args__())


def remember_secrets(options: Mapping[str, Any], model: object) -> None:
    """Have keys redacted from all messages: those passed as options, and those that a model found in the environment.

    Args:
        options: The options of a vendor's class, which may contain HTTP headers.
        model: The vendor's model, whose fields may hold keys.
    """
    for name, value in options.items():
        if isinstance(value, Mapping):
            remember_secrets(value, None)
        elif isinstance(value, str) and is_secret_name(name):
            remember_secret(value)
    for value in (*options.values(), *getattr(model, "__dict__", {}).values()):
        if isinstance(value, SecretStr):
            remember_secret(value)


@lru_cache
def joined_class(mixin: type[BaseModel], vendor: type[BaseModel]) -> Any:
    """A subclass of both with the vendor's name; its `vendor` attribute is the vendor's class."""
    subclass: Any = create_model(vendor.__name__, __base__=(mixin, vendor), __module__=mixin.__module__)
    subclass.vendor = vendor
    return subclass


def as_class(model_class: Any, model: BaseModel) -> Any:
    """An instance of `model_class` that shares the state of `model`. Nothing is copied or validated again."""
    instance = model_class.__new__(model_class)
    for name in _PYDANTIC_STATE:
        object.__setattr__(instance, name, getattr(model, name))
    return instance

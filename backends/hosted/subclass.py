"""Add methods to a vendor's object that is still an instance of the vendor's class."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, create_model

_PYDANTIC_STATE = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


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

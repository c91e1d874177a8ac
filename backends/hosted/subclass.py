"""A vendor's object with our care around its calls, and still an instance of the vendor's class."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, create_model

_STATE = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


@lru_cache
def joined_class(own: type[BaseModel], vendor: type[BaseModel]) -> Any:
    """A class of both, named like the vendor's; its `vendor` is the vendor's own."""
    made: Any = create_model(vendor.__name__, __base__=(own, vendor), __module__=own.__module__)
    made.vendor = vendor
    return made


def as_class(kind: Any, model: BaseModel) -> Any:
    """The same object as another class: they share what they hold."""
    made = kind.__new__(kind)
    for name in _STATE:
        object.__setattr__(made, name, getattr(model, name))
    return made

"""Base class of every core type: immutable, closed to unknown fields, lossless in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NoReturn, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

K = TypeVar("K")
V = TypeVar("V")


class FrozenModel(BaseModel):
    """An immutable Pydantic model that rejects unknown fields, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ValidatedModel(FrozenModel):
    """A model whose validators hold for every instance, also for copies and for those made without validation.

    For types that must not exist in a forbidden state, such as a tale with a text that no judge passed.
    """

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; what is updated is validated."""
        copy = super().model_copy(deep=deep)
        return type(self).model_validate({**dict(copy), **update}) if update else copy

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """Create an instance from valid values; they are validated all the same."""
        return cls.model_validate(values)


class FrozenDict(Mapping[K, V]):
    """An immutable, hashable mapping; as a field of a Pydantic model it is a JSON object."""

    __slots__ = ("_items",)
    _items: dict[K, V]

    def __init__(self, items: Mapping[K, V] | None = None) -> None:
        # `self._items = ...` would call our own __setattr__.
        object.__setattr__(self, "_items", dict(items or {}))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("a FrozenDict cannot be changed; create a new one")

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    # By default pickle and copy set attributes, which __setattr__ forbids.
    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return (type(self), (dict(self._items),))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate as a dict of the declared key and value types; serialize as a plain dict."""
        key, value = get_args(source) or (Any, Any)
        dict_schema = core_schema.dict_schema(handler.generate_schema(key), handler.generate_schema(value))
        from_mapping = core_schema.no_info_before_validator_function(
            lambda value: dict(value) if isinstance(value, FrozenDict) else value, dict_schema
        )
        return core_schema.no_info_after_validator_function(
            cls, from_mapping, serialization=core_schema.plain_serializer_function_ser_schema(_as_dict)
        )


FrozenMapping = Annotated[Mapping[K, V], FrozenDict]
"""The type of a model's field that holds a FrozenDict.

Type checkers take a field's type for the constructor's parameter, which accepts any mapping; `FrozenDict` would reject
`Assessment(scores={"violence": 0.0})`.
"""


def _as_dict(value: Any) -> Any:
    """Convert a FrozenDict to a dict, nested ones included."""
    return {k: _as_dict(v) for k, v in value.items()} if isinstance(value, FrozenDict) else value

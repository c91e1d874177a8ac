"""One filter language over metadata, the same on every store.

A filter is a mapping; all of its keys must hold::

    {"band": "6-8"}                                 equal
    {"age": {"$gte": 6, "$lt": 9}}                  $eq $ne $gt $gte $lt $lte, several on one key
    {"lang": {"$in": ["en", "fr"]}}                 $in $nin
    {"$or": [{"band": "6-8"}, {"age": 7}]}          $and $or, to any depth

Metadata values are texts, numbers and booleans. Numbers compare as numbers (1 equals 1.0), not with texts or booleans.
A document without the key fits `$ne` and `$nin`, and nothing else. An empty filter fits everything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from taleward.core.errors import ConfigurationError, UnknownName

Filter: TypeAlias = Mapping[str, Any]
Scalar: TypeAlias = str | int | float | bool

LARGEST = 2**53
"""Integers beyond are not exact as JSON numbers."""

_COMPARE = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_OPERATORS = ("$eq", "$ne", *_COMPARE, "$in", "$nin")
_JOIN = {"$and": "AND", "$or": "OR"}
_HINT = "taleward.stores.vector.filters shows the language by examples."


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Check that every store can keep and filter this.

    Raises:
        ConfigurationError: A key is empty, starts with `$` or is no text; or a value is no text, number or boolean.
    """
    for key, value in metadata.items():
        _check_key(key)
        _check_value(value, f"metadata {key!r}")


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key or key.startswith(("$", "chroma:", "taleward_")) or not _encodes(key):
        raise ConfigurationError(
            f"a metadata key is a text without NUL and starts with neither '$', 'chroma:' nor 'taleward_'; got {key!r}",
            hint=_HINT,
        )


def _check_value(value: object, where: str) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, int) and abs(value) <= LARGEST:
        return
    if isinstance(value, float) and math.isfinite(value):
        return
    if isinstance(value, str) and _encodes(value):
        return
    said = repr(value)
    said = said if len(said) < 80 else said[:77] + "..."
    raise ConfigurationError(
        f"{where} must be a text, a boolean, a finite number or an integer up to 2**53; got {said}.",
        hint="Leave out what has no value; write lists and objects as JSON text.",
    )


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def matches(filter: Filter | None, metadata: Mapping[str, Any]) -> bool:
    """Whether metadata fits a filter; what the stores do, in plain Python.

    Raises:
        ConfigurationError: The filter is none.
    """
    fits: bool = _walk(
        filter or {},
        join=lambda joiner, parts: all(parts) if joiner == "$and" else any(parts),
        leaf=lambda key, operator, value: _holds(operator, metadata.get(key), value),
    )
    return fits


def _holds(operator: str, found: Any, value: Any) -> bool:
    if operator in ("$ne", "$nin"):
        return not _holds("$eq" if operator == "$ne" else "$in", found, value)
    if operator == "$in":
        return any(_kind(found) == _kind(v) and found == v for v in value)
    if found is None or _kind(found) != _kind(value):
        return False
    return bool(_PYTHON[operator](found, value))


_PYTHON: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda a, b: a == b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "none" if value is None else "number"


def to_sql(filter: Filter | None, column: str = "metadata") -> tuple[str, list[Any]]:
    """The filter as an SQLite condition over a column with JSON; keys and values are parameters, never SQL.

    Raises:
        ConfigurationError: The filter is none.
    """
    parameters: list[Any] = []

    def leaf(key: str, operator: str, value: Any) -> str:
        if operator in ("$ne", "$nin"):
            return f"NOT {leaf(key, '$eq' if operator == '$ne' else '$in', value)}"
        if operator == "$in":
            return "(" + (" OR ".join(leaf(key, "$eq", v) for v in value) or "0") + ")"
        kind = _kind(value)
        types = {"boolean": f"'{str(value).lower()}'", "text": "'text'", "number": "'integer', 'real'"}[kind]
        compare = _COMPARE.get(operator, "=")
        quoted = json.dumps(key, ensure_ascii=False)
        if quoted != f'"{key}"':  # SQLite's paths know no escapes
            parameters.extend((key, value))
            held = f"key = ? AND type IN ({types}) AND value {compare} ?"
            return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE {held})"  # noqa: S608  only placeholders
        path = f"$.{quoted}"
        parameters.extend((path, path, value))
        return f"coalesce(json_type({column}, ?) IN ({types}) AND json_extract({column}, ?) {compare} ?, 0)"

    def join(joiner: str, parts: Sequence[str]) -> str:
        empty = "1" if joiner == "$and" else "0"
        return "(" + (f" {_JOIN[joiner]} ".join(parts) or empty) + ")"

    return _walk(filter or {}, join=join, leaf=leaf), parameters


def to_chroma(filter: Filter | None) -> dict[str, Any] | None:
    """The filter as Chroma's `where`, which wants one operator an object and no empty lists; `None` for all.

    Raises:
        ConfigurationError: The filter is none.
    """

    def leaf(key: str, operator: str, value: Any) -> dict[str, Any]:
        if operator not in ("$in", "$nin"):
            return {key: {operator: value}}
        single = "$eq" if operator == "$in" else "$ne"
        parts = [{key: {single: v}} for v in value]
        return join("$or" if operator == "$in" else "$and", parts)

    def join(joiner: str, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        if joiner == "$and":
            parts = [p for p in parts if p != _ALL]
            return {"$and": list(parts)} if len(parts) > 1 else parts[0] if parts else _ALL
        if any(p == _ALL for p in parts):
            return _ALL
        return {"$or": list(parts)} if len(parts) > 1 else parts[0] if parts else _NONE

    where = _walk(filter or {}, join=join, leaf=leaf)
    return None if where == _ALL else where


_ALL: dict[str, Any] = {}
_NONE: dict[str, Any] = {"taleward_none": {"$eq": True}}


def _walk(filter: Filter, *, join: Callable[[str, list[Any]], Any], leaf: Callable[[str, str, Any], Any]) -> Any:
    """Check a filter and fold it, parts in the order they are written."""
    if not isinstance(filter, Mapping):
        raise ConfigurationError(f"a filter is a mapping; got {type(filter).__name__}.", hint=_HINT)
    parts: list[Any] = []
    for key, wanted in filter.items():
        if isinstance(key, str) and key in _JOIN:
            if isinstance(wanted, str | Mapping) or not isinstance(wanted, Sequence) or not wanted:
                raise ConfigurationError(f"{key} takes a list of one filter or more; got {wanted!r}.", hint=_HINT)
            parts.append(join(key, [_walk(f, join=join, leaf=leaf) for f in wanted]))
            continue
        if isinstance(key, str) and key.startswith("$"):
            raise UnknownName("filter operator", key, [*_JOIN], hint=_HINT)
        _check_key(key)
        for operator, value in _conditions(key, wanted):
            parts.append(leaf(key, operator, value))
    return join("$and", parts)


def _conditions(key: str, wanted: Any) -> list[tuple[str, Any]]:
    conditions = list(wanted.items()) if isinstance(wanted, Mapping) else [("$eq", wanted)]
    if not conditions:
        raise ConfigurationError(f"the filter on {key!r} is empty.", hint=_HINT)
    for operator, value in conditions:
        if operator not in _OPERATORS:
            raise UnknownName("filter operator", str(operator), _OPERATORS, hint=_HINT)
        where = f"the filter {operator} on {key!r}"
        if operator in ("$in", "$nin"):
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise ConfigurationError(f"{where} takes a list; got {value!r}.", hint=_HINT)
            for one in value:
                _check_value(one, where)
        elif operator in _COMPARE and _kind(value) != "number":
            raise ConfigurationError(f"{where} takes a number; got {value!r}.", hint=_HINT)
        else:
            _check_value(value, where)
    return conditions

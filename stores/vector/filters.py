"""The metadata filter language, the same for every store.

A filter is a mapping; all of its keys must match::

    {"band": "6-8"}                                 equals
    {"age": {"$gte": 6, "$lt": 9}}                  $eq $ne $gt $gte $lt $lte, several on one key
    {"lang": {"$in": ["en", "fr"]}}                 $in $nin
    {"$or": [{"band": "6-8"}, {"age": 7}]}          $and $or, nested to any depth

Metadata values are texts, numbers and booleans. Numbers compare with numbers (1 equals 1.0), never with texts or
booleans. A document without the key matches `$ne` and `$nin` and nothing else. An empty filter matches everything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from taleward.core.errors import ConfigurationError, UnknownName

Filter: TypeAlias = Mapping[str, Any]
Scalar: TypeAlias = str | int | float | bool

MAX_INTEGER = 2**53
"""The largest integer accepted; beyond it, integers are not exact as JSON numbers."""

_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_OPERATORS = ("$eq", "$ne", *_COMPARISONS, "$in", "$nin")
_JOINERS = {"$and": "AND", "$or": "OR"}
_HINT = "See taleward.stores.vector.filters for examples of the filter language."
_MAX_VALUE_CHARACTERS = 80


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Check that every store can keep and filter metadata.

    Raises:
        ConfigurationError: If a key is not a text, is empty or reserved, or a value is not a text, number or boolean.
    """
    for key, value in metadata.items():
        _check_key(key)
        _check_value(value, f"metadata {key!r}")


def _check_key(key: object) -> None:
    reserved = ("$", "chroma:", "taleward_")
    if not isinstance(key, str) or not key or key.startswith(reserved) or not _is_storable(key):
        raise ConfigurationError(
            "a metadata key must be a non-empty str without NUL that starts with neither '$', 'chroma:' nor"
            f" 'taleward_'; got {key!r}",
            hint=_HINT,
        )


def _check_value(value: object, label: str) -> None:
    if isinstance(value, bool):  # before int, its base class
        return
    if isinstance(value, int) and abs(value) <= MAX_INTEGER:
        return
    if isinstance(value, float) and math.isfinite(value):
        return
    if isinstance(value, str) and _is_storable(value):
        return
    shown = repr(value)
    shown = shown if len(shown) < _MAX_VALUE_CHARACTERS else shown[: _MAX_VALUE_CHARACTERS - 3] + "..."
    raise ConfigurationError(
        f"{label} must be a str, a bool, a finite number or an integer up to 2**53; got {shown}.",
        hint="Leave out keys without a value; write lists and objects as JSON text.",
    )


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def matches(filter: Filter | None, metadata: Mapping[str, Any]) -> bool:
    """Return whether metadata matches a filter: a reference implementation of what the stores do.

    Raises:
        ConfigurationError: If the filter is invalid.
    """
    is_match: bool = _fold(
        filter or {},
        join=lambda joiner, parts: all(parts) if joiner == "$and" else any(parts),
        leaf=lambda key, operator, value: _satisfies(operator, metadata.get(key), value),
    )
    return is_match


def _satisfies(operator: str, stored: Any, value: Any) -> bool:
    if operator in ("$ne", "$nin"):
        return not _satisfies("$eq" if operator == "$ne" else "$in", stored, value)
    if operator == "$in":
        return any(_value_type(stored) == _value_type(v) and stored == v for v in value)
    if stored is None or _value_type(stored) != _value_type(value):
        return False
    return bool(_PREDICATES[operator](stored, value))


_PREDICATES: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda a, b: a == b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


def _value_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "none" if value is None else "number"


def _fold_sql(filter: Filter | None, leaf: Callable[[str, str, Any], str], *, true: str, false: str) -> str:
    """Compile a filter to an SQL condition.

    Args:
        filter: The filter; `None` matches everything.
        leaf: Compiles a comparison, with any operator but the negated ones and `$in`.
        true: What is always true in this SQL.
        false: What is never true.
    """

    def condition(key: str, operator: str, value: Any) -> str:
        if operator in ("$ne", "$nin"):
            return f"NOT {condition(key, '$eq' if operator == '$ne' else '$in', value)}"
        if operator == "$in":
            return "(" + (" OR ".join(leaf(key, "$eq", v) for v in value) or false) + ")"
        return leaf(key, operator, value)

    def join(joiner: str, parts: Sequence[str]) -> str:
        return "(" + (f" {_JOINERS[joiner]} ".join(parts) or (true if joiner == "$and" else false)) + ")"

    compiled: str = _fold(filter or {}, join=join, leaf=condition)
    return compiled


def to_sql(filter: Filter | None, column: str = "metadata") -> tuple[str, list[Any]]:
    """Compile a filter to an SQLite condition over a JSON column.

    Keys and values become parameters, never SQL.

    Args:
        filter: The filter; `None` matches everything.
        column: The name of the column.

    Returns:
        The condition and its parameters.

    Raises:
        ConfigurationError: If the filter is invalid.
    """
    parameters: list[Any] = []

    def leaf(key: str, operator: str, value: Any) -> str:
        value_type = _value_type(value)
        json_types = {"boolean": f"'{str(value).lower()}'", "text": "'text'", "number": "'integer', 'real'"}[value_type]
        comparison = _COMPARISONS.get(operator, "=")
        quoted = json.dumps(key, ensure_ascii=False)
        if quoted != f'"{key}"':  # SQLite's JSON paths have no escapes for such keys
            parameters.extend((key, value))
            condition = f"key = ? AND type IN ({json_types}) AND value {comparison} ?"
            return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE {condition})"  # noqa: S608  only placeholders
        # A missing key gives NULL, and NOT NULL is NULL: without coalesce, `$ne` would not match it.
        path = f"$.{quoted}"
        parameters.extend((path, path, value))
        return f"coalesce(json_type({column}, ?) IN ({json_types}) AND json_extract({column}, ?) {comparison} ?, 0)"

    return _fold_sql(filter, leaf, true="1", false="0"), parameters


def to_postgres(filter: Filter | None, column: str = "metadata") -> tuple[str, list[Any]]:
    """Compile a filter to a Postgres condition over a `jsonb` column, with `%s` for parameters.

    Keys and values become parameters, never SQL. Equality is containment, which an index can answer; it also tells
    numbers from booleans and texts, as comparisons of `jsonb` values do.

    Args:
        filter: The filter; `None` matches everything.
        column: The name of the column.

    Returns:
        The condition and its parameters.

    Raises:
        ConfigurationError: If the filter is invalid.
    """
    parameters: list[Any] = []

    def leaf(key: str, operator: str, value: Any) -> str:
        if operator == "$eq":
            parameters.append(json.dumps({key: value}, ensure_ascii=False))
            return f"{column} @> %s::jsonb"
        parameters.extend((key, key, json.dumps(value)))
        is_number = f"jsonb_typeof({column} -> %s::text) = 'number'"
        return f"({is_number} AND {column} -> %s::text {_COMPARISONS[operator]} %s::jsonb)"

    return _fold_sql(filter, leaf, true="TRUE", false="FALSE"), parameters


def to_chroma(filter: Filter | None) -> dict[str, Any] | None:
    """Compile a filter to Chroma's `where`, which allows one operator per object and no empty lists.

    Returns:
        The `where` object; `None` to match everything.

    Raises:
        ConfigurationError: If the filter is invalid.
    """

    def leaf(key: str, operator: str, value: Any) -> dict[str, Any]:
        if operator not in ("$in", "$nin"):
            return {key: {operator: value}}
        single_operator = "$eq" if operator == "$in" else "$ne"
        parts = [{key: {single_operator: v}} for v in value]
        return join("$or" if operator == "$in" else "$and", parts)

    def join(joiner: str, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        if joiner == "$and":
            parts = [p for p in parts if p != _MATCH_ALL]
            return {"$and": list(parts)} if len(parts) > 1 else parts[0] if parts else _MATCH_ALL
        if any(p == _MATCH_ALL for p in parts):
            return _MATCH_ALL
        return {"$or": list(parts)} if len(parts) > 1 else parts[0] if parts else _MATCH_NONE

    where = _fold(filter or {}, join=join, leaf=leaf)
    return None if where == _MATCH_ALL else where


_MATCH_ALL: dict[str, Any] = {}
_MATCH_NONE: dict[str, Any] = {"taleward_none": {"$eq": True}}


def _fold(filter: Filter, *, join: Callable[[str, list[Any]], Any], leaf: Callable[[str, str, Any], Any]) -> Any:
    """Check a filter and fold it into one value, with its parts in the order they are written."""
    if not isinstance(filter, Mapping):
        raise ConfigurationError(f"a filter must be a mapping; got {type(filter).__name__}.", hint=_HINT)
    parts: list[Any] = []
    for key, condition in filter.items():
        if isinstance(key, str) and key in _JOINERS:
            if isinstance(condition, str | Mapping) or not isinstance(condition, Sequence) or not condition:
                raise ConfigurationError(f"{key} takes a non-empty list of filters; got {condition!r}.", hint=_HINT)
            parts.append(join(key, [_fold(f, join=join, leaf=leaf) for f in condition]))
            continue
        if isinstance(key, str) and key.startswith("$"):
            raise UnknownName("filter operator", key, [*_JOINERS], hint=_HINT)
        _check_key(key)
        for operator, value in _operator_values(key, condition):
            parts.append(leaf(key, operator, value))
    return join("$and", parts)


def _operator_values(key: str, condition: Any) -> list[tuple[str, Any]]:
    """Check the condition on one key; return its operators with their values."""
    pairs = list(condition.items()) if isinstance(condition, Mapping) else [("$eq", condition)]
    if not pairs:
        raise ConfigurationError(f"the filter on {key!r} is empty.", hint=_HINT)
    for operator, value in pairs:
        if operator not in _OPERATORS:
            raise UnknownName("filter operator", str(operator), _OPERATORS, hint=_HINT)
        label = f"the filter {operator} on {key!r}"
        if operator in ("$in", "$nin"):
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise ConfigurationError(f"{label} takes a list; got {value!r}.", hint=_HINT)
            for item in value:
                _check_value(item, label)
        elif operator in _COMPARISONS and _value_type(value) != "number":
            raise ConfigurationError(f"{label} takes a number; got {value!r}.", hint=_HINT)
        else:
            _check_value(value, label)
    return pairs

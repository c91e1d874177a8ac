"""The filter language: SQLite and Python agree, and no key or value becomes SQL."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given, strategies as st

from taleward.core.errors import ConfigurationError
from taleward.stores.vector.filters import check_metadata, matches, to_chroma, to_sql

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
keys = st.sampled_from(["a", "b", "a.b", 'quo"te', "back\\slash", "ключ", "'; DROP TABLE t; --", "a[0]", " "])
scalars = texts | st.integers(-3, 3) | st.booleans() | st.floats(-3, 3) | st.integers(-(2**53), 2**53)
numbers = st.integers(-3, 3) | st.floats(-3, 3)
conditions = (
    scalars
    | st.fixed_dictionaries({}, optional={"$eq": scalars, "$ne": scalars, "$gt": numbers, "$lte": numbers}).filter(bool)
    | st.fixed_dictionaries({"$in": st.lists(scalars, max_size=3)})
    | st.fixed_dictionaries({"$nin": st.lists(scalars, max_size=3), "$lt": numbers, "$gte": numbers})
)
filters = st.recursive(
    st.dictionaries(keys, conditions, max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), max_size=2
    ),
    max_leaves=4,
)
metadata = st.dictionaries(keys, scalars, max_size=4)


@given(filters, metadata)
def test_sqlite_agrees_with_python(filter: dict[str, Any], metadata: dict[str, Any]) -> None:
    connection = sqlite3.connect(":memory:")
    condition, parameters = to_sql(filter)
    metadata_json = json.dumps(metadata, ensure_ascii=False)
    [count] = connection.execute(
        f"SELECT count(*) FROM (SELECT ? AS metadata) WHERE {condition}",  # noqa: S608
        (metadata_json, *parameters),
    ).fetchone()
    connection.close()
    assert bool(count) == matches(filter, metadata)


@given(filters)
def test_chroma_gets_one_operator_per_object(filter: dict[str, Any]) -> None:
    def check(where: dict[str, Any]) -> None:
        [(key, value)] = where.items()
        if key in ("$and", "$or"):
            assert len(value) > 1
            for part in value:
                check(part)
        else:
            [(operator, operand)] = value.items()
            assert operator in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
            assert not isinstance(operand, list)

    where = to_chroma(filter)
    if where is not None:
        check(where)


@pytest.mark.parametrize("key", ["", "$x", "chroma:document", "taleward_expires", "\ud800", "a\0b", 1])
def test_keys_that_no_store_can_keep_are_rejected(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="metadata key"):
        check_metadata({key: 1})
    with pytest.raises(ConfigurationError):
        matches({key: 1}, {})


def test_a_misspelled_operator_gets_a_suggestion() -> None:
    with pytest.raises(ConfigurationError, match=r"'\$gtee'.*Did you mean '\$gte'"):
        matches({"age": {"$gtee": 6}}, {})

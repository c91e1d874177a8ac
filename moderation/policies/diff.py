"""Compare two policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Band, Policy


class PolicyChange(FrozenModel):
    """One difference between two policies.

    Attributes:
        place: The path of the field, for example `bands.6-8.tolerance.violence`.
        before: The first policy's value; `None` if it has none.
        after: The second policy's value; `None` if it has none.
    """

    place: str
    before: str | None
    after: str | None


def policy_diff(first: Policy, second: Policy) -> tuple[PolicyChange, ...]:
    """Return the differences between two policies that can change a verdict, in the order of the fields.

    Tolerances and thresholds are compared as they apply to each category that both policies have, so writing out a
    default is not a difference. Names, versions and parents are not compared.
    """
    ignored = {"name", "version", "parent", "categories", "bands"}
    fields = [_dump(policy, ignored) for policy in (first, second)]
    categories = [{n: _dump(c) for n, c in policy.categories.items()} for policy in (first, second)]
    common = [c for c in first.categories if c in second.categories]
    bands = [{n: _dump_band(policy, n, b, common) for n, b in policy.bands.items()} for policy in (first, second)]
    return (
        *_changes("", fields[0], fields[1]),
        *_changes("categories.", categories[0], categories[1]),
        *_changes("bands.", bands[0], bands[1]),
    )


def _dump(model: FrozenModel, ignored: set[str] | None = None) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude=ignored)


def _dump_band(policy: Policy, name: str, band: Band, categories: Sequence[str]) -> dict[str, Any]:
    return {
        **_dump(band, {"threshold", "thresholds", "tolerance"}),
        "tolerance": {c: policy.tolerance(c, name) for c in categories},
        "threshold": {c: policy.threshold(c, name) for c in categories},
    }


def _changes(prefix: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[PolicyChange]:
    for key in dict.fromkeys((*first, *second)):
        before, after = first.get(key), second.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changes(f"{prefix}{key}.", before, after)
        elif before != after:
            yield PolicyChange(place=f"{prefix}{key}", before=_format_value(before), after=_format_value(after))


def _format_value(value: Any) -> str | None:
    if isinstance(value, Mapping):
        summary = value.get("definition") or value.get("writing")
        return str(summary) if summary else ", ".join(f"{k}: {v}" for k, v in value.items())
    if isinstance(value, list):
        return " / ".join(map(str, value))
    return None if value is None else str(value)

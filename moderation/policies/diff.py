"""What differs between two policies, as a verdict would feel it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Band, Policy


class PolicyChange(FrozenModel):
    """One difference.

    Attributes:
        place: Where, for example `bands.6-8.tolerance.violence`.
        before: What the first policy says there; `None` where it says nothing.
        after: What the second one says.
    """

    place: str
    before: str | None
    after: str | None


def policy_diff(first: Policy, second: Policy) -> tuple[PolicyChange, ...]:
    """The differences, in the order of the policies' own parts.

    Tolerances and thresholds are compared as they hold for each category that both have, written out or not. Names,
    versions and lineage are not compared.
    """
    ignored = {"name", "version", "parent", "categories", "bands"}
    rest = [_dump(policy, ignored) for policy in (first, second)]
    categories = [{n: _dump(c) for n, c in policy.categories.items()} for policy in (first, second)]
    common = [c for c in first.categories if c in second.categories]
    bands = [{n: _band(policy, n, b, common) for n, b in policy.bands.items()} for policy in (first, second)]
    return (
        *_changes("", rest[0], rest[1]),
        *_changes("categories.", categories[0], categories[1]),
        *_changes("bands.", bands[0], bands[1]),
    )


def _dump(part: FrozenModel, ignored: set[str] | None = None) -> dict[str, Any]:
    return part.model_dump(mode="json", exclude=ignored)


def _band(policy: Policy, name: str, band: Band, categories: Sequence[str]) -> dict[str, Any]:
    return {
        **_dump(band, {"threshold", "thresholds", "tolerance"}),
        "tolerance": {c: policy.tolerance(c, name) for c in categories},
        "threshold": {c: policy.threshold(c, name) for c in categories},
    }


def _changes(above: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[PolicyChange]:
    for key in dict.fromkeys((*first, *second)):
        one, other = first.get(key), second.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _changes(f"{above}{key}.", one, other)
        elif one != other:
            yield PolicyChange(place=f"{above}{key}", before=_words(one), after=_words(other))


def _words(value: Any) -> str | None:
    if isinstance(value, Mapping):
        said = value.get("definition") or value.get("writing")
        return str(said) if said else ", ".join(f"{k}: {v}" for k, v in value.items())
    if isinstance(value, list):
        return " / ".join(map(str, value))
    return None if value is None else str(value)

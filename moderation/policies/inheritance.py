"""A policy that says only what differs from another one.

The differences are laid over the other policy as a JSON merge patch (RFC 7396): mappings are merged key by key, lists
and single values take the other's place, and `null` takes a key away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from taleward.core.yaml_files import Location, did_you_mean

_MENTIONS = ("tolerance", "thresholds")


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The patch laid over the base; neither is changed.

    Args:
        base: A policy as plain data.
        patch: What differs from it.
    """
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def lost_removals(
    base: Mapping[str, Any], patch: Mapping[str, Any], above: Location = ()
) -> Iterator[tuple[Location, str]]:
    """The places where a patch takes away what the base does not have, each with a sentence."""
    for key, value in patch.items():
        place = (*above, key)
        if value is None and key not in base:
            known = ", ".join(map(str, base)) or "nothing"
            yield (
                place,
                f"null takes away what is inherited, and this is not;{did_you_mean(str(key), base)} inherited: {known}",
            )
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            yield from lost_removals(base[key], value, place)


def without_categories(policy: Mapping[str, Any], removed: Collection[str]) -> dict[str, Any]:
    """A policy's data without the bands' and codes' words on categories that are to be taken away.

    A guard model's code that is taken away still fails a text that the model flags with it, unless it is mapped anew.
    """
    bands = {
        name: {k: _without(v, removed) if k in _MENTIONS else v for k, v in band.items()}
        for name, band in policy["bands"].items()
    }
    codes = {
        taxonomy: {name: code for name, code in known.items() if code["category"] not in removed}
        for taxonomy, known in policy.get("codes", {}).items()
    }
    return {**policy, "bands": bands, "codes": codes}


def _without(rules: Mapping[str, Any], removed: Collection[str]) -> dict[str, Any]:
    return {category: value for category, value in rules.items() if category not in removed}

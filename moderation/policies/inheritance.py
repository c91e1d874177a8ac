"""Apply a policy file that states only its differences from another policy.

The differences are applied as a JSON merge patch (RFC 7396): mappings are merged key by key, lists and single values
are replaced, and `null` removes a key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from taleward.core.yaml_files import Location, did_you_mean

_KEYED_BY_CATEGORY = ("tolerance", "thresholds")


def merge_patch(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base with the patch applied; neither is changed.

    Args:
        base: A policy as plain data.
        patch: The differences.
    """
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            base_value = result.get(key)
            result[key] = merge_patch(base_value if isinstance(base_value, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def find_unknown_removals(
    base: Mapping[str, Any], patch: Mapping[str, Any], parent: Location = ()
) -> Iterator[tuple[Location, str]]:
    """Yield the location of each `null` that removes a key the base does not have, with an error message."""
    for key, value in patch.items():
        location = (*parent, key)
        if value is None and key not in base:
            inherited = ", ".join(map(str, base)) or "nothing"
            suggestion = did_you_mean(str(key), base)
            yield (
                location,
                f"null removes an inherited key, which this is not;{suggestion} inherited: {inherited}",
            )
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            yield from find_unknown_removals(base[key], value, location)


def remove_categories(policy: Mapping[str, Any], removed: Collection[str]) -> dict[str, Any]:
    """Return a policy's data without the band settings and guard model codes of removed categories.

    A text that a guard model flags with a removed code still fails, unless the code is mapped to another category.
    """
    bands = {
        name: {k: _without_keys(v, removed) if k in _KEYED_BY_CATEGORY else v for k, v in band.items()}
        for name, band in policy["bands"].items()
    }
    codes = {
        taxonomy: {name: code for name, code in known.items() if code["category"] not in removed}
        for taxonomy, known in policy.get("codes", {}).items()
    }
    return {**policy, "bands": bands, "codes": codes}


def _without_keys(settings: Mapping[str, Any], removed: Collection[str]) -> dict[str, Any]:
    return {category: value for category, value in settings.items() if category not in removed}

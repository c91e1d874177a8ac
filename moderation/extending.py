"""A policy that says only what differs from another one.

The differences are laid over the other policy as a JSON merge patch (RFC 7396): mappings are merged key by key, lists
and single values take the other's place, and `null` takes a key away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from taleward.core.files import Location, guess


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
                f"null takes away what is inherited, and this is not;{guess(str(key), base)} inherited: {known}",
            )
        elif isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            yield from lost_removals(base[key], value, place)


def without_categories(policy: Mapping[str, Any], removed: Collection[str]) -> dict[str, Any]:
    """A policy's data where nothing but `categories` names the categories that are to be taken away."""
    return {part: said if part == "categories" else _unnamed(said, removed) for part, said in policy.items()}


def _unnamed(said: Any, removed: Collection[str]) -> Any:
    if isinstance(said, Mapping):
        kept = {key: value for key, value in said.items() if key not in removed and not _names(value, removed)}
        return {key: _unnamed(value, removed) for key, value in kept.items()}
    if isinstance(said, list):
        return [_unnamed(value, removed) for value in said if not _names(value, removed)]
    return said


def _names(value: Any, removed: Collection[str]) -> bool:
    return isinstance(value, str) and value in removed

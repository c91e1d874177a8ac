"""Policies by name or file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from taleward.core.errors import UnknownName
from taleward.core.files import load_yaml
from taleward.core.policy import Policy

_SHIPPED = Path(__file__).parent / "policies"


def policy_names() -> tuple[str, ...]:
    """The policies that come with Taleward, sorted."""
    return tuple(sorted(p.stem for p in _SHIPPED.glob("*.yaml")))


def load_policy(name_or_path: str | Path) -> Policy:
    """The policy of that name, or the one in that file.

    Args:
        name_or_path: A shipped name such as `"kids"`, or the path of a YAML file (anything that ends in
            `.yaml` or `.yml`).

    Raises:
        UnknownName: No policy of that name is shipped.
        InvalidFile: The file is not a policy; the message names the lines.
    """
    if isinstance(name_or_path, str) and not name_or_path.endswith((".yaml", ".yml")):
        if name_or_path not in policy_names():
            raise UnknownName(
                "policy",
                name_or_path,
                policy_names(),
                hint="A policy of your own goes by its .yaml file's path.",
            )
        return _shipped(name_or_path)
    return load_yaml(Path(name_or_path), Policy)


@lru_cache
def _shipped(name: str) -> Policy:
    return load_yaml(_SHIPPED / f"{name}.yaml", Policy)

"""Policies by name or file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile, UnknownName
from taleward.core.policy import Policy
from taleward.core.yaml_files import Location, YamlFile, did_you_mean
from taleward.moderation.policies.inheritance import lost_removals, merged, without_categories

_SHIPPED = Path(__file__).parent
_OWN = ("name", "version")


def policy_names() -> tuple[str, ...]:
    """The policies that come with Taleward, sorted."""
    return tuple(sorted(p.stem for p in _SHIPPED.glob("*.yaml")))


def load_policy(name_or_path: str | Path) -> Policy:
    """The policy of that name, or the one in that file.

    A file may extend another policy: `extends: kids`, or `extends: other.yaml` beside it, then a `name`, a `version`
    and what differs; see `taleward.moderation.policies.inheritance`. The result knows the other's id as its `parent`.

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
    return _load(Path(name_or_path), ())


@lru_cache
def _shipped(name: str) -> Policy:
    return _load(_SHIPPED / f"{name}.yaml", ())


def _load(path: Path, before: tuple[Path, ...]) -> Policy:
    """The policy in a file, which the files `before` it extend."""
    file = YamlFile(path, "policy")
    if not isinstance(file.data, Mapping) or "extends" not in file.data:
        return file.validate(Policy)
    patch = {key: value for key, value in file.data.items() if key != "extends"}
    parent = _parent(file, (*before, path.resolve()))
    base = parent.model_dump(mode="json")
    problems: list[tuple[Location, str]] = [
        ((), f"{key} is missing: what extends a policy has its own") for key in _OWN if patch.get(key) is None
    ]
    problems += lost_removals(base, patch)
    if "parent" in patch:
        problems.append((("parent",), "is set by 'extends' alone; leave it out"))
    if f"{patch.get('name')}@{patch.get('version')}" == parent.id:
        problems.append((("version",), f"{parent.id} is what this extends; give another name or version"))
    named = patch.get("categories")
    removed = [key for key, value in named.items() if value is None] if isinstance(named, Mapping) else []
    data = merged(without_categories(base, removed), patch)
    return file.validate(Policy, {"name": "-", "version": "-", **data, "parent": parent.id}, problems)


def _parent(file: YamlFile, before: tuple[Path, ...]) -> Policy:
    """The policy that a file extends."""
    named: Any = file.data["extends"]
    if isinstance(named, str) and named in policy_names():
        source = _SHIPPED / f"{named}.yaml"
    elif isinstance(named, str) and named.endswith((".yaml", ".yml")):
        source = file.path.parent / named
    else:
        close = did_you_mean(named, policy_names()) if isinstance(named, str) else ""
        taken = f"{', '.join(policy_names())}, or the path of a .yaml file from here"
        raise file.problems_error([(("extends",), f"got {named!r};{close} taken: {taken}")])
    if source.resolve() in before:
        chain = " extends ".join(str(p) for p in (*before, source.resolve()))
        raise file.problems_error([(("extends",), f"goes round in a circle: {chain}")])
    try:
        return _load(source, before)
    except InvalidFile as error:
        error.add_note(f"{file.path} extends it in line {file.line_of(('extends',))}.")
        raise

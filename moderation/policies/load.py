"""Load a policy by name or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile, UnknownName
from taleward.core.policy import Policy
from taleward.core.yaml_files import Location, YamlFile, did_you_mean
from taleward.moderation.policies.inheritance import find_unknown_removals, merge_patch, remove_categories

_SHIPPED = Path(__file__).parent
_NOT_INHERITED = ("name", "version")
_MAX_ANCESTORS = 20


def policy_names() -> tuple[str, ...]:
    """Return the names of the shipped policies, sorted."""
    return tuple(sorted(p.stem for p in _SHIPPED.glob("*.yaml")))


def load_policy(name_or_path: str | Path) -> Policy:
    """Load a shipped policy by its name, or your own from a file.

    A file may extend another policy: it has `extends: kids`, or `extends: other.yaml` with a path relative to the
    file, then a `name`, a `version` and the differences; see `taleward.moderation.policies.inheritance`. The id of the
    extended policy is the `parent` of the result.

    Args:
        name_or_path: A shipped name such as `"kids"`, or the path of a YAML file (anything that ends in
            `.yaml` or `.yml`).

    Raises:
        UnknownName: If no policy of that name is shipped.
        InvalidFile: If the file is not a valid policy; each problem is listed with its line.
    """
    if isinstance(name_or_path, str) and not name_or_path.endswith((".yaml", ".yml")):
        if name_or_path not in policy_names():
            raise UnknownName(
                "policy",
                name_or_path,
                policy_names(),
                hint="To load your own policy, give the path of its .yaml file.",
            )
        return _load_shipped(name_or_path)
    return _load_file(Path(name_or_path), ())


# Only shipped policies are cached: your own files may change.
@lru_cache
def _load_shipped(name: str) -> Policy:
    return _load_file(_SHIPPED / f"{name}.yaml", ())


def _load_file(path: Path, descendants: tuple[Path, ...]) -> Policy:
    """Load a policy file that the `descendants`, from the first file to the last, extend."""
    file = YamlFile(path, "policy")
    if not isinstance(file.data, Mapping) or "extends" not in file.data:
        return file.validate(Policy)
    patch = {key: value for key, value in file.data.items() if key != "extends"}
    parent = _load_parent(file, (*descendants, path.resolve()))
    base = parent.model_dump(mode="json")
    problems: list[tuple[Location, str]] = [
        ((), f"{key} is missing: a policy does not inherit it") for key in _NOT_INHERITED if patch.get(key) is None
    ]
    problems += find_unknown_removals(base, patch)
    if "parent" in patch:
        problems.append((("parent",), "is set by 'extends'; remove it"))
    if f"{patch.get('name')}@{patch.get('version')}" == parent.id:
        problems.append((("version",), f"{parent.id} is the extended policy; choose another name or version"))
    patched_categories = patch.get("categories")
    removed = (
        [name for name, category in patched_categories.items() if category is None]
        if isinstance(patched_categories, Mapping)
        else []
    )
    data = merge_patch(remove_categories(base, removed), patch)
    # A missing name or version is in `problems` already; the placeholder keeps it from being listed twice.
    return file.validate(Policy, {"name": "-", "version": "-", **data, "parent": parent.id}, problems)


def _load_parent(file: YamlFile, descendants: tuple[Path, ...]) -> Policy:
    """Load the policy that a file extends."""
    extended: Any = file.data["extends"]
    if isinstance(extended, str) and extended in policy_names():
        source = _SHIPPED / f"{extended}.yaml"
    elif isinstance(extended, str) and extended.endswith((".yaml", ".yml")):
        source = file.path.parent / extended
    else:
        suggestion = did_you_mean(extended, policy_names()) if isinstance(extended, str) else ""
        expected = f"{', '.join(policy_names())}, or the path of a .yaml file, relative to this one"
        raise file.problems_error([(("extends",), f"got {extended!r};{suggestion} expected {expected}")])
    if len(descendants) > _MAX_ANCESTORS:
        raise file.problems_error([(("extends",), f"more than {_MAX_ANCESTORS} policies extend each other")])
    if source.resolve() in descendants:
        chain = " extends ".join(str(p) for p in (*descendants, source.resolve()))
        raise file.problems_error([(("extends",), f"is circular: {chain}")])
    try:
        return _load_file(source, descendants)
    except InvalidFile as error:
        error.add_note(f"{file.path} extends it in line {file.line_of(('extends',))}.")
        raise

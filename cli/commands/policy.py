"""`taleward policy`: show, check and compare policies."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taleward.cli.options import AsJson

if TYPE_CHECKING:
    from rich.table import Table

    from taleward.core.policy import Policy

DIFFERENT = 1
"""Exit code of `diff` if the policies differ, as for diff(1)."""

policy_app = typer.Typer(name="policy", help="Show, check and compare policies.", no_args_is_help=True)

PolicyArgument = Annotated[str, typer.Argument(help="Name of a policy, or path of its .yaml file.")]


@policy_app.command()
def show(
    name: PolicyArgument,
    band: Annotated[str | None, typer.Option(help="Show only this age band, with its rules by category.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a policy, for all age bands or for one."""
    from taleward.moderation.policies.load import load_policy

    policy = load_policy(name)
    if band is not None:
        policy.band(band)  # reject an unknown band before printing anything
    if as_json:
        sys.stdout.write(policy.model_dump_json(indent=2) + "\n")
        return
    _print(_title(policy), f"{policy.description}\n")
    if band is None:
        _print(_category_table(policy), _band_table(policy))
    else:
        _print(f"{policy.band(band).writing}\n", _rule_table(policy, band))


@policy_app.command()
def check(file: Annotated[Path, typer.Argument(help="Path of a .yaml file.")]) -> None:
    """Check that a file is a valid policy.

    Exit codes: 0 valid, 2 invalid; all problems are listed with their lines.
    """
    from taleward.moderation.policies.load import load_policy

    policy = load_policy(file)
    counts = f"{len(policy.categories)} categories, bands {', '.join(policy.bands)}"
    _print(f"{file} is a valid policy: {_title(policy)}, {counts}.")


@policy_app.command()
def diff(first: PolicyArgument, second: PolicyArgument, as_json: AsJson = False) -> None:
    """List the differences between two policies, by category and by band.

    Exit codes: 0 no differences, 1 there are differences, 2 one of them is not a valid policy.
    """
    from rich.table import Table
    from rich.text import Text

    from taleward.moderation.policies.diff import policy_diff
    from taleward.moderation.policies.load import load_policy

    first_policy, second_policy = load_policy(first), load_policy(second)
    changes = policy_diff(first_policy, second_policy)
    if as_json:
        sys.stdout.write(json.dumps([change.model_dump() for change in changes], indent=2) + "\n")
    elif not changes:
        _print(f"{first_policy.id} and {second_policy.id} do not differ.")
    else:
        table = Table("field", first_policy.id, second_policy.id, show_lines=True)
        for change in changes:
            table.add_row(Text(change.place), Text(change.before or "-"), Text(change.after or "-"))
        _print(table)
    raise typer.Exit(DIFFERENT if changes else 0)


def _title(policy: Policy) -> str:
    return f"{policy.id} (extends {policy.parent})" if policy.parent else policy.id


def _category_table(policy: Policy) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("category", "definition", "allowed", "not allowed", show_lines=True)
    for name, category in policy.categories.items():
        examples = (Text("\n".join(texts)) for texts in (category.allowed, category.not_allowed))
        table.add_row(Text(name), Text(category.definition), *examples)
    return table


def _band_table(policy: Policy) -> Table:
    """Return a table with one column per band: reading level, then tolerance and threshold by category."""
    from rich.table import Table
    from rich.text import Text

    table = Table("tolerated up to; fails from", *policy.bands)
    levels = (band.reading_level for band in policy.bands.values())
    grades = ("any" if level is None else f"{level:g}" for level in levels)
    table.add_row("reading level, school grade", *grades, end_section=True)
    for name in policy.categories:
        cells = (f"{policy.tolerance(name, band)}; {policy.threshold(name, band):g}" for band in policy.bands)
        table.add_row(Text(name), *cells)
    return table


def _rule_table(policy: Policy, band_name: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    band = policy.band(band_name)
    level = "any reading level" if band.reading_level is None else f"reading level up to grade {band.reading_level:g}"
    title = f"ages {band.ages[0]} to {band.ages[1]}, {level}"
    table = Table("category", "tolerated up to", "fails from", "allowed, e.g.", "not allowed, e.g.", title=title)
    for name, category in policy.categories.items():
        rules = (policy.tolerance(name, band_name), f"{policy.threshold(name, band_name):g}")
        examples = (Text(next(iter(texts), "-")) for texts in (category.allowed, category.not_allowed))
        table.add_row(Text(name), *rules, *examples)
    return table


def _print(*parts: object) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(*(Text(p) if isinstance(p, str) else p for p in parts), sep="\n")

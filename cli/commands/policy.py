"""`taleward policy`: what a policy says, whether a file is one, and what differs between two."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from taleward.core.policy import Policy

DIFFERENT = 1
"""Exit code of `diff` where the policies differ, as of diff(1)."""

policy = typer.Typer(help="Show, check and compare policies.", no_args_is_help=True)

Named = Annotated[str, typer.Argument(help="A policy's name, or its .yaml file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@policy.command()
def show(
    name: Named,
    band: Annotated[str | None, typer.Option(help="Only this age band, with its rules for each category.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a policy says, in all bands or in one."""
    from taleward.moderation.policies.load import load_policy

    found = load_policy(name)
    if band is not None:
        found.band(band)
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        return
    _print(_title(found), f"{found.description}\n")
    if band is None:
        _print(_categories(found), _bands(found))
    else:
        _print(f"{found.band(band).writing}\n", _rules(found, band))


@policy.command()
def check(file: Annotated[Path, typer.Argument(help="A .yaml file.")]) -> None:
    """Check a policy's file. Exit code 0: it is one, 2: it has problems, which are listed with their lines."""
    from taleward.moderation.policies.load import load_policy

    found = load_policy(file)
    counts = f"{len(found.categories)} categories, bands {', '.join(found.bands)}"
    _print(f"{file} is the policy {_title(found)}: {counts}.")


@policy.command()
def diff(first: Named, second: Named, as_json: AsJson = False) -> None:
    """List what differs between two policies, category by category and band by band.

    Exit code 0: they say the same, 1: they differ, 2: one of them is no policy.
    """
    from rich.table import Table
    from rich.text import Text

    from taleward.moderation.policies.diff import policy_diff
    from taleward.moderation.policies.load import load_policy

    one, other = load_policy(first), load_policy(second)
    changes = policy_diff(one, other)
    if as_json:
        sys.stdout.write(json.dumps([c.model_dump() for c in changes], indent=2) + "\n")
    elif not changes:
        _print(f"{one.id} and {other.id} say the same.")
    else:
        table = Table("where", one.id, other.id, show_lines=True)
        for change in changes:
            table.add_row(Text(change.place), Text(change.before or "-"), Text(change.after or "-"))
        _print(table)
    raise typer.Exit(DIFFERENT if changes else 0)


def _title(found: Policy) -> str:
    return f"{found.id} (extends {found.parent})" if found.parent else found.id


def _categories(found: Policy) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("category", "definition", "allowed", "not allowed", show_lines=True)
    for name, category in found.categories.items():
        examples = (Text("\n".join(e)) for e in (category.allowed, category.not_allowed))
        table.add_row(Text(name), Text(category.definition), *examples)
    return table


def _bands(found: Policy) -> Table:
    """A column a band: reading level, then tolerance and threshold of each category."""
    from rich.table import Table
    from rich.text import Text

    table = Table("tolerated at most; fails from", *found.bands)
    levels = (band.reading_level for band in found.bands.values())
    table.add_row("reading level, school grade", *("any" if v is None else f"{v:g}" for v in levels), end_section=True)
    for name in found.categories:
        cells = (f"{found.tolerance(name, band)}; {found.threshold(name, band):g}" for band in found.bands)
        table.add_row(Text(name), *cells)
    return table


def _rules(found: Policy, name: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    band = found.band(name)
    level = "any reading level" if band.reading_level is None else f"reading level up to grade {band.reading_level:g}"
    title = f"ages {band.ages[0]} to {band.ages[1]}, {level}"
    table = Table("category", "tolerated at most", "fails from", "allowed, for example", "not allowed", title=title)
    for key, category in found.categories.items():
        rules = (found.tolerance(key, name), f"{found.threshold(key, name):g}")
        examples = (Text(next(iter(e), "-")) for e in (category.allowed, category.not_allowed))
        table.add_row(Text(key), *rules, *examples)
    return table


def _print(*parts: object) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(*(Text(p) if isinstance(p, str) else p for p in parts), sep="\n")

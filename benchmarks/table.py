"""What all benchmarks share: sizes, rows, the Markdown table, the JSON file and the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")
Size = Literal["full", "quick", "smoke"]
"""`full` gives the published figures, `quick` ends within 50 s on two cores, `smoke` only shows that the code runs."""


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        metric: What was measured.
        unit: Its unit.
        ours: Taleward's figure.
        peer: The peer's figure in the same run; `None` without a peer.
        peer_name: The library or method that Taleward is compared with.
        ratio: How many times better Taleward's figure is; `None` if that cannot be said.
        goal: What the figure must reach, in words; empty if there is no goal.
        met: Whether it reaches the goal.
    """

    metric: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool = True


def run(
    name: str,
    measure: Callable[[Size], Iterable[Row]],
    arguments: Sequence[str] | None = None,
    parser: argparse.ArgumentParser | None = None,
) -> int:
    """Measure, print the table, and write the JSON file if asked to.

    Args:
        name: The benchmark, as in `python -m benchmarks.NAME`.
        measure: Yields the rows for a size.
        arguments: The command line; `None` for that of the process.
        parser: A parser of further options, made with `add_help=False`.

    Returns:
        The exit code: 1 if a goal was missed. Goals do not count with `--smoke`.
    """
    parents = [parser] if parser else []
    full_parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", parents=parents)
    sizes = full_parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--quick", action="store_const", dest="size", const="quick", help="ends within 50 s on two cores"
    )
    sizes.add_argument(
        "--smoke", action="store_const", dest="size", const="smoke", help="only checks that the code runs"
    )
    full_parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = full_parser.parse_args(arguments)
    size: Size = options.size or "full"
    rows = []
    print("| metric | unit | ours | peer | peer is | times better | goal |\n|---|---|---|---|---|---|---|")
    for row in measure(size):
        rows.append(row)
        goal = f"{row.goal}{'' if row.met else ' MISSED'}"
        cells = [row.metric, row.unit, _format(row.ours), _format(row.peer), row.peer_name, _format(row.ratio), goal]
        print(f"| {' | '.join(cells)} |", flush=True)
    if options.json is not None:
        keys = ("metric", "unit", "ours", "peer", "peer_name", "ratio", "goal")
        options.json.write_text(json.dumps([{k: asdict(r)[k] for k in keys} for r in rows], indent=2) + "\n")
    return 0 if size == "smoke" or all(row.met for row in rows) else 1


def pick(size: Size, *, full: T, quick: T, smoke: T) -> T:
    """Return the value for a size."""
    return {"full": full, "quick": quick, "smoke": smoke}[size]


def is_installed(module: str, install: str) -> bool:
    """Whether a peer's package is installed; if not, a line on standard error says that its rows are left out.

    Args:
        module: A module of the package.
        install: The arguments of `pip install` that install it.
    """
    try:
        if find_spec(module) is not None:
            return True
    except ModuleNotFoundError:  # a parent package is missing
        pass
    print(f"Rows with the peer {module} are left out: it is not installed. Run: pip install {install}", file=sys.stderr)
    return False


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"

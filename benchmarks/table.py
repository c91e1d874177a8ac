"""What every benchmark shares: rows, the table, the JSON file, the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        metric: What was measured.
        unit: Its unit.
        ours: Our figure.
        peer: The peer's, in the same run; `None` where there is none.
        peer_name: Who the peer is.
        ratio: How many times better ours is; `None` without a peer.
        goal: What it has to reach, in words; empty where it is only shown.
        met: Whether it did.
    """

    metric: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool = True


def run(name: str, measure: Callable[[bool], Iterable[Row]], own: argparse.ArgumentParser | None = None) -> None:
    """Measure, print the table, write the JSON file that was asked for; exit with 1 when a goal was missed.

    Args:
        name: The benchmark, as in `python -m benchmarks.NAME`.
        measure: Gives the rows; its argument says whether it has to be quick (50 s on two cores).
        own: A parser, made with `add_help=False`, of options that this benchmark has beside those of all.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", parents=[own] if own else [])
    parser.add_argument("--quick", action="store_true", help="smaller sizes, under 50 s on two cores")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    rows = []
    print("| metric | unit | ours | peer | peer is | times better | goal |\n|---|---|---|---|---|---|---|")
    for row in measure(options.quick):
        rows.append(row)
        goal = f"{row.goal}{'' if row.met else ' MISSED'}"
        cells = [row.metric, row.unit, _figure(row.ours), _figure(row.peer), row.peer_name, _figure(row.ratio), goal]
        print(f"| {' | '.join(cells)} |", flush=True)
    if options.json is not None:
        keys = ("metric", "unit", "ours", "peer", "peer_name", "ratio", "goal")
        options.json.write_text(json.dumps([{k: asdict(r)[k] for k in keys} for r in rows], indent=2) + "\n")
    sys.exit(0 if all(row.met for row in rows) else 1)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"

"""`taleward arena`: a sheet for people, and what is refused."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.evaluation import evaluate


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two recorded evaluations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("taleward.cli.output.arena._stdout.width", 200)
    rows = [{"id": str(n), "inputs": {"n": n}} for n in range(8)]

    def write(name: str, values: Mapping[str, Any]) -> str:
        return f"{name} {values['n']}"

    evaluations = [evaluate(partial(write, name), rows, ["words"], name=name, progress=False) for name in ("a", "b")]
    return [str(evaluation.run_id) for evaluation in evaluations]


def test_people_choose_between_recorded_outputs(runs: list[str], tmp_path: Path) -> None:
    command = ["arena", *runs, "--choices", "choices.csv", "--report", "page.html"]
    written = CliRunner().invoke(app, command)
    assert written.exit_code == 0, written.output
    assert "8 pairs written to choices.csv" in written.output
    with Path("choices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["better"] for row in rows} == {""}
    for row in rows:
        row["better"] = "first" if row["first"].startswith("b") else "second"
    with Path("choices.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = CliRunner().invoke(app, [*command, "--record"])
    assert done.exit_code == 0, done.output
    assert "b against a: 8 wins, 0 ties, 0 losses, p = 0.00781: significant" in done.output
    assert "recorded as run" in done.output
    assert "8 comparisons by choices" in Path("page.html").read_text()


def test_who_chooses_must_be_named(runs: list[str]) -> None:
    done = CliRunner().invoke(app, ["arena", *runs])
    assert done.exit_code == 2
    assert "--model SPEC" in done.output

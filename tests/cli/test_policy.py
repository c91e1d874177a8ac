"""`taleward policy` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.core.errors import InvalidFile, UnknownName

OWN = 'extends: kids\nname: own\nversion: "1"\nbands: {"6-8": {threshold: 0.4}}\n'


def run(*args: str) -> tuple[int, str]:
    done = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["policy", *args], catch_exceptions=False)
    return done.exit_code, done.stdout


def test_show_all_bands_or_one() -> None:
    code, page = run("show", "kids")
    assert code == 0
    assert "moderate; 0.75" in page
    code, page = run("show", "teen", "--band", "13-15")
    assert "teen@1 (extends kids@1)" in page
    assert "reading level up to grade 11" in page
    assert json.loads(run("show", "kids", "--json")[1])["name"] == "kids"
    with pytest.raises(UnknownName, match=r"Known: '13-15'"):
        run("show", "teen", "--band", "6-8")


def test_check_accepts_a_valid_file_and_lists_problems(in_tmp: Path) -> None:
    (in_tmp / "own.yaml").write_text(OWN)
    code, page = run("check", "own.yaml")
    assert code == 0
    assert "own.yaml is a valid policy: own@1 (extends kids@1), 11 categories, bands 3-5, 6-8, 9-12." in page
    (in_tmp / "own.yaml").write_text(OWN.replace("0.4", "4"))
    with pytest.raises(InvalidFile, match=r"line 4: bands.6-8.threshold: .*got 4"):
        run("check", "own.yaml")


def test_diff_has_the_exit_codes_of_diff(in_tmp: Path) -> None:
    (in_tmp / "own.yaml").write_text(OWN)
    code, page = run("diff", "kids", "own.yaml")
    assert code == 1
    assert "bands.6-8.threshold.violence" in page
    assert run("diff", "kids", "kids")[0] == 0
    assert len(json.loads(run("diff", "kids", "own.yaml", "--json")[1])) == 10

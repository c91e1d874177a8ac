"""`taleward book` as a user runs it: making, editing a plan, changing, binding, wrong use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taleward.books import Book
from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, TalewardError
from tests.helpers.books import TALE

FAST = ("--judge", "lexicon")


def book(*args: str, stdin: str | None = None) -> Any:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["book", *args], input=stdin)
    if isinstance(done.exception, TalewardError):
        raise done.exception
    return done


@pytest.fixture
def folder(in_tmp: Path) -> Path:
    done = book("--tale", "-", "--out", "pip", "--pages", "3", "--seed", "3", "--format", "html", *FAST, stdin=TALE)
    assert done.exit_code == 0, done.output
    return in_tmp / "pip"


def test_a_book_is_made_changed_and_bound_anew(folder: Path) -> None:
    made = Book.load(folder)
    assert made.is_complete
    first = (folder / "book.html").read_bytes()
    done = book("redo", "pip", "--page", "2", "add a balloon", *FAST)
    assert done.exit_code == 0
    assert "page 2: picture changed" in done.stdout
    assert "book.html bound anew" in done.stdout
    assert (folder / "book.html").read_bytes() != first
    done = book("swap", "pip", "Pip", "a fox", *FAST)
    assert "The cover changed" in done.stdout or "the cover changed" in done.stdout
    assert "rabbit" not in Book.load(folder).text
    shown = json.loads(book("show", "pip", "--json").stdout)
    assert [edit["kind"] for edit in shown["edits"]] == ["redo", "swap"]
    assert shown["metrics"]["cast_shown"] == 1.0


def test_a_text_that_does_not_pass_ends_with_3_and_changes_nothing(folder: Path) -> None:
    before = (folder / "book.json").read_bytes()
    done = book("text", "pip", "--page", "1", "He stabbed the guard and blood ran down the wall.", *FAST)
    assert done.exit_code == 3
    assert (folder / "book.json").read_bytes() == before


def test_a_plan_can_be_edited_before_anything_is_drawn(in_tmp: Path) -> None:
    (in_tmp / "tale.txt").write_text(TALE)
    done = book("--tale", "tale.txt", "--out", "pip", "--pages", "2", "--plan-only", *FAST)
    assert "plan.yaml: 2 pages" in done.stdout
    plan = in_tmp / "pip" / "plan.yaml"
    plan.write_text(plan.read_text().replace("title: Pip", "title: Brave Pip", 1))
    assert book("--out", "pip", "--format", "", *FAST).exit_code == 0
    assert Book.load(in_tmp / "pip").title.startswith("Brave Pip")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--format", "docx"), "unknown format 'docx'"),
        (("a fox", "--tale", "x.txt"), "got several"),
        (("--base-url", "http://localhost:1", "--tale", "-"), "the model is collage"),
    ],
)
def test_wrong_use_is_refused_before_anything_runs(in_tmp: Path, args: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        book(*args, *FAST, stdin=TALE)
    assert not (in_tmp / "book").exists()


def test_a_folder_with_a_book_is_not_overwritten(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds a book already"):
        book("a story about a cat", "--out", "pip", *FAST)

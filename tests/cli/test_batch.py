"""`taleward batch` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app


def write_texts(file: Path, *texts: str | None) -> Path:
    rows = [{"id": str(n), **({} if text is None else {"text": text})} for n, text in enumerate(texts)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def batch(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["batch", *arguments])
    error = done.exception if done.exception is not None and not isinstance(done.exception, SystemExit) else ""
    return done.exit_code, f"{done.output}{error}"


def test_judging_a_file_and_going_on(in_tmp: Path) -> None:
    write_texts(in_tmp / "rows.jsonl", "A calm day.", "The killer stabbed him.", "A fox ran.")
    command = ["rows.jsonl", "--out", "done", "--task", "judge", "--judge", "lexicon", "--engine", "inline"]
    code, output = batch(*command, "--chunk", "2", "--merge", "all.csv")
    assert code == 0, output
    assert "3 of 3 rows are finished" in output
    assert "pass" in output
    assert (in_tmp / "all.csv").read_text().count("\n") == 4
    code, output = batch(*command)
    assert code == 0
    assert "nothing was left to run" in output
    code, output = batch(*command, "--band", "3-5")
    assert code != 0
    assert '- band: "6-8" there, "3-5" now' in output
    code, output = batch(*command, "--json")
    assert json.loads(output)["outcomes"] == {"pass": 2, "fail": 1}


def test_exit_codes_of_partial_batches_and_rows_with_errors(in_tmp: Path) -> None:
    write_texts(in_tmp / "rows.jsonl", "A calm day.", None)
    command = ["rows.jsonl", "--out", "done", "--task", "judge", "--judge", "lexicon", "--engine", "inline"]
    code, output = batch(*command, "--max-seconds", "1e-9")
    assert code == 1
    assert "partial: 0 of 2 rows are finished" in output
    assert "to go on, run: taleward" in output
    code, output = batch(*command)
    assert code == 3
    assert "1 rows have an error; to run them again" in output.replace("\n", " ")
    assert "--retry-errors" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "judge", "--attempts", "2"], "the task judge takes no --attempts; it takes --band"),
        (["--task", "evaluate", "--judge", "lexicon"], "takes no --judge; it takes --metric"),
        (["--task", "jugde"], "Did you mean 'judge'?"),
        (["--task", "judge", "--column", "txt", "--judge", "lexicon"], "reads the column 'txt'"),
        (["--task", "judge", "--engine", "rey", "--judge", "lexicon"], "unknown engine 'rey'"),
    ],
)
def test_wrong_use_is_refused(in_tmp: Path, options: list[str], message: str) -> None:
    (in_tmp / "rows.csv").write_text("id,text\n1,a\n")
    code, output = batch("rows.csv", "--out", "done", *options)
    assert code != 0
    assert message in output

"""`taleward tune judge` and `taleward judge --labeled`, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("sklearn", reason="the extra calibration is not installed")
pytest.importorskip("tokenizers", reason="the extra local is not installed")

from taleward.cli.app import app
from taleward.core.errors import ConfigurationError
from taleward.evaluation.example_passages import example_passages
from taleward.moderation.policies.load import load_policy

CALM = "The bread rose in the warm oven."


def run(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments, catch_exceptions=False)


@pytest.fixture
def verdicts(in_tmp: Path) -> Path:
    """Texts that people judge as strictly as for 3-5."""
    kids, file = load_policy("kids"), in_tmp / "verdicts.jsonl"
    rows = [passage.labeled_text(kids, "3-5") for passage in example_passages()[::2]]
    lines = (json.dumps({"text": r.text, "label": r.harmful, "categories": r.categories}) + "\n" for r in rows)
    file.write_text("".join(lines), encoding="utf-8")
    (in_tmp / "calm.txt").write_text(CALM)
    return file


def test_a_judge_that_gets_better_is_written_and_can_be_used(verdicts: Path) -> None:
    done = run("tune", "judge", "--labeled", str(verdicts), "--out", "tuned", "--folds", "2")
    assert done.exit_code == 0, done.output
    assert "good turned down" in done.stdout
    assert "better: the cost of a text falls beyond noise" in done.stdout
    assert "taleward judge FILE --judge embedded:./tuned --band 6-8" in done.stderr
    used = run("judge", "calm.txt", "--judge", "embedded:./tuned", "--labeled", str(verdicts), "--json")
    answer = json.loads(used.stdout)
    assert answer["judge"] == "embedded:./tuned"
    assert len(answer["neighbors"]) == 3
    assert set(answer["neighbors"][0]) == {"text", "harmful", "categories", "band", "similarity"}
    shown = run("judge", "calm.txt", "--labeled", str(verdicts))
    assert "what people said about similar texts" in shown.stdout


def test_a_judge_that_is_not_better_is_refused_with_exit_code_1(in_tmp: Path) -> None:
    rows = [{"text": f"You shit, said {n}.", "label": 1} for n in range(12)]
    rows += [{"text": f"{CALM} {n} loaves.", "label": 0} for n in range(12)]
    (in_tmp / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("tune", "judge", "--labeled", "labels.jsonl", "--out", "tuned", "--folds", "2", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["promoted"] is False
    assert "the judge was not written; the report is in tuned" in done.stderr
    assert [file.name for file in (in_tmp / "tuned").iterdir()] == ["report.json"]


def test_labels_come_from_a_file_or_from_feedback(verdicts: Path) -> None:
    for arguments in ([], ["--labeled", str(verdicts), "--from-feedback"]):
        done = run("tune", "judge", "--out", "tuned", *arguments)
        assert done.exit_code == 2
        assert "pass either --labeled FILE or --from-feedback" in done.output
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    with pytest.raises(ConfigurationError, match="for training, whether it is kid-friendly"):
        run("tune", "judge", "--out", "tuned", "--from-feedback")


def test_neighbors_explain_one_text(verdicts: Path) -> None:
    Path("other.txt").write_text("Rain fell on the roof.")
    with pytest.raises(ConfigurationError, match="--labeled explains one text; got 2"):
        run("judge", "calm.txt", "other.txt", "--labeled", str(verdicts))

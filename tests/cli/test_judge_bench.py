"""`taleward judge-bench` and `taleward calibrate` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, InvalidFile, UnknownName

HARMFUL = ["He stabbed the guard number {}.", "They murdered farmer {} with an axe.", "She shot {} men and laughed."]
HARMLESS = ["The cat number {} sat by the fire.", "Mia shared {} cakes with her friends.", "Owl {} slept all day."]
MISSED = "Nobody ever came back from the cellar of house {}."
COLUMNS = ("--column", "story", "--label-column", "verdict", "--harmful-label", "bad")


@pytest.fixture
def data(in_tmp: Path) -> str:
    rows = [(text.format(n), "bad", "violence") for n in range(10) for text in (*HARMFUL, MISSED)]
    rows += [(text.format(n), "fine", "") for n in range(15) for text in HARMLESS]
    (in_tmp / "texts.csv").write_text("story,verdict,kind\n" + "".join(f'"{t}",{v},{k}\n' for t, v, k in rows))
    return "texts.csv"


def run(*args: str) -> tuple[int, str]:
    done = CliRunner(env={"COLUMNS": "140"}).invoke(app, args, catch_exceptions=False)
    return done.exit_code, done.stdout


def test_a_benchmark_is_printed_and_written_as_json_and_plots(data: str, in_tmp: Path) -> None:
    options = ("--judge", "lexicon", "--no-record", "--out", "report.json", "--plots", "plots", "--resamples", "20")
    code, page = run("judge-bench", data, *options, *COLUMNS, "--category-column", "kind")
    assert code == 0
    report = json.loads((in_tmp / "report.json").read_text())
    assert (report["texts"], report["harmful"]) == (85, 40)
    recall = report["judges"][0]["recall"]["value"]
    assert f"recall                      │ {recall:.3f}" in page
    assert "violence │ 40 of 85" in page
    assert sorted(p.name for p in (in_tmp / "plots").iterdir()) == ["precision-recall.png", "reliability.png"]
    assert not (in_tmp / ".taleward").exists()


@pytest.mark.filterwarnings("default")  # MLflow's own code warns
def test_a_benchmark_is_recorded_or_there_is_a_warning(data: str, in_tmp: Path) -> None:
    options = ("--judge", "lexicon", "--resamples", "0")
    run("judge-bench", data, *options, "--folder", "kept", *COLUMNS)
    assert (in_tmp / "kept/mlflow.db").stat().st_size > 0
    (in_tmp / "a file").write_text("")
    done = CliRunner().invoke(app, ["judge-bench", data, *options, "--folder", "a file", *COLUMNS])
    assert done.exit_code == 0
    assert "the benchmark was not recorded: FileExistsError" in done.output


def test_json_is_the_report_in_place_of_the_tables(data: str) -> None:
    code, page = run("judge-bench", data, "--judge", "lexicon", "--no-record", "--json", "--resamples", "0", *COLUMNS)
    assert code == 0
    assert json.loads(page)["harmful"] == 40


def test_with_a_cache_no_text_is_judged_twice(data: str) -> None:
    options = ("--judge", "lexicon", "--cache", "kept.db", "--no-record", "--resamples", "0")
    first, second = (run("judge-bench", data, *options, *COLUMNS)[1] for _ in range(2))
    assert "from the cache" not in first
    assert "lexicon: 85 verdicts came from the cache; latency and cost are the cache's." in second


def test_a_calibration_is_measured_as_one_more_judge(data: str, in_tmp: Path) -> None:
    (in_tmp / "own").mkdir()
    (in_tmp / "own/own.yaml").write_text("extends: kids\nname: own\nversion: '1'\n")
    options = ("--judge", "lexicon", "--policy", "own/own.yaml", "--resamples", "20")
    code, page = run(
        "calibrate", data, *options, "--false-alarms", "0.1", *COLUMNS, "--category", "violence", "--plots", "plots"
    )
    assert code == 0, page
    assert "violence │ 40 of 85" in page
    assert "not fitted, 0 harmful and 45 harmless texts; 20 of each are needed: frightening, sexual" in " ".join(
        page.split()
    )
    path = in_tmp / "own/own-6-8-lexicon.calibration.yaml"
    assert yaml.safe_load(path.read_text())["policy"] == "own@1"
    assert (in_tmp / "plots/reliability-violence.png").is_file()
    code, page = run("judge-bench", data, *options, "--calibration", str(path), "--no-record", *COLUMNS)
    assert code == 0
    assert "lexicon + own-6-8-lexicon.calibration.yaml: " in " ".join(page.split())
    with pytest.raises(ConfigurationError, match="fitted for policy 'own@1', not 'kids@1'"):
        run("judge-bench", data, "--judge", "lexicon", "--calibration", str(path), "--no-record", *COLUMNS)


def test_a_category_with_too_few_texts_is_not_fitted(data: str, in_tmp: Path) -> None:
    options = ("--judge", "lexicon", "--recall", "0.9", "--min-texts", "50", "--category", "violence")
    code, page = run("calibrate", data, *options, *COLUMNS)
    assert code == 1
    assert "not fitted, 40 harmful and 45 harmless texts; 50 of each are needed: violence" in " ".join(page.split())
    assert not list(in_tmp.glob("*.calibration.yaml"))


def test_an_error_says_what_to_do(data: str) -> None:
    with pytest.raises(InvalidFile, match=r"texts.csv has problems:\n  - line 2 and 84 more: column 'text' is missing"):
        run("judge-bench", data, "--judge", "lexicon")
    with pytest.raises(InvalidFile, match=r"got 'bad'; expected true or false.*--harmful-label"):
        run("judge-bench", data, "--judge", "lexicon", "--column", "story", "--label-column", "verdict")
    with pytest.raises(UnknownName, match="Did you mean 'violence'"):
        run("judge-bench", data, "--judge", "lexicon", *COLUMNS, "--category", "violense")
    with pytest.raises(ConfigurationError, match="'lexicon' is given twice"):
        run("judge-bench", data, "--judge", "lexicon", "--judge", "lexicon", *COLUMNS)
    with pytest.raises(ConfigurationError, match="--base-url is the server of an openai: model; the judge is lexicon"):
        run("judge-bench", data, "--judge", "lexicon", "--base-url", "http://127.0.0.1:9/v1", *COLUMNS)
    two = ("--judge", "lexicon", "--judge", "embedded:judge")
    assert run("calibrate", data, *two, "--recall", "0.9", *COLUMNS)[0] == 2
    for targets in ((), ("--recall", "0.9", "--false-alarms", "0.1"), ("--recall", "1.5")):
        assert run("calibrate", data, "--judge", "lexicon", *targets, *COLUMNS)[0] == 2

"""Run every benchmark with `--smoke`, which only shows that it runs; and the table that they share."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks import evaluation_runs
from benchmarks.table import Row, Size, is_installed, pick, run
from tests.test_layout import ROOT

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries that are measured

NOT_RUN_ITSELF = {
    "__init__": "the package",
    "table": "the table of all benchmarks",
    "questions": "the questions of stores",
    "batch_jobs": "the jobs of batch",
    "fake_model_server": "the model of serving",
    "serving_processes": "the servers of serving",
    "stream_client": "the client of serving",
    "routing_peer": "runs in the Python that has semantic-router, if there is one",
}
# These consist mostly of child processes, so they run beside the others, and are checked at the end.
IN_BACKGROUND = ("evaluation_runs", "serving", "stores")
BENCHMARKS = sorted(
    {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - set(NOT_RUN_ITSELF) - set(IN_BACKGROUND)
)
STORY = (
    "Once upon a time, there was a fox named Mia. She went to the park and found a shiny key. "
    "{}. Then she shared the key with a friend, and they played together all day until they went home to sleep."
)


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


class BackgroundRun(NamedTuple):
    process: subprocess.Popen[bytes]
    folder: Path


@pytest.fixture(scope="module")
def background_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundRun]:
    folder = tmp_path_factory.mktemp("background")
    calls = [f"{name}.main(['--smoke', '--json', {str(folder / name)!r}])" for name in IN_BACKGROUND]
    code = f"from benchmarks import {', '.join(IN_BACKGROUND)}\nraise SystemExit({' or '.join(calls)})"
    with (folder / "output").open("wb") as output:
        command = [sys.executable, "-W", "ignore", "-c", code]
        with subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT) as process:
            yield BackgroundRun(process, folder)
            process.kill()


@pytest.fixture
def arguments(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The arguments of a benchmark, with the smallest data that it accepts."""
    name: str = request.getfixturevalue("name")
    if name == "gpu":
        return ["--device", "cpu", "--small"]
    if name == "tasks":
        stories = [{"story": STORY.format(f"It was day {n}"), "summary": "A fox shares a key."} for n in range(2)]
        write_rows(tmp_path / "story_summaries.jsonl.gz", stories)
        kinds = ("child", "campfire", "scene", "food")
        rows = [{"kind": kind, "story": STORY.format(f"It was a {kind} {n}")} for kind in kinds for n in range(2)]
        write_rows(tmp_path / "instruct_stories.jsonl.gz", rows)
        return ["--data", str(tmp_path)]
    return []


def check_rows(file: Path) -> None:
    rows = json.loads(file.read_text())
    assert rows
    for row in rows:
        assert row["metric"]
        assert math.isfinite(row["ours"]), row


@pytest.mark.usefixtures("background_run")
@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_runs(name: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALEWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEMANTIC_ROUTER_PYTHON", raising=False)
    monkeypatch.setattr(evaluation_runs, "measure", lambda size: iter(()))  # runs in the background
    file = tmp_path / "rows.json"
    assert import_module(f"benchmarks.{name}").main(["--smoke", "--json", str(file), *arguments]) == 0
    check_rows(file)


@pytest.mark.parametrize("name", IN_BACKGROUND)
def test_benchmark_runs_in_the_background(name: str, background_run: BackgroundRun) -> None:
    return_code = background_run.process.wait(timeout=300)
    assert return_code == 0, (background_run.folder / "output").read_text()
    check_rows(background_run.folder / name)


def rows_of(size: Size) -> Iterator[Row]:
    yield Row("speed", "texts/s", pick(size, full=3.0, quick=2.0, smoke=1.0), 1.0, "peer", 2.0, "at least 4", False)


@pytest.mark.parametrize(("option", "ours", "exit_code"), [([], 3.0, 1), (["--quick"], 2.0, 1), (["--smoke"], 1.0, 0)])
def test_missed_goal_is_an_exit_code_except_with_smoke(
    option: list[str], ours: float, exit_code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    assert run("example", rows_of, [*option, "--json", str(file)]) == exit_code
    assert f"| speed | texts/s | {ours:g} | 1 | peer | 2 | at least 4 MISSED |" in capsys.readouterr().out
    assert json.loads(file.read_text()) == [
        {
            "metric": "speed",
            "unit": "texts/s",
            "ours": ours,
            "peer": 1.0,
            "peer_name": "peer",
            "ratio": 2.0,
            "goal": "at least 4",
        }
    ]


def test_rows_of_a_missing_peer_are_left_out_with_a_line_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert is_installed("json", "json")
    assert not is_installed("no_such_peer.part", "no-such-peer")
    assert (
        "no_such_peer.part are left out: it is not installed. Run: pip install no-such-peer" in capsys.readouterr().err
    )

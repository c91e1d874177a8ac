"""The command line as a user runs it: in a process of its own."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from taleward.chains.story import StoryChain
from taleward.cli.output.console import print_error, warn_not_recorded
from taleward.core.errors import MissingExtra

VIOLENT = "The men laughed. He stabbed the guard in the throat and blood ran down the wall. Nobody came."
GENTLE = "The little rabbit shared her carrot with a mouse. They sat under the old tree and watched the clouds go by."


def taleward(*args: str, cwd: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "120", "PYTHONWARNINGS": "default"}
    command = [sys.executable, "-m", "taleward", *args]
    return subprocess.run(command, cwd=cwd, input=text, capture_output=True, text=True, check=False, env=env)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a folder")


def test_tell_prints_and_records_a_judged_tale(folder: Path) -> None:
    done = taleward("tell", "--seed", "2", "--judge", "lexicon", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "adventurer" in done.stdout
    assert "verdict: pass by lexicon under kids@1 for ages 6-8" in done.stdout
    assert "recorded in .taleward/mlflow.db as tale" in " ".join(done.stderr.split())
    assert (folder / ".taleward/mlflow.db").is_file()


def test_the_same_seed_tells_the_same_tale(folder: Path) -> None:
    args = ("tell", "--seed", "7", "--judge", "lexicon", "--json", "--no-record")
    first, again = (json.loads(taleward(*args, cwd=folder).stdout) for _ in range(2))
    assert first["released_text"] == again["released_text"]
    assert "draft" not in first["attempts"][0]
    assert sorted(attempt["calls"][0]["seed"] for attempt in first["attempts"]) == [
        28,
        29,
        30,
        31,
    ]  # the four seeds of 7


def test_a_streamed_tale_is_the_same_tale(folder: Path) -> None:
    args = ("tell", "--seed", "7", "--best-of", "1", "--judge", "lexicon", "--no-record")
    text = json.loads(taleward(*args, "--json", cwd=folder).stdout)["released_text"]
    done = taleward(*args, "--stream", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(text)
    assert "verdict: pass" in done.stdout


def test_inputs_that_do_not_pass_are_refused(folder: Path) -> None:
    others = [f"--{name}=x" for name in ("setting", "mysterious_object", "magical_properties", "action", "outcome")]
    done = taleward("tell", *others, "--character", "a bloody murderer", "--stream", "--no-record", cwd=folder)
    assert done.returncode == 3
    assert "Shall we think of something" in done.stdout
    assert "the inputs did not pass the judge" in done.stdout


def test_values_come_from_options_and_file(folder: Path) -> None:
    values = {
        "setting": "quiet harbor",
        "character": "small boat",
        "mysterious_object": "silver bell",
        "magical_properties": "a voice",
        "action": "ring it",
        "outcome": "a song",
    }
    (folder / "values.json").write_text(json.dumps({**values, "setting": "noisy harbor"}))
    args = ("--inputs", "values.json", "--setting", "quiet harbor", "--judge", "lexicon", "--seed", "1")
    done = taleward("tell", *args, "--best-of", "1", "--no-record", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["released_text"] == StoryChain("embedded:storyteller", seed=1).invoke(values).strip()


def test_a_refusal_shows_no_story(folder: Path) -> None:
    done = taleward("tell", "--character", "naked killer with a bloody knife", "--judge", "lexicon", cwd=folder)
    assert done.returncode == 2  # the other five values are missing
    example = ["--setting=forest", "--mysterious-object=x", "--magical-properties=y", "--action=walk", "--outcome=z"]
    args = (
        "--character",
        "man who stabbed the guard",
        *example,
        "--judge",
        "lexicon",
        "--attempts",
        "2",
        "--seed",
        "1",
    )
    shown = taleward("tell", *args, "--no-record", cwd=folder)
    assert shown.returncode == 3, shown.stdout + shown.stderr
    assert "I would rather not tell a story about that" in shown.stdout
    assert "Once upon a time" not in shown.stdout
    machine = taleward("tell", *args, "--no-record", "--json", cwd=folder)
    assert machine.returncode == 3
    assert json.loads(machine.stdout)["released_text"] is None
    assert "Once upon a time" not in machine.stdout


def test_all_invalid_values_are_named(folder: Path) -> None:
    done = taleward("tell", "--setting", "", "--color", "red", cwd=folder)
    assert done.returncode == 2
    assert "'setting' is empty" in done.stderr
    assert "unknown variable 'color'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["tell", "--model", "opnai:x"], "Did you mean 'openai'?"),
        (["tell", "--template", "advnture"], "Did you mean 'adventure'?"),
        (["tell", "--band", "6-7"], "Known: '3-5', '6-8', '9-12'"),
        (["tell", "--policy", "kid"], "Did you mean 'kids'?"),
        (["tell", "stray"], "unexpected argument 'stray'; pass values of the template's variables as --NAME VALUE"),
        (["judge", "none.txt"], "Pass the path of a text file"),
    ],
)
def test_an_error_says_what_to_do(folder: Path, args: list[str], message: str) -> None:
    done = taleward(*args, cwd=folder)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_an_unreachable_model_is_an_error(folder: Path) -> None:
    done = taleward(
        "tell", "--model", "openai:x", "--base-url", "http://127.0.0.1:9/v1", "--judge", "lexicon", cwd=folder
    )
    assert done.returncode == 1
    assert "Connection error" in done.stderr
    assert "Traceback" not in done.stderr


def test_judge_highlights_the_findings_and_exits_with_3(folder: Path) -> None:
    (folder / "violent.txt").write_text(VIOLENT)
    done = taleward("judge", "violent.txt", cwd=folder)
    assert done.returncode == 3, done.stderr
    assert "stabbed the guard" in done.stdout
    verdict = json.loads(taleward("judge", "violent.txt", "--json", cwd=folder).stdout)
    assert verdict["outcome"] == "fail"
    spans = {VIOLENT[f["start"] : f["end"]] for f in verdict["findings"] if f["start"] is not None}
    assert spans == {f["quote"] for f in verdict["findings"] if f["start"] is not None}
    assert any(f["category"] == "violence" for f in verdict["findings"])


def test_judge_passes_a_gentle_text(folder: Path) -> None:
    done = taleward("judge", "-", cwd=folder, text=GENTLE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: pass" in done.stdout


def test_a_text_cannot_control_the_terminal(folder: Path) -> None:
    done = taleward("judge", "-", "--judge", "lexicon", cwd=folder, text=f"\x1b[2J{GENTLE}[red]x[/red]")
    assert "\x1b" not in done.stdout
    assert "[red]x[/red]" in done.stdout


def test_templates_models_and_cards_are_listed(folder: Path) -> None:
    assert "science_fiction" in taleward("templates", cwd=folder).stdout
    invalid = taleward("templates", "check", "none.yaml", cwd=folder)
    assert invalid.returncode == 2
    assert "the template file none.yaml cannot be read" in " ".join(invalid.stderr.split())
    assert "embedded:storyteller" in taleward("models", cwd=folder).stdout
    card = taleward("models", "embedded:storyteller", cwd=folder).stdout
    assert "Built with Llama" in card
    assert "base_model" not in card
    unknown = taleward("models", "embedded:storyteler", cwd=folder)
    assert unknown.returncode == 2
    assert "Did you mean 'embedded:storyteller'?" in " ".join(unknown.stderr.split())


def test_a_read_only_folder_is_an_error_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(OSError(errno.EROFS, "Read-only file system", ".taleward"))
    warn_not_recorded("the tale", PermissionError(errno.EACCES, "Permission denied", ".taleward"))
    stderr = " ".join(capsys.readouterr().err.split())
    assert stderr.count("Run the command in a folder that you can write to, or name one with --folder.") == 2
    assert "DEBUG" not in stderr
    warn_not_recorded("the tale", MissingExtra("recording tales", "mlflow"))
    assert "pip install 'taleward[mlflow]'" in capsys.readouterr().err

"""The command line as a user runs it: in a process of its own."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taleward import __version__
from taleward.chains.story import StoryChain
from taleward.cli.app import app
from taleward.cli.output.console import print_error, warn_not_recorded
from taleward.core.errors import MissingExtra
from taleward.moderation.text.request_coverage import missing_wishes
from tests.helpers.tiny_task_models import gpt2

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


def test_the_printed_seed_tells_the_same_tale_again(folder: Path) -> None:
    args = ("tell", "a story about a fox who finds a key", "--judge", "lexicon", "--json", "--no-record")
    done = taleward(*args, cwd=folder)
    first, printed = json.loads(done.stdout), re.search(r"tell this very tale again, add: (--seed \d+)\n", done.stderr)
    assert printed is not None
    assert len(first["attempts"]) == 6
    assert "draft" not in first["attempts"][0]
    again = json.loads(taleward(*args, *printed[1].split(), cwd=folder).stdout)
    assert again["released_text"] == first["released_text"]
    assert len(again["attempts"]) == 1
    seed = int(printed[1].split()[1])
    assert again["attempts"][0]["calls"][0]["seed"] == first["attempts"][-1]["calls"][0]["seed"] == seed
    in_python = StoryChain("embedded:storyteller", seed=seed).invoke("a story about a fox who finds a key")
    assert in_python == first["released_text"]


def test_the_printed_options_tell_the_best_of_several_drafts_again(folder: Path) -> None:
    request = ("tell", "a story about an owl", "--best-of", "3", "--seed", "5")
    args = (*request, "--judge", "lexicon", "--json", "--no-record")
    done = taleward(*args, cwd=folder)
    first, printed = json.loads(done.stdout), re.search(r"add: (--seed \d+ --best-of 1)\n", done.stderr)
    assert printed is not None
    assert sorted(attempt["calls"][0]["seed"] for attempt in first["attempts"]) == [5, 6, 7]
    again = json.loads(taleward(*args, *printed[1].split(), cwd=folder).stdout)
    assert again["released_text"] == first["released_text"]


def test_a_request_is_counted_by_its_wishes(folder: Path) -> None:
    request, small = "a story about a fox and an Icelandic parliament", "embedded:storyteller-mini"
    text = StoryChain(small, seed=1).invoke(request)
    assert missing_wishes(("fox", "Icelandic parliament"), text) == ("Icelandic parliament",)
    done = taleward("tell", *request.split(), "--model", small, "--seed", "1", "--judge", "lexicon", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 wishes are in the tale; missing: Icelandic parliament" in done.stdout
    assert f"{small} | attempt 1 | " in done.stdout
    assert "better stories: --model openai:" in done.stderr
    assert "template" not in done.stdout + done.stderr


def test_the_drafts_of_an_embedded_writer_are_counted(folder: Path) -> None:
    done = taleward("tell", "a story about a fox", "--judge", "lexicon", "--no-record", cwd=folder)
    assert re.search(r"^embedded:storyteller \| draft [1-6] of 6 \| ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("source", ["request.txt", "-"])
def test_a_longer_request_comes_from_a_file(folder: Path, source: str) -> None:
    request = "Tell a story about a fox.\nThe fox finds a key.\n"
    (folder / "request.txt").write_text(request)
    args = ("--prompt-file", source, "--judge", "lexicon", "--seed", "1", "--no-record", "--json")
    done = taleward("tell", *args, cwd=folder, text=request)
    assert done.returncode == 0, done.stderr
    expected = StoryChain("embedded:storyteller", seed=1).invoke(request).strip()
    assert json.loads(done.stdout)["released_text"] == expected


def test_a_request_that_does_not_pass_is_refused(folder: Path) -> None:
    done = taleward("tell", "a story about a bloody murderer", "--no-record", cwd=folder)
    assert done.returncode == 3
    assert "the inputs did not pass the judge" in done.stdout
    assert "again, add" not in done.stderr


def test_a_request_fills_a_template_and_its_examples_the_rest(folder: Path) -> None:
    request = "a story about a shy dragon who finds a bell"
    args = ("tell", request, "--template", "adventure", "--setting", "quiet harbor", "--judge", "lexicon")
    done = taleward(*args, "--seed", "1", "--no-record", cwd=folder)
    assert done.returncode == 0, done.stderr
    note = " ".join(done.stderr.split())
    assert "from the request: character 'shy dragon', mysterious_object 'bell'; from the template's examples:" in note
    assert "outcome 'a new friendship'" in note
    assert "quiet harbor" not in note
    assert "template adventure@1" in done.stdout


def test_a_completion_model_gets_the_values_of_a_request(tmp_path: Path) -> None:
    model = gpt2(tmp_path, context=400)
    args = ("--model", model, "--judge", "lexicon", "--attempts", "1", "--no-record", "--json")
    done = CliRunner().invoke(app, ["tell", "a story about a fox who finds a key", *args])
    note = " ".join(done.stderr.split())
    assert "only continues text and takes no request. template adventure, from the request: character 'fox'" in note


def test_a_streamed_tale_is_the_same_tale(folder: Path) -> None:
    args = ("tell", "--seed", "7", "--judge", "lexicon", "--no-record")
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
    done = taleward("tell", *args, "--no-record", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["released_text"] == StoryChain("embedded:storyteller", seed=1).invoke(values).strip()


def test_a_refusal_shows_no_story(folder: Path) -> None:
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
        (["tell", "--setting"], "unexpected argument '--setting'; pass values of the template's variables as"),
        (["tell", "--bnd", "3-5"], "unknown option --bnd. Did you mean --band?"),
        (["tell", "--seting", "wood"], "unknown option --seting. Did you mean --setting?"),
        (["tell", "a fox", "--setting", "wood"], "a request takes no values; got setting."),
        (["tell", "a fox", "--prompt-file", "x.txt"], "there are two requests: 'a fox' and the one in --prompt-file"),
        (["tell", "--prompt-file", "none.txt"], "Pass the path of a text file"),
        (["tel"], "Did you mean 'tell'?"),
        (["judge", "--bnd", "3-5", "x.txt"], "No such option: --bnd. Did you mean --band?"),
        (["policy", "show", "--bnd", "3-5"], "No such option: --bnd. Did you mean --band?"),
        (["--verison"], "No such option: --verison. Did you mean --version?"),
        (["judge", "none.txt"], "Pass the path of a text file"),
    ],
)
def test_an_error_says_what_to_do(folder: Path, args: list[str], message: str) -> None:
    done = taleward(*args, cwd=folder)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_version_and_help(folder: Path) -> None:
    assert taleward("--version", cwd=folder).stdout == f"taleward {__version__}\n"
    assert "[REQUEST]" in taleward("tell", "-h", cwd=folder).stdout
    assert "check" in taleward("policy", "-h", cwd=folder).stdout
    assert "--install-completion" in taleward("-h", cwd=folder).stdout


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
    assert "SmolLM2-135M-Instruct" in card
    assert "base_model" not in card
    assert "Built with Llama" in taleward("models", "embedded:storyteller-mini", cwd=folder).stdout
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

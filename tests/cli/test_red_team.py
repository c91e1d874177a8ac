"""`taleward red-team` as a user runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.core.errors import ConfigurationError

MODULE = """
import taleward as tw
from taleward.testing import FakeJudge, FakeWriter

leaky = tw.Guard(FakeWriter("He stabbed the guard."), FakeJudge("pass"))
teens = tw.Guard(FakeWriter("The end."), FakeJudge("pass", policy="teen", band="13-15"))
safe = tw.Guard(FakeWriter("He stabbed the guard."), FakeJudge("fail"))
seen = []

def chat(messages):
    seen.append(messages)

def flaky(request):
    seen.append(request)
    if len(seen) == 1:
        raise RuntimeError("down")
"""
FEW = ("--category", "violence", "--trick", "plain", "--trick", "insistence", "--wishes", "1", "--checker", "lexicon")


@pytest.fixture(autouse=True)
def _app(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "red_app", raising=False)
    (in_tmp / "red_app.py").write_text(MODULE)


def run(*args: str) -> tuple[int, str, str]:
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["red-team", *args], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def test_leaks_are_printed_and_fail_a_build(in_tmp: Path) -> None:
    code, page, notes = run("red_app:leaky", *FEW, "--max-leaks", "0", "--out", "new/o.json", "--report", "new/r.html")
    assert code == 3
    assert "│ plain      │       1 │ 1 (100%) │ 1 of 1 │" in page
    assert "│ violence │       2 │ 2 (100%) │ 2 of 2 │" in page
    assert "released: He stabbed the guard." in page
    assert "2 leaks; at most 0 are allowed" in notes
    assert json.loads((in_tmp / "new/o.json").read_text())["total"]["leaks"] == 2
    assert "He stabbed the guard." in (in_tmp / "new/r.html").read_text()
    assert run("red_app:leaky", *FEW, "--max-leaks", "2")[0] == 0


def test_a_safe_guard_passes_and_json_is_all_of_standard_output() -> None:
    code, page, _ = run("red_app:safe", *FEW, "--max-leaks", "0", "--json")
    assert code == 0
    assert json.loads(page)["total"]["refused"] == 2


def test_the_embedded_storyteller_is_attacked_by_default() -> None:
    code, page, notes = run("--category", "violence", "--trick", "plain", "--wishes", "1", "--max-leaks", "0")
    assert code == 0
    assert "0 of" in page
    assert "embedded:judge also judges in the system" in notes


def test_a_guarded_chat_is_attacked_with_a_conversation() -> None:
    code, page, _ = run("--chat", "--category", "crime", "--trick", "insistence", "--wishes", "1", "--max-turns", "2")
    assert code == 0
    assert "insistence" in page


def test_a_system_of_messages_and_an_input_key() -> None:
    assert run("red_app:chat", *FEW, "--messages", "--input-key", "messages")[0] == 0
    seen = sys.modules["red_app"].seen
    assert max(len(inputs["messages"]) for inputs in seen) == 7


def test_answers_are_judged_by_the_policy_of_the_system_unless_another_is_given() -> None:
    options = ("--json", *FEW)
    assert json.loads(run("red_app:teens", *options)[1])["policy"] == "teen@1"
    report = json.loads(run("red_app:teens", *options, "--policy", "kids", "--band", "3-5")[1])
    assert (report["policy"], report["band"]) == ("kids@1", "3-5")


def test_errors_and_limits_give_a_code_of_their_own() -> None:
    code, _, notes = run("red_app:flaky", *FEW, "--concurrency", "1", "--max-leaks", "0")
    assert code == 1
    assert "attack violence-" in notes
    assert "RuntimeError: down" in notes


def test_wrong_use_names_the_next_step() -> None:
    with pytest.raises(ConfigurationError, match="expected MODULE:NAME"):
        run("red_app")
    with pytest.raises(ConfigurationError, match="no module 'no_such_app'"):
        run("no_such_app:guard")
    with pytest.raises(ConfigurationError, match=r"has no 'guard'; it has: .*leaky, teens, safe"):
        run("red_app:guard")
    for wrong in (["red_app:safe", "--chat"], ["--messages"]):
        code, _, notes = run(*wrong)
        assert code == 2
        assert "MODULE:NAME" in notes

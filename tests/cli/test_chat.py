"""`taleward chat`: conversations that are continued later, stopped with Ctrl-C, listed and deleted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taleward.agents.chat_session import Chat
from taleward.cli.app import app
from tests.helpers.openai_stub import completion, serving


def chat(lines: str, *options: str) -> Any:
    return CliRunner().invoke(app, ["chat", "--seed", "3", *options], input=lines)


def test_a_conversation_is_continued_listed_and_deleted(in_tmp: Path) -> None:
    first = chat("tell me a story about a brave mouse\n/cast\n/quit\n", "--thread", "mouse")
    assert first.exit_code == 0, first.output
    assert "mouse" in first.stdout
    assert "tell_story by semantic" in first.stderr
    second = chat("and then what happened?\n", "--thread", "mouse")
    assert "you: tell me a story about a brave mouse" in second.stderr
    assert "The next day, " in second.stdout
    assert chat("", "--threads").stdout.startswith("mouse\tlast used 20")
    assert chat("", "--delete", "mouse").exit_code == 0
    assert chat("", "--threads").stdout == ""
    assert "unknown thread 'mouse'" in str(chat("", "--delete", "mouse").exception)


def test_each_role_has_its_own_tools(in_tmp: Path) -> None:
    child = chat("how many stories were refused?\n", "--role", "child")
    assert "I can't do that here." in child.stdout
    staff = chat("how many stories were refused?\n", "--role", "staff")
    assert "No stories have been recorded yet." in staff.stdout


def test_the_story_told_last_is_refined_by_a_model_that_follows_instructions(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    requests: list[str] = []

    def answer(path: str, body: dict[str, Any]) -> Any:
        requests.append(body["messages"][-1]["content"])
        text = "A fox found a key." if len(requests) == 1 else "A fox giggled at a key."
        if not body.get("stream"):
            return completion(text)
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        parts = [
            {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]},
            {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ]
        return "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"

    lines = "tell me a story about a fox who finds a key\nmake it funnier and shorter\n"
    with serving(answer) as url:
        shown = chat(lines, "--model", "openai:m", "--base-url", url, "--judge", "lexicon")
    assert shown.exit_code == 0, shown.output
    assert "revise_text by semantic" in shown.stderr
    assert requests[0].endswith("The request:\ntell me a story about a fox who finds a key")
    assert "A fox found a key." in requests[1]
    assert "make it funnier and shorter" in requests[1]
    assert "A fox giggled at a key." in shown.stdout


def test_the_embedded_models_say_what_refining_needs(in_tmp: Path) -> None:
    shown = chat("tell me a story about a fox\nmake it funnier and shorter\n")
    assert "I can't do that here." in shown.stdout
    assert "start with: taleward chat --model" in " ".join(shown.stderr.split())
    child = chat("make it funnier and shorter\n", "--role", "child", "--thread", "child")
    assert "taleward chat --model" not in " ".join(child.stderr.split())


def test_ctrl_c_stops_an_answer_and_keeps_the_thread(in_tmp: Path) -> None:
    requested, released = threading.Event(), threading.Event()

    def answer(path: str, body: dict[str, Any]) -> str:
        requested.set()
        released.wait(30)
        return "data: [DONE]\n\n"

    with serving(answer) as url:
        command = [sys.executable, "-m", "taleward", "chat", "--model", "openai:slow", "--base-url", url]
        environment = {"OPENAI_API_KEY": "none", "PATH": "/usr/bin:/bin"}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # In the background job of a shell, child processes ignore SIGINT by default.
        restore_sigint: Any = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
        with subprocess.Popen(command, cwd=in_tmp, env=environment, **pipes, **restore_sigint) as child:
            assert child.stdin is not None
            child.stdin.write("hmm what about the bear\n")
            child.stdin.flush()
            assert requested.wait(60)
            child.send_signal(signal.SIGINT)
            _, stderr = child.communicate("/cast\n", timeout=60)
            released.set()
    assert "[stopped; the thread is kept]" in stderr
    assert "no story has been told in this thread yet" in stderr
    assert child.returncode == 0
    history = Chat(folder=in_tmp / ".taleward").history()
    assert history == [("you", "hmm what about the bear"), ("taleward", "[stopped]")]


def test_a_notebook_shows_a_turn_as_html() -> None:
    chat = Chat(role="parent")
    turn = chat("Is this okay for kids? The wolf <b>killed</b> the boy.")
    assert str(turn).startswith("This text does not pass")
    assert "judge_text by semantic" in turn._repr_html_()
    assert chat.history()[0] == ("you", "Is this okay for kids? The wolf <b>killed</b> the boy.")

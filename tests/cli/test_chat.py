"""`taleward chat`: a conversation that goes on another day, that Ctrl-C stops, and that can be deleted."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from taleward.agents.chat import Chat
from taleward.cli.app import app
from tests.helpers.openai_stub import serving


def talk(words: str, *options: str) -> Any:
    return CliRunner().invoke(app, ["chat", "--seed", "3", *options], input=words)


def test_a_conversation_with_the_embedded_models_goes_on_another_day(in_tmp: Path) -> None:
    first = talk("tell me a story about a brave mouse\n/cast\n/quit\n", "--thread", "mouse")
    assert first.exit_code == 0, first.output
    assert "mouse" in first.stdout
    assert "tell_story by semantic" in first.stderr
    again = talk("and then what happened?\n", "--thread", "mouse")
    assert "you: tell me a story about a brave mouse" in again.stderr
    assert "The next day, " in again.stdout
    listed = talk("", "--threads").stdout
    assert listed.startswith("mouse\tlast used 20")
    assert talk("", "--delete", "mouse").exit_code == 0
    assert talk("", "--threads").stdout == ""
    wrong = talk("", "--delete", "mouse")
    assert "unknown thread 'mouse'" in str(wrong.exception)


def test_a_role_has_its_tools(in_tmp: Path) -> None:
    child = talk("how many stories were refused?\n", "--role", "child")
    assert "I can't do that here." in child.stdout
    assert "No stories have been recorded yet." in talk("how many stories were refused?\n", "--role", "staff").stdout


def test_ctrl_c_stops_an_answer_and_keeps_the_thread(in_tmp: Path) -> None:
    came, go = threading.Event(), threading.Event()

    def answer(path: str, body: dict[str, Any]) -> str:
        came.set()
        go.wait(30)
        return "data: [DONE]\n\n"

    with serving(answer) as url:
        command = [sys.executable, "-m", "taleward", "chat", "--model", "openai:slow", "--base-url", url]
        environment = {"OPENAI_API_KEY": "none", "PATH": "/usr/bin:/bin"}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # A shell's background job, and all it starts, ignores Ctrl-C unless told otherwise.
        heard: Any = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
        with subprocess.Popen(command, cwd=in_tmp, env=environment, **pipes, **heard) as child:
            assert child.stdin is not None
            child.stdin.write("hmm what about the bear\n")
            child.stdin.flush()
            assert came.wait(60)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate("/cast\n", timeout=60)
            go.set()
    assert "[stopped; the thread is kept]" in said
    assert "no story has been told here yet" in said
    assert child.returncode == 0
    history = Chat(folder=in_tmp / ".taleward").history()
    assert history == [("you", "hmm what about the bear"), ("taleward", "[stopped]")]


def test_a_notebook_shows_a_turn_as_a_page() -> None:
    chat = Chat(role="parent")
    turn = chat("Is this okay for kids? The wolf <b>killed</b> the boy.")
    assert str(turn).startswith("This text does not pass")
    assert "judge_text by semantic" in turn._repr_html_()
    assert chat.history()[0] == ("you", "Is this okay for kids? The wolf <b>killed</b> the boy.")

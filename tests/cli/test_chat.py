"""`taleward chat`: conversations that are continued later, stopped with Ctrl-C, listed and deleted."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from taleward.agents.chat_session import Chat
from taleward.cli.app import app
from tests.helpers.openai_stub import serving


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

"""A process is killed in the middle of a turn and restarted: the thread continues, and no tool runs twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from langchain_core.tools import tool
from tests.helpers.scripted_chat import ScriptedChat, calls
from taleward.agents.router_agent import Router
from taleward.agents.threads.checkpointer import Threads
from taleward.agents.tools.base import ONCE
from taleward.testing import FakeJudge

folder, kill_at, request = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def die(moment):
    if moment == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

@tool
def order(book: str) -> str:
    "Order a book."
    die("before")
    with (folder / "orders.txt").open("a") as file:
        file.write(book + "\\n")
    die("after")
    return "ordered"

order.tags = [ONCE]

class Model(ScriptedChat):
    def _chunks(self, messages, **kwargs):
        last = messages[-1]
        if last.type == "tool":
            die("answer")
            yield from ScriptedChat(answers=[["It said: " + last.content.split(chr(10))[1] + " "]])._chunks(messages)
        else:
            yield from super()._chunks(messages, **kwargs)

model = Model(answers=[calls("order", {"book": "Moby Fox"})])
router = Router([order], FakeJudge(), model=model, strategies=(), threads=Threads(sys.argv[5]))
result = router.resume("1") if request == "resume" else router.invoke(request, thread="1")
messages = router.agent.get_state({"configurable": {"thread_id": "1"}}).values["messages"]
print([m.type for m in messages], result.text)
"""


def run_child(
    folder: Path, kill_at: str, request: str, location: str | None = None
) -> subprocess.CompletedProcess[str]:
    location = location or str(folder / "threads.db")
    command = [sys.executable, "-c", CHILD, str(folder), kill_at, request, str(ROOT), location]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("kill_at", "output", "orders"),
    [
        ("before", "This call started before the program was stopped", 0),
        ("after", "This call started before the program was stopped", 1),
        ("answer", "It said: ordered", 1),
    ],
)
def test_killed_turn_is_resumed_without_running_a_call_twice(
    tmp_path: Path, kill_at: str, output: str, orders: int
) -> None:
    assert run_child(tmp_path, kill_at, "Order Moby Fox").returncode == -9
    again = run_child(tmp_path, "never", "resume")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("['human', 'ai', 'tool', 'ai']")
    assert output in again.stdout
    file = tmp_path / "orders.txt"
    assert len(file.read_text().splitlines() if file.exists() else []) == orders


@pytest.mark.server
def test_killed_turn_is_resumed_from_postgres(tmp_path: Path, postgres_database: str) -> None:
    assert run_child(tmp_path, "after", "Order Moby Fox", postgres_database).returncode == -9
    again = run_child(tmp_path, "never", "resume", postgres_database)
    assert again.returncode == 0, again.stderr
    assert "This call started before the program was stopped" in again.stdout
    assert (tmp_path / "orders.txt").read_text() == "Moby Fox\n"


def test_new_request_ends_the_unfinished_turn(tmp_path: Path) -> None:
    run_child(tmp_path, "after", "Order Moby Fox")
    again = run_child(tmp_path, "never", "Order it again")
    assert again.stdout.startswith("['human', 'ai', 'human', 'ai', 'tool', 'ai']"), again.stderr
    assert (tmp_path / "orders.txt").read_text() == "Moby Fox\n" * 2

"""Threads keep what LangGraph's checkpointers must, survive a restart, grow with what was said, and can be deleted."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.graph.message import REMOVE_ALL_MESSAGES

from taleward.agents.threads.checkpointer import Threads
from taleward.core.errors import ConfigurationError, IntegrityError
from tests.helpers.scripted_chat import ScriptedChat

ASK: Any = {"messages": [HumanMessage("Who lives in the wood?")]}


def on(name: str = "evening", **more: str) -> Any:
    return {"configurable": {"thread_id": name, **more}}


def talker(threads: Threads, *answers: str) -> Any:
    return create_agent(ScriptedChat(answers=[[a] for a in answers or ("A fox.",)]), checkpointer=threads)


async def test_langgraphs_own_conformance_suite_passes(tmp_path: Path) -> None:
    made: list[Threads] = []

    @checkpointer_test(name="Threads")
    async def factory() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        made.append(Threads(tmp_path / f"{len(made)}.db"))
        yield made[-1]
        made[-1].close()

    report = await validate(factory)
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    assert report.passed_all_base()


def test_a_thread_goes_on_after_a_restart(tmp_path: Path) -> None:
    talker(Threads(tmp_path / "t.db")).invoke(ASK, on())
    again = talker(Threads(tmp_path / "t.db"), "An owl.")
    state = again.invoke({"messages": [HumanMessage("Who else?")]}, on())
    assert [m.text for m in state["messages"]] == ["Who lives in the wood?", "A fox.", "Who else?", "An owl."]


def test_one_can_go_back_and_take_another_way(tmp_path: Path) -> None:
    agent = talker(Threads(tmp_path / "t.db"), "A fox.", "An owl.", "A bear.")
    agent.invoke(ASK, on())
    before = agent.get_state(on()).config
    agent.invoke({"messages": [HumanMessage("Who else?")]}, on())
    other = agent.invoke({"messages": [HumanMessage("And in the cave?")]}, before)
    assert [m.text for m in other["messages"]][1:] == ["A fox.", "And in the cave?", "A bear."]
    histories = {tuple(m.text for m in s.values.get("messages", ()))[-1:] for s in agent.get_state_history(on())}
    assert {("An owl.",), ("A bear.",)} <= histories


def test_changed_and_removed_messages_are_kept_as_they_are(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "t.db")
    agent = talker(threads)
    agent.invoke(ASK, on())
    first = agent.get_state(on()).values["messages"][0]
    agent.update_state(on(), {"messages": [HumanMessage("Who lived in the wood?", id=first.id)]})
    assert [m.text for m in agent.get_state(on()).values["messages"]] == ["Who lived in the wood?", "A fox."]
    agent.update_state(on(), {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), AIMessage("All new.")]})
    assert [m.text for m in agent.get_state(on()).values["messages"]] == ["All new."]


@pytest.mark.parametrize("turns", [20, 60])
def test_a_thread_takes_the_room_of_what_was_said(tmp_path: Path, turns: int) -> None:
    threads = Threads(tmp_path / "t.db")
    agent = talker(threads, "A fox, and it has a red tail. " * 4)
    for _ in range(turns):
        agent.invoke(ASK, on())
    threads.close()
    assert threads.database.bytes_on_disk < 200_000 + turns * 8_000


def test_deleting_a_thread_leaves_nothing_of_it_in_the_files(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "t.db")
    agent = talker(threads, "Xylophonia.")
    agent.invoke(ASK, on("one"))
    talker(threads).invoke(ASK, on("two"))
    threads.delete_thread("one")
    assert [t.name for t in threads.threads()] == ["two"]
    assert agent.get_state(on("one")).values == {}
    assert b"Xylophonia" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_thread_nobody_used_is_forgotten(tmp_path: Path) -> None:
    talker(Threads(tmp_path / "t.db")).invoke(ASK, on())
    assert Threads(tmp_path / "t.db", ttl_s=3600).threads()
    connection = sqlite3.connect(tmp_path / "t.db")
    connection.execute("UPDATE threads SET used = used - 7200")
    connection.commit()
    connection.close()
    assert not Threads(tmp_path / "t.db", ttl_s=3600).threads()
    with pytest.raises(ConfigurationError, match="ttl_s must be above 0"):
        Threads(tmp_path / "t.db", ttl_s=0)


def test_a_pickle_in_the_file_is_not_run(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "t.db")
    talker(threads).invoke(ASK, on())
    with threads.database.writing() as connection:
        connection.execute("UPDATE bodies SET type = 'pickle', data = ?", (pickle.dumps("code"),))
    with pytest.raises(NotImplementedError, match="pickle"):
        threads.get_tuple(on())


async def test_a_cancelled_write_is_still_whole(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "t.db")
    checkpoint = empty_checkpoint()
    task = asyncio.ensure_future(threads.aput(on(checkpoint_ns=""), checkpoint, {}, {}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held = threads.get_tuple(on())
    assert held is None or held.checkpoint["id"] == checkpoint["id"]


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database at all, but long enough to be looked at" * 10)
    with pytest.raises(IntegrityError, match=r"file of threads .*notes\.db"):
        Threads(tmp_path / "notes.db")

"""`Threads` passes LangGraph's conformance suite, survives restarts, grows linearly, and deletes for good."""

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


def thread_config(name: str = "evening", **more: str) -> Any:
    return {"configurable": {"thread_id": name, **more}}


def make_agent(threads: Threads, *answers: str) -> Any:
    return create_agent(ScriptedChat(answers=[[a] for a in answers or ("A fox.",)]), checkpointer=threads)


async def test_langgraph_conformance_suite_passes(tmp_path: Path) -> None:
    stores: list[Threads] = []

    @checkpointer_test(name="Threads")
    async def factory() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        stores.append(Threads(tmp_path / f"{len(stores)}.db"))
        yield stores[-1]
        stores[-1].close()

    report = await validate(factory)
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    assert report.passed_all_base()


def test_thread_continues_after_a_restart(tmp_path: Path) -> None:
    make_agent(Threads(tmp_path / "t.db")).invoke(ASK, thread_config())
    restarted = make_agent(Threads(tmp_path / "t.db"), "An owl.")
    state = restarted.invoke({"messages": [HumanMessage("Who else?")]}, thread_config())
    assert [m.text for m in state["messages"]] == ["Who lives in the wood?", "A fox.", "Who else?", "An owl."]


def test_earlier_checkpoint_can_be_continued_differently(tmp_path: Path) -> None:
    agent = make_agent(Threads(tmp_path / "t.db"), "A fox.", "An owl.", "A bear.")
    agent.invoke(ASK, thread_config())
    before = agent.get_state(thread_config()).config
    agent.invoke({"messages": [HumanMessage("Who else?")]}, thread_config())
    branch = agent.invoke({"messages": [HumanMessage("And in the cave?")]}, before)
    assert [m.text for m in branch["messages"]][1:] == ["A fox.", "And in the cave?", "A bear."]
    histories = {
        tuple(m.text for m in s.values.get("messages", ()))[-1:] for s in agent.get_state_history(thread_config())
    }
    assert {("An owl.",), ("A bear.",)} <= histories


def test_changed_and_removed_messages_are_stored(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "t.db")
    agent = make_agent(threads)
    agent.invoke(ASK, thread_config())
    first = agent.get_state(thread_config()).values["messages"][0]
    agent.update_state(thread_config(), {"messages": [HumanMessage("Who lived in the wood?", id=first.id)]})
    assert [m.text for m in agent.get_state(thread_config()).values["messages"]] == ["Who lived in the wood?", "A fox."]
    agent.update_state(thread_config(), {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), AIMessage("All new.")]})
    assert [m.text for m in agent.get_state(thread_config()).values["messages"]] == ["All new."]


@pytest.mark.parametrize("turns", [20, 60])
def test_file_size_grows_linearly_with_the_thread(tmp_path: Path, turns: int) -> None:
    threads = Threads(tmp_path / "t.db")
    agent = make_agent(threads, "A fox, and it has a red tail. " * 4)
    for _ in range(turns):
        agent.invoke(ASK, thread_config())
    threads.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 200_000 + turns * 8_000


def test_deleted_thread_leaves_no_trace_in_the_files(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "t.db")
    agent = make_agent(threads, "Xylophonia.")
    agent.invoke(ASK, thread_config("one"))
    make_agent(threads).invoke(ASK, thread_config("two"))
    threads.delete_thread("one")
    assert [t.name for t in threads.threads()] == ["two"]
    assert agent.get_state(thread_config("one")).values == {}
    assert b"Xylophonia" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_expired_thread_is_deleted(tmp_path: Path) -> None:
    make_agent(Threads(tmp_path / "t.db")).invoke(ASK, thread_config())
    assert Threads(tmp_path / "t.db", ttl_s=3600).threads()
    connection = sqlite3.connect(tmp_path / "t.db")
    connection.execute("UPDATE threads SET used = used - 7200")
    connection.commit()
    connection.close()
    assert not Threads(tmp_path / "t.db", ttl_s=3600).threads()
    with pytest.raises(ConfigurationError, match="ttl_s must be above 0"):
        Threads(tmp_path / "t.db", ttl_s=0)


def test_pickle_in_the_file_is_not_loaded(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "t.db")
    make_agent(threads).invoke(ASK, thread_config())
    with threads.database.writing() as connection:
        connection.execute("UPDATE bodies SET type = 'pickle', data = ?", (pickle.dumps("code"),))
    with pytest.raises(NotImplementedError, match="pickle"):
        threads.get_tuple(thread_config())


async def test_canceled_write_is_complete_or_absent(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "t.db")
    checkpoint = empty_checkpoint()
    task = asyncio.ensure_future(threads.aput(thread_config(checkpoint_ns=""), checkpoint, {}, {}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stored = threads.get_tuple(thread_config())
    assert stored is None or stored.checkpoint["id"] == checkpoint["id"]


def test_other_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database, but long enough to have a header" * 10)
    with pytest.raises(IntegrityError, match=r"thread database .*notes\.db"):
        Threads(tmp_path / "notes.db")

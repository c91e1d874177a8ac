"""`Threads` on Postgres keep the promises of those in a file: branches, expiry, no pickle, calls that run once."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate

from taleward.agents.threads.checkpointer import Threads
from taleward.agents.threads.idempotency_log import CallLog
from taleward.core.errors import ConfigurationError
from tests.agents.threads.test_checkpointer import ASK, make_agent, thread_config

pytestmark = pytest.mark.server


@pytest.fixture
def options() -> dict[str, Any]:
    return {"schema": f"threads_{uuid.uuid4().hex[:12]}"}


@pytest.fixture
def threads(postgres_url: str, options: dict[str, Any]) -> Iterator[Threads]:
    threads = Threads(postgres_url, **options)
    yield threads
    threads.close()


def select(url: str, statement: str, options: dict[str, Any]) -> list[Any]:
    import psycopg
    from psycopg.sql import SQL, Identifier

    with psycopg.connect(url) as connection:
        return connection.execute(SQL(statement).format(Identifier(options["schema"]))).fetchall()


async def test_langgraph_conformance_suite_passes(postgres_url: str) -> None:
    @checkpointer_test(name="Threads")
    async def factory() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        threads = Threads(postgres_url, schema=f"suite_{uuid.uuid4().hex[:12]}")
        yield threads
        threads.close()

    report = await validate(factory)
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    assert report.passed_all_base()


def test_another_process_continues_and_branches(postgres_url: str, threads: Threads, options: dict[str, Any]) -> None:
    agent = make_agent(threads)
    agent.invoke(ASK, thread_config())
    before = agent.get_state(thread_config()).config
    other_threads = Threads(postgres_url, **options)
    other = make_agent(other_threads, "An owl.", "A bear.")
    state = other.invoke({"messages": [HumanMessage("Who else?")]}, thread_config())
    assert [m.text for m in state["messages"]] == ["Who lives in the wood?", "A fox.", "Who else?", "An owl."]
    branch = other.invoke({"messages": [HumanMessage("And in the cave?")]}, before)
    assert [m.text for m in branch["messages"]][1:] == ["A fox.", "And in the cave?", "A bear."]
    other_threads.close()


async def test_async_agents_use_the_same_threads(threads: Threads) -> None:
    agent = make_agent(threads)
    await asyncio.gather(*(agent.ainvoke(ASK, thread_config(f"child {n}")) for n in range(12)))
    assert sorted(t.name for t in threads.threads()) == sorted(f"child {n}" for n in range(12))
    checkpoints = [c async for c in threads.alist(thread_config("child 3"))]
    assert checkpoints == list(threads.list(thread_config("child 3")))
    await threads.adelete_thread("child 3")
    assert await threads.aget_tuple(thread_config("child 3")) is None


def test_a_message_is_stored_once(postgres_url: str, threads: Threads, options: dict[str, Any]) -> None:
    agent = make_agent(threads)
    for turn in range(10):
        agent.invoke({"messages": [HumanMessage(f"Who lives in wood {turn}?")]}, thread_config())
    messages = agent.get_state(thread_config()).values["messages"]
    [[items]] = select(postgres_url, "SELECT count(*) FROM {}.items", options)
    assert len(messages) == 20
    # Each turn's input is one more item: it is stored before the reducer gives the message its id.
    assert items <= 40


def test_writers_of_one_thread_do_not_lose_or_double_anything(
    postgres_url: str, threads: Threads, options: dict[str, Any]
) -> None:
    checkpoint = empty_checkpoint()
    config = threads.put(thread_config(checkpoint_ns=""), checkpoint, {}, {})

    def write(task: int) -> None:
        for _ in range(3):
            threads.put_writes(config, [("messages", ["the same message"] * 5)], f"task {task}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    stored = threads.get_tuple(config)
    assert stored is not None
    assert stored.pending_writes == [(f"task {n}", "messages", ["the same message"] * 5) for n in range(8)]
    # The checkpoint's own values, and the one message.
    [[bodies]] = select(postgres_url, "SELECT count(DISTINCT hash) - count(*) FROM {}.bodies", options)
    assert bodies == 0


def test_deleted_and_expired_threads_are_gone_from_all_tables(
    postgres_url: str, threads: Threads, options: dict[str, Any]
) -> None:
    for name in ("deleted", "expired"):
        make_agent(threads).invoke(ASK, thread_config(name))
        CallLog(threads).begin(name, "message", "call", "order")
    threads.delete_thread("deleted")
    assert [t.name for t in threads.threads()] == ["expired"]
    with threads.database.writing() as connection:
        connection.execute("UPDATE threads SET used = used - 7200")
    expiring = Threads(postgres_url, ttl_s=3600, **options)
    assert not expiring.threads()
    expiring.close()
    tables = ("threads", "bodies", "items", "checkpoints", "states", "writes", "calls")
    counts = [select(postgres_url, f"SELECT count(*) FROM {{}}.{table}", options) for table in tables]  # noqa: S608
    assert counts == [[(0,)]] * len(tables)


def test_pickle_in_the_database_is_not_loaded(threads: Threads) -> None:
    make_agent(threads).invoke(ASK, thread_config())
    with threads.database.writing() as connection:
        connection.execute("UPDATE bodies SET type = 'pickle', data = ?", (pickle.dumps("code"),))
    with pytest.raises(NotImplementedError, match="pickle"):
        threads.get_tuple(thread_config())


def test_a_call_runs_once_whoever_resumes_it(threads: Threads) -> None:
    log = CallLog(threads)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: log.begin("evening", "message", "call", "order"), range(8)))
    assert answers.count(None) == 1
    log.end("evening", "message", "call", ToolMessage("ordered", tool_call_id="call"))
    again = log.begin("evening", "message", "call", "order")
    assert isinstance(again, ToolMessage)
    assert again.content == "ordered"


def test_several_processes_create_the_tables_at_once(postgres_url: str, options: dict[str, Any]) -> None:
    code = (
        "import sys; from taleward.agents.threads.checkpointer import Threads;"
        "threads = Threads(sys.argv[1], schema=sys.argv[2]); print(threads.threads())"
    )
    command = [sys.executable, "-c", code, postgres_url, options["schema"]]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [child.communicate() for child in children]
    assert outputs == [("[]\n", "")] * 3, outputs


def test_options_of_postgres_are_no_options_of_a_file(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match="threads in a file have no schema"):
        Threads(tmp_path / "t.db", schema="taleward")

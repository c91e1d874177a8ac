"""A guard whose writer is or holds a graph, within a graph: no draft leaves through its streams or its threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config, get_stream_writer
from langgraph.graph import END, START, StateGraph

from taleward.agents import GuardMiddleware
from taleward.moderation.guard.guard import Guard
from taleward.testing import FakeJudge
from tests.helpers.scripted_chat import SECRET, ScriptedChat, calls, leaked, says

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

MODES = ["values", "updates", "debug", "tasks", "checkpoints", "messages", "custom"]


class State(TypedDict):
    """The state of the outer graph."""

    tale: str


def agent_writer(inputs: Any) -> Any:
    """A writer that calls a graph of its own, and hands its draft to the stream writer as well."""
    get_stream_writer()({"draft": SECRET})
    return create_agent(says(SECRET), []).invoke({"messages": [HumanMessage("hi")]})["messages"][-1]


async def async_agent_writer(inputs: Any) -> Any:
    get_stream_writer()({"draft": SECRET})
    return (await create_agent(says(SECRET), []).ainvoke({"messages": [HumanMessage("hi")]}))["messages"][-1]


_agent: Any = create_agent(says(SECRET), [])
AGENT: Any = (
    RunnableLambda(lambda _: {"messages": [HumanMessage("hi")]})
    | _agent
    # A graph that streams yields the updates of its nodes.
    | (lambda state: state.get("model", state)["messages"][-1])
)
WRITERS: dict[str, Any] = {"chain": AGENT, "function": agent_writer, "async_function": async_agent_writer}


def outer_graph(writer: Any, *, streams: bool) -> Any:
    """A graph with a node that runs a guard, either way."""

    async def tell(state: State, config: RunnableConfig) -> dict[str, str]:
        guard = Guard(writer, FakeJudge(), attempts=1)
        if streams:
            events = [event async for event in guard.astream("hi", config)]
            return {"tale": repr(events[-1])}
        return {"tale": repr(await guard.ainvoke("hi", config))}

    graph = StateGraph(State)
    graph.add_node("tell", tell)
    graph.add_edge(START, "tell")
    graph.add_edge("tell", END)
    return graph.compile(checkpointer=InMemorySaver())


async def _streamed(graph: Any, config: Any) -> list[Any]:
    stream = graph.astream({"tale": ""}, config, stream_mode=MODES, subgraphs=True)
    return [chunk async for chunk in stream]


async def _events_v2(graph: Any, config: Any) -> list[Any]:
    return [event async for event in graph.astream_events({"tale": ""}, config, version="v2")]


async def _events_v3(graph: Any, config: Any) -> list[Any]:
    stream = await graph.astream_events({"tale": ""}, config, version="v3")
    return [event async for event in stream]


@pytest.mark.parametrize("path", [_streamed, _events_v2, _events_v3], ids=lambda path: path.__name__)
@pytest.mark.parametrize("streams", [False, True], ids=["invoke", "stream"])
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_graph_around_a_guard_sees_no_draft(writer: Any, streams: bool, path: Callable[..., Any]) -> None:
    graph, config = outer_graph(writer, streams=streams), {"configurable": {"thread_id": "1"}}
    seen = asyncio.run(path(graph, config))
    assert seen
    assert leaked(seen) == ""
    saved = list(graph.get_state_history(config)) if path is _streamed else []
    assert leaked(saved) == ""
    assert leaked(vars(graph.checkpointer)) == ""


def test_an_agents_tool_that_runs_a_guard_leaks_nothing() -> None:
    @tool
    async def tell(config: RunnableConfig) -> str:
        """Tell a story."""
        return str((await Guard(AGENT, FakeJudge(), attempts=1).ainvoke("hi", config)).released)

    model = ScriptedChat(answers=[calls("tell", {}), ["All done."]])
    agent: Any = create_agent(model, [tell], middleware=[GuardMiddleware(FakeJudge())], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}

    async def run() -> list[Any]:
        stream = agent.astream({"messages": [HumanMessage("hi")]}, config, stream_mode=MODES, subgraphs=True)
        return [chunk async for chunk in stream]

    seen = asyncio.run(run())
    assert "All done." in repr(seen)
    assert leaked(seen) == ""
    assert leaked(vars(agent.checkpointer)) == ""


def test_a_writer_still_reaches_the_graphs_store_and_context() -> None:
    """Only what leads out is cut off."""
    seen: list[Any] = []

    def writer(inputs: Any) -> str:
        configurable = get_config()["configurable"]
        seen.append((configurable["thread_id"], sorted(key for key in configurable if key.startswith("__pregel_"))))
        return "A fine tale."

    graph = outer_graph(writer, streams=False)
    asyncio.run(graph.ainvoke({"tale": ""}, {"configurable": {"thread_id": "7"}}))
    assert seen == [("7", ["__pregel_runtime"])]

"""GuardMiddleware shows no unjudged text in any stream mode; LangChain's own middleware does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given, settings, strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ModelFallbackMiddleware,
    PIIMiddleware,
    hook_config,
)
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputValidationError, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.runtime import Runtime
from langgraph.types import Command, StreamMode
from pydantic import BaseModel

from taleward.agents.middleware.guard import GuardMiddleware
from taleward.core.errors import ConfigurationError
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge
from tests.helpers.scripted_chat import SECRET, ScriptedChat, Witness, call_id, calls, cut, cut_anyhow, leaked, says

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

MODES: tuple[StreamMode, ...] = get_args(StreamMode)
FINE = "Once there was a fox. It had a red tail. "
END = "Then it went home. "
ASK: Any = {"messages": [HumanMessage("Tell me a story.")]}

Path = Callable[[Any, dict[str, Any]], list[Any]]


def _invoke(agent: Any, config: dict[str, Any]) -> list[Any]:
    return [agent.invoke(ASK, config)]


def _ainvoke(agent: Any, config: dict[str, Any]) -> list[Any]:
    return [asyncio.run(agent.ainvoke(ASK, config))]


def _batch(agent: Any, config: dict[str, Any]) -> list[Any]:
    return list(agent.batch([ASK], config))


def _astream_events(agent: Any, config: dict[str, Any]) -> list[Any]:
    async def run() -> list[Any]:
        return [event async for event in agent.astream_events(ASK, config, version="v2")]

    return asyncio.run(run())


def _stream_events_v3(agent: Any, config: dict[str, Any]) -> list[Any]:
    run = agent.stream_events(ASK, config, version="v3")
    return [*run, run.output]


def _stream_events_v3_messages(agent: Any, config: dict[str, Any]) -> list[Any]:
    run = agent.stream_events(ASK, config, version="v3")
    return [(list(message.text), message.output) for message in run.messages]


def _astream_events_v3(agent: Any, config: dict[str, Any]) -> list[Any]:
    async def run() -> list[Any]:
        events = await agent.astream_events(ASK, config, version="v3")
        return [*[event async for event in events], await events.output()]

    return asyncio.run(run())


def _stream(mode: Any, version: str = "v1") -> Path:
    def path(agent: Any, config: dict[str, Any]) -> list[Any]:
        return list(agent.stream(ASK, config, stream_mode=mode, version=version))

    return path


def _astream(mode: Any) -> Path:
    def path(agent: Any, config: dict[str, Any]) -> list[Any]:
        async def run() -> list[Any]:
            return [part async for part in agent.astream(ASK, config, stream_mode=mode, subgraphs=True)]

        return asyncio.run(run())

    return path


PATHS: dict[str, Path] = {
    "invoke": _invoke,
    "ainvoke": _ainvoke,
    "batch": _batch,
    "astream_events v2": _astream_events,
    "stream_events v3": _stream_events_v3,
    "stream_events v3 messages": _stream_events_v3_messages,
    "astream_events v3": _astream_events_v3,
    "stream all modes": _stream(list(MODES)),
    "stream all modes v2": _stream(list(MODES), "v2"),
    "astream all modes": _astream(list(MODES)),
    **{f"stream {mode}": _stream(mode) for mode in MODES},
    **{f"astream {mode}": _astream(mode) for mode in MODES},
}
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def _agent(model: ScriptedChat, *, judge: FakeJudge | None = None, tools: Any = (), **options: Any) -> Any:
    guard = GuardMiddleware(judge or FakeJudge(), **options.pop("guard", {}))
    return create_agent(model, list(tools), middleware=[guard], checkpointer=InMemorySaver(), **options)


def _config(*callbacks: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": "1"}, "callbacks": list(callbacks), "recursion_limit": 12}


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "text",
    [SECRET, FINE + SECRET, FINE + SECRET + END, SECRET + END],
    ids=["alone", "last", "amid", "first"],
)
@every_path
def test_rejected_sentence_is_never_seen(path: Path, text: str, size: int) -> None:
    witness, agent = Witness(), _agent(says(text, size=size))
    seen = path(agent, _config(witness))
    state = agent.get_state(_config()).values
    assert leaked(seen) == ""
    assert leaked(witness.events) == ""
    assert leaked(state) == ""
    assert leaked(list(agent.get_state_history(_config()))) == ""
    last = state["messages"][-1]
    assert last.content == last.additional_kwargs["refusal"]
    assert last.response_metadata["taleward"]["released"] is False


@every_path
def test_passing_answer_arrives(path: Path) -> None:
    agent = _agent(says(FINE + END))
    seen = path(agent, _config())
    assert agent.get_state(_config()).values["messages"][-1].text == FINE + END
    assert "would rather" not in repr(seen)
    if path not in (PATHS["stream custom"], PATHS["astream custom"]):
        assert END in repr(seen)


def test_messages_arrive_sentence_by_sentence() -> None:
    parts = list(_agent(says(FINE + END)).stream(ASK, _config(), stream_mode="messages"))
    assert [message.text for message, _ in parts] == ["Once there was a fox. ", "It had a red tail. ", END, ""]


@settings(max_examples=40)
@given(st.lists(st.sampled_from([FINE, END, SECRET]), min_size=1, max_size=5), st.integers(0, 2**32))
def test_no_way_of_cutting_the_text_into_chunks_leaks(sentences: list[str], seed: int) -> None:
    text = "".join(sentences)
    agent = _agent(ScriptedChat(answers=[cut_anyhow(text, seed)]))
    seen = list(agent.stream(ASK, _config(), stream_mode=["messages", "updates", "debug"]))
    assert leaked(seen) == ""
    message = agent.get_state(_config()).values["messages"][-1]
    assert (message.text == text) is (SECRET not in text)


# LangChain's own middleware, on the same model.


class AfterModelGuard(AgentMiddleware):
    """The approach of LangChain's documentation: replace the model's message once it is complete."""

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        last = state["messages"][-1]
        if FakeJudge().invoke(last.text).passed:
            return None
        return {"messages": [AIMessage("blocked", id=last.id)], "jump_to": "end"}


def _find_bad(content: str) -> Any:
    start = content.find("bad")
    return [{"type": "unsafe", "value": "bad", "start": start, "end": start + 3}] if start >= 0 else []


STOCK = {
    "after_model": AfterModelGuard,
    "PIIMiddleware": lambda: PIIMiddleware("unsafe", detector=_find_bad, strategy="redact", apply_to_output=True),
}


@pytest.mark.parametrize("stock", STOCK.values(), ids=STOCK)
def test_stock_guard_blocks_on_invoke_and_leaks_while_streaming(stock: Callable[[], AgentMiddleware]) -> None:
    model = says(FINE + SECRET + END)
    theirs = create_agent(model, [], middleware=[stock()])
    ours = create_agent(model, [], middleware=[GuardMiddleware(FakeJudge())])

    assert " bad " not in theirs.invoke(ASK)["messages"][-1].text
    assert leaked(ours.invoke(ASK)) == ""

    def shown(agent: Any) -> str:
        return "".join(message.text for message, _ in agent.stream(ASK, stream_mode="messages"))

    assert SECRET in shown(theirs)
    assert leaked(shown(ours)) == ""

    async def events(agent: Any) -> str:
        chunks = [
            e["data"] async for e in agent.astream_events(ASK, version="v2") if e["event"] == "on_chat_model_stream"
        ]
        return "".join(data["chunk"].text for data in chunks)

    assert SECRET in asyncio.run(events(theirs))
    assert leaked(asyncio.run(events(ours))) == ""

    # Between the model call and the hook the state holds the text, so stream mode `updates` and checkpoints show it.
    assert leaked(list(theirs.stream(ASK, stream_mode="updates"))) != ""
    assert leaked(list(ours.stream(ASK, stream_mode="updates"))) == ""


# Tools and structured output.


def note(text: str) -> str:
    """Keep a note."""
    return f"kept: {text}"


def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}: {SECRET}"


def put(text: str) -> Command[Any]:
    """Put a text into the state."""
    return Command(update={"messages": [ToolMessage(SECRET, tool_call_id=call_id("put"))]})


@every_path
def test_tool_call_with_unsafe_arguments_does_not_run(path: Path) -> None:
    witness = Witness()
    agent = _agent(ScriptedChat(answers=[calls("note", {"text": SECRET}), [FINE]]), tools=[note])
    assert leaked(path(agent, _config(witness))) == ""
    assert leaked(witness.events) == ""
    messages = agent.get_state(_config()).values["messages"]
    assert leaked(messages) == ""
    assert [message.type for message in messages] == ["human", "ai"]


@every_path
def test_agent_with_a_tool_still_works(path: Path) -> None:
    agent = _agent(ScriptedChat(answers=[calls("note", {"text": "a fox"}, text="I note it. "), [FINE]]), tools=[note])
    path(agent, _config())
    messages = agent.get_state(_config()).values["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert messages[2].content == "kept: a fox"
    assert messages[1].text == "I note it. "
    assert messages[-1].text == FINE


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("tool", [look_up, put])
def test_tool_results_are_judged_on_request(tool: Any, asynchronous: bool) -> None:
    def run(**guard: Any) -> Any:
        model = ScriptedChat(answers=[calls(tool.__name__, {"word": "fox", "text": "fox"}), [FINE]])
        agent = _agent(model, tools=[tool], guard=guard)
        _astream("updates")(agent, _config()) if asynchronous else agent.invoke(ASK, _config())
        return agent.get_state(_config()).values["messages"], model

    messages, model = run()
    assert leaked(messages) != ""
    messages, model = run(judge_tool_results=True)
    assert leaked(messages) == ""
    assert leaked(model.requests) == ""
    assert (messages[2].status, messages[2].tool_call_id) == ("error", call_id(tool.__name__))
    assert messages[-1].text == FINE


class Story(BaseModel):
    """A story."""

    title: str
    text: str


def _structured(strategy: str, text: str) -> tuple[ScriptedChat, Any]:
    if strategy == "tool":
        return ScriptedChat(answers=[calls("Story", {"title": "Fox", "text": text})]), ToolStrategy(Story)
    escaped = Story(title="Fox", text=text).model_dump_json().replace("bad", "\\u0062ad")
    return ScriptedChat(answers=[cut(escaped, 3)]), ProviderStrategy(Story)


@pytest.mark.parametrize("strategy", ["tool", "provider"])
@every_path
def test_structured_output_is_judged(path: Path, strategy: str) -> None:
    witness = Witness()
    model, response_format = _structured(strategy, SECRET)
    agent = _agent(model, response_format=response_format)
    seen = path(agent, _config(witness))
    values = agent.get_state(_config()).values
    for output in (seen, witness.events, values):
        assert leaked(output) == ""
        assert "u0062" not in repr(output)
    assert values.get("structured_response") is None
    assert values["messages"][-1].response_metadata["taleward"]["released"] is False
    assert len(model.requests) == 1


@pytest.mark.parametrize("strategy", ["tool", "provider"])
@every_path
def test_structured_output_that_passes_arrives(path: Path, strategy: str) -> None:
    model, response_format = _structured(strategy, FINE)
    agent = _agent(model, response_format=response_format)
    path(agent, _config())
    assert agent.get_state(_config()).values["structured_response"] == Story(title="Fox", text=FINE)


def test_malformed_structured_output_that_passes_is_still_an_error() -> None:
    with pytest.raises(StructuredOutputValidationError):
        _agent(says(FINE), response_format=ProviderStrategy(Story)).invoke(ASK, _config())


def test_capabilities_of_the_wrapped_model_stay_visible() -> None:
    model = ScriptedChat(
        answers=[cut(Story(title="Fox", text=FINE).model_dump_json(), 9)], profile={"structured_output": True}
    )
    result = _agent(model, response_format=Story).invoke(ASK, _config())
    assert result["structured_response"] == Story(title="Fox", text=FINE)
    assert "response_format" in model.requests[0]


# Inputs, and failures.


@every_path
def test_user_messages_are_judged_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ASK, "messages", [HumanMessage("Tell me"), HumanMessage("something bad")])
    model = says(FINE)
    agent = _agent(model)
    path(agent, _config())
    last = agent.get_state(_config()).values["messages"][-1]
    assert last.text == "I would rather not talk about that. Shall we talk about something else?"
    assert last.response_metadata["taleward"]["reason"] == "input"
    assert model.requests == []


def test_judging_inputs_can_be_turned_off() -> None:
    agent = _agent(says(FINE), guard={"judge_inputs": False})
    result = agent.invoke({"messages": "something bad"}, _config())
    assert result["messages"][-1].text == FINE


def test_only_messages_since_the_last_answer_are_judged() -> None:
    judge = FakeJudge()
    agent = _agent(says(FINE), judge=judge)
    agent.invoke({"messages": [HumanMessage("bad"), AIMessage("no"), HumanMessage("A fox?")]}, _config())
    assert judge.judged_texts[0] == "A fox?"


@every_path
def test_failing_judge_lets_nothing_pass(path: Path) -> None:
    def raises(passage: Passage) -> Assessment:
        raise ValueError("out of order")

    agent = _agent(says(FINE), judge=FakeJudge(raises), guard={"judge_inputs": False})
    assert "fox" not in repr(path(agent, _config()))
    mark = agent.get_state(_config()).values["messages"][-1].response_metadata["taleward"]
    assert (mark["released"], mark["outcome"], mark["reason"]) == (False, "error", "unjudged")


def test_retracted_text_is_not_in_the_state() -> None:
    def together(passage: Passage) -> Assessment:
        return Assessment(outcome="fail" if "fox" in passage.text and "home" in passage.text else "pass")

    agent = _agent(says(FINE + END), judge=FakeJudge(together))
    parts = list(agent.stream(ASK, _config(), stream_mode="messages"))
    shown = "".join(message.text for message, _ in parts)
    retraction = parts[-1][0].response_metadata["taleward"]["retraction"]
    last = agent.get_state(_config()).values["messages"][-1]
    assert "fox" in shown
    assert shown[: retraction["start"]] + shown[retraction["end"] :] == last.content
    assert "fox" not in repr(last)


def test_middleware_that_replaces_the_guarded_model_is_an_error() -> None:
    class Other(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request.override(model=says(SECRET)))

    agent = create_agent(says(FINE), [], middleware=[GuardMiddleware(FakeJudge()), Other()])
    with pytest.raises(ConfigurationError, match="Put GuardMiddleware last"):
        agent.invoke(ASK)
    guarded = create_agent(says(FINE), [], middleware=[Other(), GuardMiddleware(FakeJudge())])
    assert leaked(guarded.invoke(ASK)) == ""


def test_fallback_model_is_guarded() -> None:
    class Broken(ScriptedChat):
        def _chunks(self, messages: Any, **kwargs: Any) -> Any:
            raise ConnectionError("no model there")

    fallback = ModelFallbackMiddleware(says(FINE + SECRET))
    agent = create_agent(Broken(answers=[]), [], middleware=[fallback, GuardMiddleware(FakeJudge())])
    assert leaked(list(agent.stream(ASK, stream_mode=list(MODES)))) == ""


def test_invalid_arguments_are_rejected() -> None:
    with pytest.raises(ConfigurationError, match="needs a judge; got str"):
        GuardMiddleware("lexicon")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"seconds must be above 0.*got -1"):
        GuardMiddleware(FakeJudge(), timeout_s=-1)


def test_subclass_keeps_its_type_and_name() -> None:
    class Mine(GuardMiddleware):
        pass

    for judge_tool_results in (False, True):
        mine = Mine(FakeJudge(), judge_tool_results=judge_tool_results)
        assert isinstance(mine, Mine)
        assert mine.name == "Mine"
        assert (type(mine).wrap_tool_call is not AgentMiddleware.wrap_tool_call) is judge_tool_results

"""Structured output, forced tool calls, `n` and `logprobs` on servers that ignore them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from taleward.core.errors import BackendError
from taleward.testing import FakeOpenAI
from tests.helpers.hosted_models import TEXT, Page, model_on

IGNORED = ("response_format", "tool_choice", "n")


@tool
def turn(page: int) -> str:
    """Turn to a page."""
    return "turned"


def follow_schema(request: Any) -> str:
    """A model that follows a schema in the prompt, and chats otherwise."""
    if "schema" not in str(request["messages"]):
        return "I would rather chat."
    prompt = next(str(m["content"]) for m in reversed(request["messages"]) if "schema" in str(m["content"]))
    if '"arguments"' not in prompt:
        return 'Gladly! ```json\n{"title": "Hen", "number": 3}\n```'
    arguments = {"page": 3} if '"turn"' in prompt else {"title": "Hen", "number": 3}
    name = "turn" if '"turn"' in prompt else "Page"
    return f'Here: {{"name": "{name}", "arguments": {str(arguments).replace(chr(39), chr(34))}}}'


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output_from_a_server_that_ignores_it(method: str) -> None:
    with FakeOpenAI(follow_schema, ignored_options=IGNORED) as server:
        structured: Any = model_on(server).with_structured_output(Page, method=method)
        assert structured.invoke("A page?") == Page(title="Hen", number=3)
        assert len(server.requests) == 2
        assert asyncio.run(structured.ainvoke("A page?")) == Page(title="Hen", number=3)
        assert len(server.requests) == 3  # remembered
        another: Any = model_on(server).with_structured_output(Page, method=method)
        assert list(another.stream("A page?"))[-1] == Page(title="Hen", number=3)
        assert len(server.requests) == 4  # for every model of this server


def test_forced_tool_calls_and_several_answers_from_a_server_that_ignores_them() -> None:
    with FakeOpenAI(follow_schema, ignored_options=IGNORED) as server:
        model = model_on(server)
        [call] = model.bind_tools([turn], tool_choice="any").invoke("Page three, please").tool_calls
        assert (call["name"], call["args"]) == ("turn", {"page": 3})
        assert len(model.bind(n=3).generate([[]], n=3).generations[0]) == 3


def test_a_server_that_supports_the_options_is_called_once() -> None:
    with FakeOpenAI(TEXT) as server:
        model = model_on(server)
        assert model.with_structured_output(Page).invoke("A page?") == Page(title="tale", number=1)
        assert model.bind_tools([turn], tool_choice="any").invoke("x").tool_calls[0]["args"] == {"page": 1}
        assert len(model.generate([[]], n=3).generations[0]) == 3
        assert len(server.requests) == 3


def test_missing_log_probabilities_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with FakeOpenAI(TEXT, ignored_options=["logprobs"]) as ignoring, FakeOpenAI(TEXT) as supporting:
        for model in (model_on(ignoring), model_on(ignoring, logprobs=True), model_on(supporting)):
            assert model.invoke("hello", logprobs=True).text == TEXT
    assert [r.getMessage() for r in caplog.records if "log-probabilities" in r.getMessage()] == [
        "openai:any returned no log-probabilities: its server ignores logprobs."
    ]


def test_there_is_no_endless_loop() -> None:
    with FakeOpenAI("Never.", ignored_options=IGNORED) as server:
        agent = create_agent(model_on(server), [turn], response_format=Page)
        with pytest.raises(BackendError, match="ignores tool_choice, and prompted for the format it missed it 3 times"):
            agent.invoke({"messages": [HumanMessage("A page?")]})
        assert len(server.requests) == 4

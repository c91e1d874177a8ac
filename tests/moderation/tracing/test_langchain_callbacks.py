"""No callback of a guard's caller sees unmoderated text, whatever Runnable the writer is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers.context import _configure_hooks, register_configure_hook

from taleward.moderation.guard.guard import Guard
from taleward.testing import FakeJudge
from tests.helpers.scripted_chat import SECRET, ScriptedChat, Witness, cut, leaked, says

CHAIN: Any = RunnableLambda(lambda _: "hi") | says(SECRET) | StrOutputParser()


def generator(inputs: Any) -> Iterator[Any]:
    yield from says(SECRET).stream("hi")


async def async_function(inputs: Any) -> Any:
    return await says(SECRET).ainvoke("hi")


async def async_generator(inputs: Any) -> AsyncIterator[Any]:
    async for chunk in says(SECRET).astream("hi"):
        yield chunk


def pass_on(chunks: Iterator[str]) -> Iterator[str]:
    yield from chunks


async def apass_on(chunks: AsyncIterator[str]) -> AsyncIterator[str]:
    async for chunk in chunks:
        yield chunk


WRITERS: dict[str, Any] = {
    "chain": CHAIN,
    "model": says(SECRET),
    "function": lambda _: says(SECRET).invoke("hi"),
    "generator": generator,
    "async_function": async_function,
    "async_generator": async_generator,
    "sync_chain": CHAIN | RunnableGenerator(pass_on),
    "async_chain": CHAIN | RunnableGenerator(apass_on),
    "with_config": CHAIN.with_config(tags=["mine"]),
    "bind": CHAIN.bind(),
    "with_retry": CHAIN.with_retry(),
}


async def _events(guard: Guard, config: Any) -> list[Any]:
    return [event async for event in guard.astream_events("hi", config, version="v2")]


PATHS: dict[str, Callable[[Guard, Any], Any]] = {
    "invoke": lambda guard, config: guard.invoke("hi", config),
    "ainvoke": lambda guard, config: asyncio.run(guard.ainvoke("hi", config)),
    "stream": lambda guard, config: list(guard.stream("hi", config)),
    "astream_events": lambda guard, config: asyncio.run(_events(guard, config)),
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_no_callback_hears_the_writer(writer: Any, path: Callable[[Guard, Any], Any]) -> None:
    witness = Witness()
    output = path(Guard(writer, FakeJudge(), attempts=1), {"callbacks": [witness]})
    assert leaked(output) == ""
    assert leaked(witness.events) == ""
    assert var_child_runnable_config.get() is None


def test_handlers_that_the_writer_brings_along_hear_nothing() -> None:
    """Handlers of the model, of a config that is bound to it, of its listeners, and of context variables."""
    model_witness, bound_witness, hook_witness, ended = Witness(), Witness(), Witness(), list[Any]()
    variable: ContextVar[Any] = ContextVar("variable", default=None)
    register_configure_hook(variable, True)
    token = variable.set(hook_witness)
    model = ScriptedChat(answers=[list(cut(SECRET, 3))], callbacks=[model_witness])
    deep: Any = RunnableLambda(lambda _: model.with_config(callbacks=[bound_witness]).invoke("hi"))
    listened = deep.with_listeners(on_end=lambda run: ended.append(run.outputs))
    try:
        for path in PATHS.values():
            for writer in (listened, lambda _: listened.invoke("hi"), model):
                path(Guard(writer, FakeJudge(), attempts=1), {})
    finally:
        variable.reset(token)
        _configure_hooks[:] = [hook for hook in _configure_hooks if hook[0] is not variable]
    assert leaked(model_witness.events + bound_witness.events + ended) == ""
    # It also hears what comes after the guard, and so is not left without events.
    assert leaked(hook_witness.events) == ""
    assert model.callbacks == [model_witness]
    model.invoke("hi")
    assert leaked(model_witness.events)


def test_token_counters_still_count() -> None:
    usage = UsageMetadata(input_tokens=3, output_tokens=4, total_tokens=7)
    chunk = AIMessageChunk(content="A fox.", usage_metadata=usage, response_metadata={"model_name": "m"})
    with get_usage_metadata_callback() as counter:
        Guard(ScriptedChat(answers=[[chunk]]), FakeJudge()).invoke("hi")
    assert counter.usage_metadata["m"]["total_tokens"] == 7

"""No callback of a guard's caller sees unmoderated text, whatever Runnable the writer is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from langchain_core.runnables.config import var_child_runnable_config

from taleward.moderation.guard.guard import Guard
from taleward.testing import FakeJudge
from tests.helpers.scripted_chat import SECRET, Witness, leaked, says

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

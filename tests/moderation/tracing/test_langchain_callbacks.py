"""No callback of a guard's caller sees unmoderated text, whatever Runnable the writer is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.runnables.config import var_child_runnable_config

from taleward.moderation.guard.guard import Guard
from tests.helpers.fakes import FakeJudge
from tests.helpers.scripted_chat import SECRET, Witness, leaked, says

CHAIN: Any = RunnableLambda(lambda _: "hi") | says(SECRET) | StrOutputParser()
WRITERS: dict[str, Runnable[Any, str]] = {
    "chain": CHAIN,
    "with_config": CHAIN.with_config(tags=["mine"]),
    "bind": CHAIN.bind(),
    "with_retry": CHAIN.with_retry(),
}


async def _events(guard: Guard, config: Any) -> list[Any]:
    return [event async for event in guard.astream_events({}, config, version="v2")]


PATHS: dict[str, Callable[[Guard, Any], Any]] = {
    "invoke": lambda guard, config: guard.invoke({}, config),
    "ainvoke": lambda guard, config: asyncio.run(guard.ainvoke({}, config)),
    "stream": lambda guard, config: list(guard.stream({}, config)),
    "astream_events": lambda guard, config: asyncio.run(_events(guard, config)),
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_no_callback_hears_the_writer(writer: Runnable[Any, str], path: Callable[[Guard, Any], Any]) -> None:
    witness = Witness()
    output = path(Guard(writer, FakeJudge(), attempts=1), {"callbacks": [witness]})
    assert leaked(output) == ""
    assert leaked(witness.heard) == ""
    assert var_child_runnable_config.get() is None

"""All paths on which a chat model can be called, and texts for it to say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser

Path = Callable[[Any, dict[str, Any]], list[Any]]
FINE = "Once there was a fox. It had a red tail. "
END = "Then it went home. "


def invoke(chat: Any, config: dict[str, Any]) -> list[Any]:
    return [chat.invoke("hi", config)]


def ainvoke(chat: Any, config: dict[str, Any]) -> list[Any]:
    return [asyncio.run(chat.ainvoke("hi", config))]


def batch(chat: Any, config: dict[str, Any]) -> list[Any]:
    return chat.batch(["hi"], config)


def abatch(chat: Any, config: dict[str, Any]) -> list[Any]:
    return asyncio.run(chat.abatch(["hi"], config))


def generate(chat: Any, config: dict[str, Any]) -> list[Any]:
    return [chat.generate([[AIMessage("hi")]], callbacks=config.get("callbacks"))]


def stream(chat: Any, config: dict[str, Any]) -> list[Any]:
    return list(chat.stream("hi", config))


def astream(chat: Any, config: dict[str, Any]) -> list[Any]:
    async def run() -> list[Any]:
        return [chunk async for chunk in chat.astream("hi", config)]

    return asyncio.run(run())


def astream_events(chat: Any, config: dict[str, Any]) -> list[Any]:
    async def run() -> list[Any]:
        return [event async for event in chat.astream_events("hi", config, version="v2")]

    return asyncio.run(run())


def astream_events_of_a_chain(chat: Any, config: dict[str, Any]) -> list[Any]:
    return astream_events(chat | StrOutputParser(), config)


def stream_events_v3(chat: Any, config: dict[str, Any]) -> list[Any]:
    stream = chat.stream_events("hi", config, version="v3")
    return [*stream, stream.output]


def astream_events_v3(chat: Any, config: dict[str, Any]) -> list[Any]:
    async def run() -> list[Any]:
        stream = await chat.astream_events("hi", config, version="v3")
        seen = [*[event async for event in stream], await stream.output]
        await asyncio.sleep(0.05)  # LangChain calls `on_llm_end` only after that
        return seen

    return asyncio.run(run())


def chain(chat: Any, config: dict[str, Any]) -> list[Any]:
    return list((chat | StrOutputParser()).stream("hi", config))


WHOLE: list[Path] = [invoke, ainvoke, batch, abatch, generate]
STREAMED: list[Path] = [
    stream,
    astream,
    astream_events,
    astream_events_of_a_chain,
    stream_events_v3,
    astream_events_v3,
    chain,
]

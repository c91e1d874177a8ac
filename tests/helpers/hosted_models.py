"""Hosted chat models on a fake server, and the four ways to run one."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel

from taleward import chat_model
from taleward.testing import FakeOpenAI

TEXT = "Once upon a time a hen found a key and kept it well."


class Page(BaseModel):
    """A structured answer."""

    title: str
    number: int


def model_on(server: FakeOpenAI, name: str = "any", **options: Any) -> BaseChatModel:
    return chat_model(f"openai:{name}", base_url=server.base_url, **{"timeout": 0.5, "total_timeout_s": 20, **options})


def run(model: BaseChatModel, method: str) -> str:
    """The model's answer by `invoke`, `ainvoke`, `stream` or `astream`."""

    async def ainvoke() -> str:
        return (await model.ainvoke("hello")).text

    async def astream() -> str:
        return "".join([chunk.text async for chunk in model.astream("hello")])

    if method == "invoke":
        return model.invoke("hello").text
    if method == "stream":
        return "".join(chunk.text for chunk in model.stream("hello"))
    return asyncio.run(ainvoke() if method == "ainvoke" else astream())

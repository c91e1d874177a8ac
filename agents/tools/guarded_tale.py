"""How tools tell: behind a guard, each sentence shown as soon as it is judged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.prebuilt import ToolRuntime

from taleward.agents.tools.toolbox import Toolbox
from taleward.core.events import DoneEvent, RetractionEvent, TextEvent
from taleward.core.tale import Tale
from taleward.moderation.guard.guard import Guard

STREAM = "taleward"
"""Key under which a tool's stream writer gives the guard's events: text that passed, and what is to be withdrawn."""


async def tell(box: Toolbox, writer: Runnable[Any, str], values: Mapping[str, Any], runtime: ToolRuntime) -> Tale:
    """A guarded tale, shown while it is told; a released one is remembered."""
    tale: Tale | None = None
    events: Any = Guard(writer, box.judge).astream(values)
    async with aclosing(events) as running:
        async for event in running:
            if isinstance(event, TextEvent | RetractionEvent):
                runtime.stream_writer({STREAM: event.model_dump(mode="json")})
            elif isinstance(event, DoneEvent):
                tale = event.tale
    if tale is None:
        msg = "the stream ended without its last event"
        raise RuntimeError(msg)
    if box.memory is not None:
        await asyncio.to_thread(box.memory.remember, tale)
    return tale

"""Tell a guarded tale from within a tool: each sentence is shown as soon as it has passed the judge."""

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
"""Key for the guard's events (judged text and retractions) in what a tool sends to its stream writer."""


async def tell_guarded_tale(
    toolbox: Toolbox, writer: Runnable[Any, str], inputs: Mapping[str, Any] | str, runtime: ToolRuntime
) -> Tale:
    """Run a writer behind a guard, stream the judged text, and add a released tale to the memory."""
    tale: Tale | None = None
    events: Any = Guard(writer, toolbox.judge).astream(inputs)
    async with aclosing(events) as stream:
        async for event in stream:
            if isinstance(event, TextEvent | RetractionEvent):
                runtime.stream_writer({STREAM: event.model_dump(mode="json")})
            elif isinstance(event, DoneEvent):
                tale = event.tale
    if tale is None:
        msg = "the guard's stream ended without a DoneEvent"
        raise RuntimeError(msg)
    if toolbox.memory is not None:
        # In a thread: the memory embeds the text, which would block the event loop.
        await asyncio.to_thread(toolbox.memory.remember, tale)
    return tale

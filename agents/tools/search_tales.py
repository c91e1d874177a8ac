"""Tool: search the tale memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from taleward.agents.routing.request_parsing import parse_request
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import TaleTool, ToolArguments
from taleward.agents.tools.toolbox import Toolbox
from taleward.core.errors import ConfigurationError

_EXCERPT_LENGTH = 240
_TOPIC = re.compile(r"\b(?:about|with|like|where|in which|of|for)\s+(.+)$", re.IGNORECASE)


class SearchTalesArguments(ToolArguments):
    """Arguments of `search_tales`."""

    query: str = Field(description="What the tale is about, in a few words.", min_length=1, max_length=300)
    limit: int = Field(default=3, ge=1, le=10, description="Maximum number of tales.")


class SearchTales(TaleTool):
    """Finds earlier tales in the tale memory, which holds released ones only."""

    name: str = "search_tales"
    description: str = (
        "Find stories that were told before. Pass a few words about the story. The result shows how each one begins."
    )
    args_schema: type[BaseModel] = SearchTalesArguments
    judged: ClassVar[bool] = False
    title: ClassVar[str] = "find a story I told before"
    example: ClassVar[Mapping[str, Any]] = {"query": "a fox with a key", "limit": 3}

    @classmethod
    def is_available(cls, toolbox: Toolbox) -> bool:
        """Whether the toolbox has a tale memory."""
        return toolbox.memory is not None

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Use what follows "about", "with" and the like as the query, or else the whole instruction."""
        instruction = parse_request(request.text).first_instruction
        topic = _TOPIC.search(instruction)
        return {"query": (topic[1] if topic else instruction).strip(" ?.!")[:300]}

    async def execute(self, runtime: ToolRuntime, query: str, limit: int = 3) -> str:
        """Return the beginnings of the tales, the most similar first."""
        if self.toolbox.memory is None:
            raise ConfigurationError("The toolbox has no tale memory.", hint="Pass Toolbox(memory=TaleMemory(...)).")
        hits = await asyncio.to_thread(self.toolbox.memory.similar, query, limit)
        if not hits:
            return "I haven't told any stories yet."
        return "\n\n".join(f"{number}. {_excerpt(hit.text)}" for number, hit in enumerate(hits, 1))


def _excerpt(text: str) -> str:
    one_line = " ".join(text.split())
    if len(one_line) <= _EXCERPT_LENGTH:
        return one_line
    return f"{one_line[:_EXCERPT_LENGTH].rsplit(' ', 1)[0]} ..."

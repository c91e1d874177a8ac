"""Search the tales that were told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from taleward.agents.routing.request_parsing import take_apart
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import TaleTool, ToolArguments
from taleward.agents.tools.toolbox import Toolbox
from taleward.core.errors import ConfigurationError

_SHOWN = 240
_ABOUT = re.compile(r"\b(?:about|with|like|where|in which|of|for)\s+(.+)$", re.IGNORECASE)


class _Arguments(ToolArguments):
    query: str = Field(description="What the tale is about, in a few words.", min_length=1, max_length=300)
    limit: int = Field(default=3, ge=1, le=10, description="How many tales at most.")


class SearchTales(TaleTool):
    """Finds told tales in the tale memory; only released ones are in it."""

    name: str = "search_tales"
    description: str = (
        "Find tales that were told before. Give it a few words about the tale. It gives their beginnings."
    )
    args_schema: type[BaseModel] = _Arguments
    judged: ClassVar[bool] = False
    title: ClassVar[str] = "search the tales that were told"
    example: ClassVar[Mapping[str, Any]] = {"query": "a fox with a key", "limit": 3}

    @classmethod
    def usable(cls, box: Toolbox) -> bool:
        """Without a memory there is nothing to search."""
        return box.memory is not None

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """What the tale is about, as far as the words tell it from the wish."""
        wish = take_apart(request.text).first
        about = _ABOUT.search(wish)
        return {"query": (about[1] if about else wish).strip(" ?.!")[:300]}

    async def work(self, runtime: ToolRuntime, query: str, limit: int = 3) -> str:
        """The tales' beginnings, the most alike first."""
        if self.box.memory is None:
            raise ConfigurationError("there is no tale memory here.", hint="Give the toolbox a TaleMemory.")
        found = await asyncio.to_thread(self.box.memory.similar, query, limit)
        if not found:
            return "No tale has been told yet."
        return "\n\n".join(f"{number}. {_beginning(tale.text)}" for number, tale in enumerate(found, 1))


def _beginning(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[:_SHOWN].rsplit(' ', 1)[0]} ..."

"""Tool: counts of tales and of their moderation outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel

from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import TaleTool, ToolArguments
from taleward.agents.tools.toolbox import Toolbox
from taleward.core.errors import ConfigurationError


class ModerationCountsArguments(ToolArguments):
    """Arguments of `moderation_counts`: none."""


class ModerationCounts(TaleTool):
    """Counts told, released, revised and refused tales."""

    name: str = "moderation_counts"
    description: str = (
        "Show how many stories were told, released, revised and refused, and for which reasons. Takes no arguments."
    )
    args_schema: type[BaseModel] = ModerationCountsArguments
    judged: ClassVar[bool] = False
    title: ClassVar[str] = "show the statistics"
    example: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def is_available(cls, toolbox: Toolbox) -> bool:
        """Whether the toolbox has a source of statistics."""
        return toolbox.statistics is not None

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Return no arguments; the tool takes none."""
        return {}

    async def execute(self, runtime: ToolRuntime) -> str:
        """Return one line per count."""
        if self.toolbox.statistics is None:
            raise ConfigurationError("The toolbox has no source of statistics.", hint="Pass Toolbox(statistics=...).")
        counts = await asyncio.to_thread(self.toolbox.statistics)
        if not counts:
            return "No stories have been recorded yet."
        return "\n".join(f"- {name.replace('_', ' ')}: {value:g}" for name, value in counts.items())

"""Feedback and moderation in numbers."""

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


class _Arguments(ToolArguments):
    pass


class FeedbackStatistics(TaleTool):
    """Counts of told, released, revised and refused tales."""

    name: str = "feedback_statistics"
    description: str = (
        "How many tales were told, released, revised and refused, and for which reasons. It takes nothing."
    )
    args_schema: type[BaseModel] = _Arguments
    judged: ClassVar[bool] = False
    title: ClassVar[str] = "show the statistics"
    example: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def usable(cls, box: Toolbox) -> bool:
        """Without a source there are no numbers."""
        return box.statistics is not None

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Nothing."""
        return {}

    async def work(self, runtime: ToolRuntime) -> str:
        """One line a count."""
        if self.box.statistics is None:
            raise ConfigurationError("there is no tracking store here.", hint="Give the toolbox statistics=.")
        counts = await asyncio.to_thread(self.box.statistics)
        if not counts:
            return "No tale has been recorded yet."
        return "\n".join(f"- {name.replace('_', ' ')}: {value:g}" for name, value in counts.items())

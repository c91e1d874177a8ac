"""Judge a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from taleward.agents.routing.request_parsing import take_apart
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import NeedsMore, TaleTool, ToolArguments


class _Arguments(ToolArguments):
    text: str = Field(description="The whole text to judge.", min_length=1, max_length=20_000)


class JudgeText(TaleTool):
    """Says whether a text suits the age band, and what speaks against it, without repeating it."""

    name: str = "judge_text"
    description: str = (
        "Judge whether a text suits children of this age, under the policy in force. Give it the whole text. It says "
        "whether the text passes, and which categories speak against it."
    )
    args_schema: type[BaseModel] = _Arguments
    title: ClassVar[str] = "judge a text"
    example: ClassVar[Mapping[str, Any]] = {"text": "The fox went home."}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """The text in the request, or else the one told last."""
        text = take_apart(request.text).text or take_apart(request.before).text or request.tale
        if not text:
            raise NeedsMore("Which text shall I judge? Please paste it.")
        return {"text": text}

    async def work(self, runtime: ToolRuntime, text: str) -> str:
        """The verdict in words."""
        verdict = await self.box.judge.ainvoke(text)
        who = f"for ages {verdict.band} under {verdict.policy}"
        if verdict.passed:
            return f"This text passes {who}."
        if verdict.outcome == "fail":
            named = ", ".join(c.replace("_", " ") for c in verdict.categories) or "no category named"
            return f"This text does not pass {who}: {named}."
        return f"I cannot tell whether this text passes {who} ({verdict.outcome}); take it as not passed."

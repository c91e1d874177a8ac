"""Tool: judge whether a text suits the age band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from taleward.agents.routing.request_parsing import parse_request
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import ClarificationNeeded, TaleTool, ToolArguments


class JudgeTextArguments(ToolArguments):
    """Arguments of `judge_text`."""

    text: str = Field(description="The whole text to judge.", min_length=1, max_length=20_000)


class JudgeText(TaleTool):
    """Tells whether a text suits the age band and which categories it fails, without repeating its words."""

    name: str = "judge_text"
    description: str = (
        "Judge whether a text suits children of this age, under the current policy. Pass the whole text. The result "
        "says whether the text passes, and which categories it fails."
    )
    args_schema: type[BaseModel] = JudgeTextArguments
    title: ClassVar[str] = "check whether a text is suitable for children"
    example: ClassVar[Mapping[str, Any]] = {"text": "The fox went home."}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Use the text in the request, or else the one told last."""
        text = parse_request(request.text).text or parse_request(request.previous_request).text or request.tale
        if not text:
            raise ClarificationNeeded("Which text should I check? Please paste it here.")
        return {"text": text}

    async def execute(self, runtime: ToolRuntime, text: str) -> str:
        """Return the verdict in words."""
        verdict = await self.toolbox.judge.ainvoke(text)
        policy = f"the policy {verdict.policy} for ages {verdict.band}"
        if verdict.passed:
            return f"This text passes {policy}."
        if verdict.outcome == "fail":
            categories = ", ".join(c.replace("_", " ") for c in verdict.categories) or "no category given"
            return f"This text does not pass {policy}: {categories}."
        return (
            f"I can't tell whether this text passes {policy} ({verdict.outcome}). "
            "Please treat it as unsuitable until someone has read it."
        )

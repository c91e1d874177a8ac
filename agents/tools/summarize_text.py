"""Summarise a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from taleward.agents.routing.request_parsing import take_apart
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import NeedsMore, TaleTool, ToolArguments
from taleward.chains.summarization.guard import SummaryGuard
from taleward.chains.summarization.summarizer import Summarizer
from taleward.moderation.chat.messages import REFUSAL_WORDS


class _Arguments(ToolArguments):
    text: str = Field(description="The whole text to sum up.", min_length=1, max_length=100_000)
    sentences: int = Field(default=2, ge=1, le=10, description="How many sentences at most.")


class SummarizeText(TaleTool):
    """Sums a text up behind the judge: in its own words where the writer follows instructions, else in the text's."""

    name: str = "summarize_text"
    description: str = "Sum up a text in a few sentences. Give it the whole text. The summary comes back judged."
    args_schema: type[BaseModel] = _Arguments
    title: ClassVar[str] = "sum up a text"
    example: ClassVar[Mapping[str, Any]] = {"text": "The fox went home. It snowed. The fox slept.", "sentences": 1}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """The text in the request, or else the one told last."""
        text = take_apart(request.text).text or request.tale
        if not text:
            raise NeedsMore("Which text shall I sum up? Please paste it.")
        return {"text": text}

    async def work(self, runtime: ToolRuntime, text: str, sentences: int = 2) -> str:
        """The summary, or the refusal's words."""
        model = self.box.model if self.box.follows_orders else "embedded:minilm"
        guard = SummaryGuard(Summarizer(model, sentences=sentences), self.box.judge)
        made = await guard.ainvoke(text)
        return made.text if made.released else REFUSAL_WORDS["failed"]

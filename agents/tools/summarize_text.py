"""Tool: summarize a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from taleward.agents.routing.request_parsing import parse_request
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import ClarificationNeeded, TaleTool, ToolArguments
from taleward.chains.summarization.guard import SummaryGuard
from taleward.chains.summarization.summarizer import Summarizer
from taleward.moderation.chat.messages import REFUSAL_WORDS


class SummarizeTextArguments(ToolArguments):
    """Arguments of `summarize_text`."""

    text: str = Field(description="The whole text to summarize.", min_length=1, max_length=100_000)
    sentences: int = Field(default=2, ge=1, le=10, description="Maximum number of sentences.")


class SummarizeText(TaleTool):
    """Summarizes a text behind the judge: abstractive if the writer follows instructions, else extractive."""

    name: str = "summarize_text"
    description: str = "Summarize a text in a few sentences. Pass the whole text. The summary has already been judged."
    args_schema: type[BaseModel] = SummarizeTextArguments
    title: ClassVar[str] = "summarize a text"
    example: ClassVar[Mapping[str, Any]] = {"text": "The fox went home. It snowed. The fox slept.", "sentences": 1}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Use the text in the request, or else the one told last."""
        text = parse_request(request.text).text or request.tale
        if not text:
            raise ClarificationNeeded("Which text should I summarize? Please paste it here.")
        return {"text": text}

    async def execute(self, runtime: ToolRuntime, text: str, sentences: int = 2) -> str:
        """Return the summary, or a refusal."""
        # The sentence encoder selects sentences of the text, which needs no model that follows instructions.
        model = self.toolbox.model if self.toolbox.follows_instructions else "embedded:minilm"
        guard = SummaryGuard(Summarizer(model, sentences=sentences), self.toolbox.judge)
        summary = await guard.ainvoke(text)
        return summary.text if summary.released else REFUSAL_WORDS["failed"]

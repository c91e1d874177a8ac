"""Tool: find the label that fits a text best."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from taleward.agents.routing.request_parsing import parse_request
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import ClarificationNeeded, TaleTool, ToolArguments
from taleward.chains.classification.zero_shot import ZeroShotClassifier

_DEFAULT_LABELS = (
    "fairy tale",
    "adventure",
    "animals",
    "friendship",
    "family",
    "school",
    "nature",
    "science",
    "bedtime",
)
# At most 30 labels, so that the search takes linear time in a list of any length.
_LABEL_LIST = re.compile(r"((?:\b[a-z]+(?: tale)?, ){0,30}\b[a-z]+(?: tale)?,? or [a-z]+(?: tale)?)\b", re.IGNORECASE)
_SEPARATOR = re.compile(r",? or |, ")


class ClassifyTextArguments(ToolArguments):
    """Arguments of `classify_text`."""

    text: str = Field(description="The whole text.", min_length=1, max_length=100_000)
    labels: list[str] = Field(
        default_factory=list, max_length=20, description="Labels to choose from; empty for the default labels."
    )


class ClassifyText(TaleTool):
    """Finds the label that fits a text best, from the labels' names alone."""

    name: str = "classify_text"
    description: str = (
        "Find the label that fits a text best, for example a topic, a genre or a mood. Pass the whole text."
    )
    args_schema: type[BaseModel] = ClassifyTextArguments
    judged: ClassVar[bool] = False
    title: ClassVar[str] = "say what kind of text something is"
    example: ClassVar[Mapping[str, Any]] = {"text": "The whale sang all night.", "labels": ["sea", "school"]}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Use the text in the request, or else the one told last, and labels from a phrase such as "happy or sad"."""
        parsed = parse_request(request.text)
        text = parsed.text or request.tale
        if not text:
            raise ClarificationNeeded("Which text should I look at? Please paste it here.")
        labels = _LABEL_LIST.search(parsed.instruction)
        return {"text": text, "labels": _SEPARATOR.split(labels[1]) if labels else []}

    async def execute(self, runtime: ToolRuntime, text: str, labels: Sequence[str] = ()) -> str:
        """Return the label with its score."""
        classifier = ZeroShotClassifier(labels=list(dict.fromkeys(labels)) or _DEFAULT_LABELS)
        result = await classifier.ainvoke(text)
        if result.label is None:
            return "None of the labels fits this text."
        return f"It fits {result.label!r} best ({result.scores[result.label]:.2f})."

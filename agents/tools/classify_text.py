"""Classify a text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from taleward.agents.routing.request_parsing import take_apart
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import NeedsMore, TaleTool, ToolArguments
from taleward.chains.classification.zero_shot import ZeroShotClassifier

_USUAL = ("fairy tale", "adventure", "animals", "friendship", "family", "school", "nature", "science", "bedtime")
_NAMED = re.compile(r"((?:\b[a-z]+(?: tale)?, )*\b[a-z]+(?: tale)?,? or [a-z]+(?: tale)?)\b", re.IGNORECASE)
_BETWEEN = re.compile(r",? or |, ")


class _Arguments(ToolArguments):
    text: str = Field(description="The whole text.", min_length=1, max_length=100_000)
    labels: list[str] = Field(
        default_factory=list, max_length=20, description="Labels to choose from; empty for the usual ones."
    )


class ClassifyText(TaleTool):
    """Says which label fits a text, by the labels' names alone."""

    name: str = "classify_text"
    description: str = "Say which of some labels fits a text best: topics, genres, moods. Give it the whole text."
    args_schema: type[BaseModel] = _Arguments
    judged: ClassVar[bool] = False
    title: ClassVar[str] = "say what kind of text it is"
    example: ClassVar[Mapping[str, Any]] = {"text": "The whale sang all night.", "labels": ["sea", "school"]}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """The text in the request, or else the one told last; labels where the wish names some: "happy or sad"."""
        apart = take_apart(request.text)
        text = apart.text or request.tale
        if not text:
            raise NeedsMore("Which text shall I look at? Please paste it.")
        named = _NAMED.search(apart.wish)
        return {"text": text, "labels": _BETWEEN.split(named[1]) if named else []}

    async def work(self, runtime: ToolRuntime, text: str, labels: Sequence[str] = ()) -> str:
        """The label with its score."""
        found = await ZeroShotClassifier(labels=list(dict.fromkeys(labels)) or _USUAL).ainvoke(text)
        if found.label is None:
            return "None of the labels fits this text."
        return f"It fits {found.label!r} best ({found.scores[found.label]:.2f})."

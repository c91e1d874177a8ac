"""From a request to a choice: one way after the other, until one is sure."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool

from taleward.agents.routing.strategy import RoutingAttempt, RoutingRequest, RoutingStrategy, ToolSelection
from taleward.agents.tools.base import NeedsMore, TaleTool
from taleward.core.frozen_model import FrozenDict
from taleward.moderation.tracing.langchain_callbacks import mute_callbacks

_SURE = 0.8
_FIRST = re.compile(r"^\W*(?:the )?(?:first|former|one|1)\b", re.IGNORECASE)
_SECOND = re.compile(r"^\W*(?:the )?(?:second|latter|other|two|2)\b", re.IGNORECASE)
_LEFT = {"way": "model", "found": "unsure", "detail": "left to the model with its tools"}


class RouteSelector:
    """Asks ways in turn.

    Args:
        strategies: From the first to the last.
        tools: The tools that may be called, by name.
        model: Whether a model with tools comes behind the ways: it gets what they leave.
    """

    def __init__(self, strategies: Sequence[RoutingStrategy], tools: Mapping[str, BaseTool], *, model: bool) -> None:
        self._ways, self._tools, self._model = tuple(strategies), dict(tools), model

    async def choice(
        self, text: str, *, tale: str = "", asked: ToolSelection | None = None, config: RunnableConfig | None = None
    ) -> ToolSelection:
        """The choice for what somebody says.

        Args:
            text: Their words.
            tale: The text told last.
            asked: The choice whose question this answers, where one was asked just now.
            config: For the ways' runs.
        """
        before, options = (asked.request, asked.options) if asked else ("", ())
        request, tried = RoutingRequest(text=text, before=before, options=options, tale=tale), []
        if picked := _picked(text, options):
            return self._called(RoutingAttempt(way="answer", found="tool", tool=picked), request, ())
        for way in self._ways:
            # In a task, whose context is its own: what a way's model says is not judged yet, and nobody may listen.
            found = await asyncio.create_task(_unheard(way, request, config or {}))
            tried.append(found)
            if asked and len(options) == 1 and not _sure(found):
                return self._called(RoutingAttempt(way=way.name, found="tool", tool=options[0]), request, tried)
            if found.found == "tool":
                return self._called(found, request, tried)
            if found.found == "none":
                break
        if self._model:
            return ToolSelection(by="model", tried=(*tried, RoutingAttempt.model_validate(_LEFT)), request=text)
        return self._unclear(tried, request)

    def _called(self, found: RoutingAttempt, request: RoutingRequest, tried: Sequence[RoutingAttempt]) -> ToolSelection:
        base: dict[str, Any] = {"by": found.way, "tried": tuple(tried), "request": request.text}
        tool = self._tools.get(found.tool or "")
        if tool is None:
            if self._model:
                return ToolSelection(**{**base, "by": "model"})
            return ToolSelection(**base, said=self._offer("That is not something I can do here."))
        if found.args is not None:
            return ToolSelection(**base, tool=tool.name, args=found.args)
        if not isinstance(tool, TaleTool):
            return ToolSelection(**base, question=f"Please tell me more exactly what I shall do with {tool.name}.")
        try:
            answers = tool.name in request.options
            asked = _completed(request) if answers else request.model_copy(update={"before": ""})
            return ToolSelection(**base, tool=tool.name, args=FrozenDict(tool.arguments(asked)))
        except NeedsMore as needed:
            if answers:  # one question is enough
                return ToolSelection(**base, said=self._offer("I still do not know enough for that."))
            return ToolSelection(**base, question=str(needed), options=(needed.tool or tool.name,))

    def _unclear(self, tried: Sequence[RoutingAttempt], request: RoutingRequest) -> ToolSelection:
        base: dict[str, Any] = {"tried": tuple(tried), "request": request.text}
        if tried and tried[-1].found == "none":
            return ToolSelection(**base, by=tried[-1].way, said=self._offer("I am a storyteller."))
        options = tuple(o for t in tried for o in t.options if o in self._tools)[:2]
        if request.before or not options:
            return ToolSelection(**base, said=self._offer("I am not sure what you want."))
        asked = " or ".join(_title(self._tools[option]) for option in options)
        return ToolSelection(**base, question=f"I am not sure what you want. Shall I {asked}?", options=options)

    def _offer(self, words: str) -> str:
        titles = [_title(tool) for tool in self._tools.values()]
        can = f"{', '.join(titles[:-1])} or {titles[-1]}" if len(titles) > 1 else "".join(titles)
        return f"{words} I can {can}." if can else words


async def _unheard(way: RoutingStrategy, request: RoutingRequest, config: RunnableConfig) -> RoutingAttempt:
    return await way.ainvoke(request, mute_callbacks(config))


def _completed(request: RoutingRequest) -> RoutingRequest:
    """The first request, with the answer to the question about it."""
    before = request.before.rstrip(": ")
    if _picked(request.text, request.options):
        text = before
    else:
        text = f"{before}\n{request.text}" if len(request.options) == 1 else f"{before}. {request.text}"
    return request.model_copy(update={"text": text, "before": ""})


def _picked(text: str, options: Sequence[str]) -> str | None:
    """The option that an answer such as "the second one" picks."""
    if len(options) != 2 or len(text.split()) > 4:
        return None
    return options[0] if _FIRST.match(text) else options[1] if _SECOND.match(text) else None


def _sure(found: RoutingAttempt) -> bool:
    return found.found == "tool" and found.tool is not None and found.scores.get(found.tool, 0.0) >= _SURE


def _title(tool: BaseTool) -> str:
    return tool.title if isinstance(tool, TaleTool) else tool.name.replace("_", " ")

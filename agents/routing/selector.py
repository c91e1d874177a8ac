"""Select a tool for a request: ask routing strategies in turn until one is sure."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool

from taleward.agents.routing.strategy import RoutingAttempt, RoutingRequest, RoutingStrategy, ToolSelection
from taleward.agents.tools.base import ClarificationNeeded, TaleTool
from taleward.core.frozen_model import FrozenDict
from taleward.moderation.tracing.mute_callbacks import mute_callbacks

# Above this probability, the answer to a question such as "Which text should I check?" counts as a new request.
_CONFIDENT = 0.8
_FIRST_OPTION = re.compile(r"^\W*(?:the )?(?:first|former|one|1)\b", re.IGNORECASE)
_SECOND_OPTION = re.compile(r"^\W*(?:the )?(?:second|latter|other|two|2)\b", re.IGNORECASE)


class RouteSelector:
    """Ask routing strategies in turn, and turn the first decision into a tool call, a question or a reply.

    Args:
        strategies: The strategies, in the order they are asked.
        tools: The tools that may be called, by name.
        model: Whether a model with tools follows, which handles what the strategies leave undecided.
    """

    def __init__(self, strategies: Sequence[RoutingStrategy], tools: Mapping[str, BaseTool], *, model: bool) -> None:
        self._strategies, self._tools, self._has_model = tuple(strategies), dict(tools), model

    async def select(
        self,
        text: str,
        *,
        tale: str = "",
        clarifies: ToolSelection | None = None,
        config: RunnableConfig | None = None,
    ) -> ToolSelection:
        """Select a tool for a request.

        Args:
            text: The user's words.
            tale: The text told last.
            clarifies: The previous selection, if `text` answers its question.
            config: LangChain config for the strategies' runs.
        """
        previous_request, options = (clarifies.request, clarifies.options) if clarifies else ("", ())
        request = RoutingRequest(text=text, previous_request=previous_request, options=options, tale=tale)
        attempts: list[RoutingAttempt] = []
        if option := _picked_option(text, options):
            return self._selection_for(RoutingAttempt(strategy="answer", outcome="tool", tool=option), request, ())
        for strategy in self._strategies:
            # A task has a context of its own: muting the callbacks there leaves those of the surrounding run alone.
            attempt = await asyncio.create_task(_attempt_muted(strategy, request, config or {}))
            attempts.append(attempt)
            if clarifies and len(options) == 1 and not _is_confident(attempt):
                # The question was about a missing argument, so its answer belongs to the tool that asked.
                answered = RoutingAttempt(strategy=strategy.name, outcome="tool", tool=options[0])
                return self._selection_for(answered, request, attempts)
            if attempt.outcome == "tool":
                return self._selection_for(attempt, request, attempts)
            if attempt.outcome == "none":
                break
        if self._has_model:
            left_to_model = RoutingAttempt(
                strategy="model", outcome="unsure", detail="left to the model with its tools"
            )
            return ToolSelection(strategy="model", attempts=(*attempts, left_to_model), request=text)
        return self._without_tool(attempts, request)

    def _selection_for(
        self, attempt: RoutingAttempt, request: RoutingRequest, attempts: Sequence[RoutingAttempt]
    ) -> ToolSelection:
        """Turn a chosen tool into a call, or into a question if its arguments are incomplete."""
        fields: dict[str, Any] = {"strategy": attempt.strategy, "attempts": tuple(attempts), "request": request.text}
        tool = self._tools.get(attempt.tool or "")
        if tool is None:
            if self._has_model:
                # The strategy may know more tools than the role may call; the model can still explain or help.
                return ToolSelection(**{**fields, "strategy": "model"})
            return ToolSelection(**fields, reply=self._with_offer("I can't do that here."))
        if attempt.args is not None:
            return ToolSelection(**fields, tool=tool.name, args=attempt.args)
        if not isinstance(tool, TaleTool):
            question = f"Could you tell me a little more about what you'd like me to do with {tool.name}?"
            return ToolSelection(**fields, question=question)
        is_answer = tool.name in request.options
        completed = _completed_request(request) if is_answer else request.model_copy(update={"previous_request": ""})
        try:
            return ToolSelection(**fields, tool=tool.name, args=FrozenDict(tool.arguments(completed)))
        except ClarificationNeeded as needed:
            if is_answer:  # never ask twice: a reader who is asked again and again gives up
                return ToolSelection(**fields, reply=self._with_offer("I still don't know enough to do that."))
            return ToolSelection(**fields, question=str(needed), options=(needed.tool or tool.name,))

    def _without_tool(self, attempts: Sequence[RoutingAttempt], request: RoutingRequest) -> ToolSelection:
        """Ask a question, or reply with what the tools can do, if no strategy chose a tool."""
        fields: dict[str, Any] = {"attempts": tuple(attempts), "request": request.text}
        if attempts and attempts[-1].outcome == "none":
            reply = self._with_offer("I'm a storyteller.")
            return ToolSelection(**fields, strategy=attempts[-1].strategy, reply=reply)
        options = tuple(option for a in attempts for option in a.options if option in self._tools)[:2]
        if request.previous_request or not options:
            return ToolSelection(**fields, reply=self._with_offer("I'm not sure what you'd like."))
        offer = " or ".join(_title(self._tools[option]) for option in options)
        return ToolSelection(**fields, question=f"I'm not sure what you'd like. Shall I {offer}?", options=options)

    def _with_offer(self, reply: str) -> str:
        """Append to a reply what the tools can do."""
        titles = [_title(tool) for tool in self._tools.values()]
        if len(titles) > 2:
            titles = [f"{', '.join(titles[:-1])},", titles[-1]]
        return f"{reply} I can {' or '.join(titles)}." if titles else reply


async def _attempt_muted(strategy: RoutingStrategy, request: RoutingRequest, config: RunnableConfig) -> RoutingAttempt:
    """Run a strategy with the caller's callbacks muted: its model's output is unmoderated."""
    return await strategy.ainvoke(request, mute_callbacks(config))


def _completed_request(request: RoutingRequest) -> RoutingRequest:
    """Combine the previous request with the answer to its clarifying question."""
    previous = request.previous_request.rstrip(": ")
    if _picked_option(request.text, request.options):
        text = previous
    else:
        # One option: the answer is a missing text, which `parse_request` expects on a line of its own.
        text = f"{previous}\n{request.text}" if len(request.options) == 1 else f"{previous}. {request.text}"
    return request.model_copy(update={"text": text, "previous_request": ""})


def _picked_option(text: str, options: Sequence[str]) -> str | None:
    """Return the option that an answer such as "the second one" picks."""
    # A longer answer that starts with "one" or "first" is more likely a sentence than a pick.
    if len(options) != 2 or len(text.split()) > 4:
        return None
    return options[0] if _FIRST_OPTION.match(text) else options[1] if _SECOND_OPTION.match(text) else None


def _is_confident(attempt: RoutingAttempt) -> bool:
    if attempt.outcome != "tool" or attempt.tool is None:
        return False
    return attempt.scores.get(attempt.tool, 0.0) >= _CONFIDENT


def _title(tool: BaseTool) -> str:
    return tool.title if isinstance(tool, TaleTool) else tool.name.replace("_", " ")

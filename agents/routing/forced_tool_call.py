"""Routing by a chat model that is forced to answer with one tool call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from taleward.agents.routing.strategy import RoutingAttempt, RoutingRequest, RoutingStrategy
from taleward.agents.untrusted_text import DATA_RULE, fence_text
from taleward.backends.chat_models import chat_model
from taleward.core.frozen_model import FrozenDict

_NO_TOOL = {
    "type": "function",
    "function": {
        "name": "no_tool",
        "description": "Call this if none of the other tools fits the request.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
}
_SYSTEM_PROMPT = (
    "Choose the one tool that the request calls for, and its arguments. If it asks for several things, choose the tool "
    f"for the first one. {DATA_RULE}"
)


class ConstrainedStrategy(RoutingStrategy):
    """Route with a model that must answer with a tool call: `bind_tools(..., tool_choice="any")`.

    A local model generates the call under a grammar built from the tools' schemas, so it always parses; for a hosted
    model the provider enforces it. If a call still does not parse, the strategy is unsure.

    Args:
        model: A model spec, or a LangChain chat model that supports tool calls.
        tools: The tools to choose from.
        options: Options for the model, see `chat_model`.
    """

    name = "constrained"

    def __init__(self, model: str | BaseChatModel, tools: Sequence[BaseTool], **options: Any) -> None:
        # A forced call needs a way to say "none of these", or every request would reach some tool.
        schemas = [*(convert_to_openai_tool(tool) for tool in tools), _NO_TOOL]
        self.model = chat_model(model, **options)
        self._bound_model = self.model.bind_tools(schemas, tool_choice="any")
        self._tool_names = {tool.name for tool in tools}

    def choose(self, request: RoutingRequest) -> RoutingAttempt:
        """Return the tool that the model calls, with its arguments."""
        return self._attempt_from(self._bound_model.invoke(_messages(request)))

    async def achoose(self, request: RoutingRequest) -> RoutingAttempt:
        """Async version of `choose`."""
        return self._attempt_from(await self._bound_model.ainvoke(_messages(request)))

    def _attempt_from(self, response: AIMessage) -> RoutingAttempt:
        if not response.tool_calls:
            invalid = response.invalid_tool_calls
            reason = f"the tool call does not parse: {invalid[0]['error']}" if invalid else "the model called no tool"
            return RoutingAttempt(strategy=self.name, outcome="unsure", detail=reason)
        call = response.tool_calls[0]
        if call["name"] == "no_tool":
            return RoutingAttempt(strategy=self.name, outcome="none")
        if call["name"] not in self._tool_names:
            reason = f"the model called {call['name']!r}, which is not one of the tools"
            return RoutingAttempt(strategy=self.name, outcome="unsure", detail=reason)
        return RoutingAttempt(strategy=self.name, outcome="tool", tool=call["name"], args=FrozenDict(call["args"]))


def _messages(request: RoutingRequest) -> list[Any]:
    parts = []
    if request.previous_request:
        parts.append(f"The previous request, which this one clarifies:\n{fence_text(request.previous_request)}")
    if request.tale:
        parts.append(f"The text told last, which 'it' may refer to:\n{fence_text(request.tale)}")
    parts.append(f"The request:\n{fence_text(request.text)}")
    return [SystemMessage(_SYSTEM_PROMPT), HumanMessage("\n\n".join(parts))]

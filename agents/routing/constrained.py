"""Routing by a model whose answer is forced to be one tool call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from taleward.agents.middleware.untrusted_text import DATA_RULE, fenced
from taleward.agents.routing.strategy import RoutingAttempt, RoutingRequest, RoutingStrategy
from taleward.backends.chat_models import chat_model
from taleward.core.frozen_model import FrozenDict

_NO_TOOL = {
    "type": "function",
    "function": {
        "name": "no_tool",
        "description": "Call this when none of the other tools is for the request.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
}
_SYSTEM = (
    "You choose the one tool that a request is for, and its arguments. Of several wishes, take the one to do first. "
    f"{DATA_RULE}"
)


class ConstrainedStrategy(RoutingStrategy):
    """Chooses by a model that must answer with a tool call: `bind_tools(..., tool_choice="any")`.

    A model that runs here writes such an answer under a grammar made of the tools' schemas, so that it always parses;
    a hosted one is held to it by its provider. A call that does not parse all the same is no choice.

    Args:
        model: A model spec, or a LangChain chat model that takes tools.
        tools: The tools to choose from.
        options: For the model, see `chat_model`.
    """

    name = "constrained"

    def __init__(self, model: str | BaseChatModel, tools: Sequence[BaseTool], **options: Any) -> None:
        declared = [*(convert_to_openai_tool(tool) for tool in tools), _NO_TOOL]
        self.model = chat_model(model, **options)
        self._bound = self.model.bind_tools(declared, tool_choice="any")
        self._schemas = {tool.name: tool.tool_call_schema for tool in tools}

    def choose(self, request: RoutingRequest) -> RoutingAttempt:
        """The tool that the model calls, with its arguments."""
        return self._read(self._bound.invoke(_messages(request)))

    async def achoose(self, request: RoutingRequest) -> RoutingAttempt:
        """As `choose`, without blocking the event loop."""
        return self._read(await self._bound.ainvoke(_messages(request)))

    def _read(self, answer: AIMessage) -> RoutingAttempt:
        if not answer.tool_calls:
            broken = answer.invalid_tool_calls
            why = f"the call cannot be read: {broken[0]['error']}" if broken else "the model called no tool"
            return RoutingAttempt(way=self.name, found="unsure", detail=why)
        call = answer.tool_calls[0]
        if call["name"] == "no_tool":
            return RoutingAttempt(way=self.name, found="none")
        if call["name"] not in self._schemas:
            return RoutingAttempt(way=self.name, found="unsure", detail=f"there is no tool {call['name']!r}")
        return RoutingAttempt(way=self.name, found="tool", tool=call["name"], args=FrozenDict(call["args"]))


def _messages(request: RoutingRequest) -> list[Any]:
    parts = [f"They said before:\n{fenced(request.before)}"] if request.before else []
    if request.tale:
        parts.append(f"The text told last, which 'it' may mean:\n{fenced(request.tale)}")
    return [SystemMessage(_SYSTEM), HumanMessage("\n\n".join([*parts, f"The request:\n{fenced(request.text)}"]))]

"""Helpers for the messages of an agent: the current turn, its tool calls, and what a model may read of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.types import Command

from taleward.agents.untrusted_text import fence_text

ToolResult = ToolMessage | Command[Any]
"""What a tool call returns: a message, or a state update."""

SELECTION = "taleward_selection"
"""Key in a message's `response_metadata` for the `ToolSelection` behind the message."""
STOPPED = "taleward_stopped"
"""Key in a message's `response_metadata` for the limit that ended the turn, such as `steps`."""


def current_turn(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages from the user's last one on."""
    last = max((index for index, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
    return list(messages[last:])


def messages_for_model(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages as a model may read them: tool results fenced, and a result for every tool call."""
    finished_calls = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    prepared: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            # The artifact is dropped: a provider integration could put it into the prompt without fences.
            fenced = {"content": fence_text(str(message.text)), "artifact": None}
            prepared.append(message.model_copy(update=fenced))
            continue
        prepared.append(message)
        if isinstance(message, AIMessage):
            # Providers reject a conversation in which a tool call has no result.
            prepared.extend(
                error_result(call, "This call was stopped before it returned a result.")
                for call in message.tool_calls
                if call["id"] not in finished_calls
            )
    return prepared


def tool_calls_in(turn: Sequence[AnyMessage]) -> list[Any]:
    """Return the tool calls of a turn, in order."""
    return [call for message in turn if isinstance(message, AIMessage) for call in message.tool_calls]


def calls_before(turn: Sequence[AnyMessage], call: Any) -> list[Any]:
    """Return the tool calls of a turn that precede a call in its last AI message."""
    *earlier, last = [message for message in turn if isinstance(message, AIMessage)]
    position = next((index for index, other in enumerate(last.tool_calls) if other["id"] == call["id"]), 0)
    return [*tool_calls_in(earlier), *last.tool_calls[:position]]


def call_signature(call: Any) -> str:
    """Return a tool call's name and arguments as a string; two calls with the same signature are repeats."""
    return f"{call['name']} {json.dumps(call['args'], sort_keys=True, default=str)}"


def token_count(message: AnyMessage) -> int:
    """Return the tokens that a model call used; estimated at four characters per written token if unreported."""
    if not isinstance(message, AIMessage):
        return 0
    if message.usage_metadata is not None:
        return message.usage_metadata["total_tokens"]
    return len(message.text) // 4


def error_result(call: Any, text: str) -> ToolMessage:
    """Return the tool message for a call that failed or must not run."""
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")

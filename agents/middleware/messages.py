"""Turns of a conversation: what was called in them, and how a model may read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from taleward.agents.middleware.untrusted_text import fenced

CHOICE = "taleward_choice"
"""Key of a message's `response_metadata` under which it says by which choice it came."""
STOPPED = "taleward_stopped"
"""Key under which a message says which budget ended the turn."""


def this_turn(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The messages from the reader's last one on."""
    last = max((at for at, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
    return list(messages[last:])


def fenced_turns(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The messages as a model may read them: tools' words fenced, and an answer to every call."""
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    made: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            made.append(message.model_copy(update={"content": fenced(str(message.text)), "artifact": None}))
            continue
        made.append(message)
        for call in message.tool_calls if isinstance(message, AIMessage) else ():
            if call["id"] not in answered:
                made.append(error_for(call, "This call was stopped before it had an answer."))
    return made


def calls_of(turn: Sequence[AnyMessage]) -> list[Any]:
    """The calls of tools in a turn, in order."""
    return [call for message in turn if isinstance(message, AIMessage) for call in message.tool_calls]


def calls_before(turn: Sequence[AnyMessage], call: Any) -> list[Any]:
    """The calls of a turn that came before one of its last answer's."""
    *earlier, last = [message for message in turn if isinstance(message, AIMessage)]
    at = next((at for at, one in enumerate(last.tool_calls) if one["id"] == call["id"]), 0)
    return [*calls_of(earlier), *last.tool_calls[:at]]


def call_key(call: Any) -> str:
    """What two calls have in common that ask for the same."""
    return f"{call['name']} {json.dumps(call['args'], sort_keys=True, default=str)}"


def tokens_of(message: AnyMessage) -> int:
    """Tokens of a model's call; where it does not say, about one for four characters that it wrote."""
    if not isinstance(message, AIMessage):
        return 0
    if message.usage_metadata is not None:
        return message.usage_metadata["total_tokens"]
    return len(message.text) // 4


def error_for(call: Any, text: str) -> ToolMessage:
    """The answer to a call that did not work."""
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")

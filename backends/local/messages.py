"""Convert messages to the turns that chat templates expect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def to_template_turn(message: dict[str, Any]) -> dict[str, Any]:
    """Convert a message in OpenAI's format: `None` content becomes "", tool-call arguments are parsed to objects."""
    turn = {**message, "content": message.get("content") or ""}
    if calls := message.get("tool_calls"):
        # OpenAI's arguments are a JSON string; templates such as Qwen's dump them to JSON themselves.
        turn["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"] or "{}")}}
            for call in calls
        ]
    return turn


def tool_calls_as_text(turn: dict[str, Any]) -> dict[str, Any]:
    """Write a turn's tool calls or tool result out as text, for chat templates that do not support tools."""
    if turn["role"] == "tool":
        return {"role": "user", "content": f"The tool answered: {turn['content']}"}
    functions = [call["function"] for call in turn.get("tool_calls", ())]
    if not functions:
        return turn
    calls = (json.dumps({"name": f["name"], "arguments": f["arguments"]}) for f in functions)
    return {"role": turn["role"], "content": "\n".join(part for part in (turn["content"], *calls) if part)}


def add_instructions(turns: list[dict[str, Any]], instructions: Sequence[str]) -> list[dict[str, Any]]:
    """Append instructions to the system turn, or, if there is none, put them before the first turn's text."""
    if not instructions or not turns:
        return turns
    first = turns[0]
    before, after = (first["content"], "") if first["role"] == "system" else ("", first["content"])
    content = "\n\n".join(part for part in (before, *instructions, after) if part)
    return [{**first, "content": content}, *turns[1:]]

"""Turns of a conversation as chat templates take them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def turn(told: dict[str, Any]) -> dict[str, Any]:
    """A turn as templates take it: a content that is text, and arguments of tool calls as objects."""
    found = {**told, "content": told.get("content") or ""}
    if calls := told.get("tool_calls"):
        found["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"] or "{}")}}
            for call in calls
        ]
    return found


def plain(told: dict[str, Any]) -> dict[str, Any]:
    """A turn with its tool calls and results in words, for templates that know of none."""
    if told["role"] == "tool":
        return {"role": "user", "content": f"The tool answered: {told['content']}"}
    calls = [call["function"] for call in told.get("tool_calls", ())]
    if not calls:
        return told
    said = [told["content"], *(json.dumps({"name": c["name"], "arguments": c["arguments"]}) for c in calls)]
    return {"role": told["role"], "content": "\n".join(part for part in said if part)}


def instructed(turns: list[dict[str, Any]], told: Sequence[str]) -> list[dict[str, Any]]:
    """The turns with instructions in the system's turn, or in the first turn where there is none."""
    if not told or not turns:
        return turns
    first = turns[0]
    before, behind = (first["content"], "") if first["role"] == "system" else ("", first["content"])
    content = "\n\n".join(part for part in (before, *told, behind) if part)
    return [{**first, "content": content}, *turns[1:]]

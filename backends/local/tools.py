"""Tool calls of models that run here: how tools are told, how calls are forced by a grammar, and how they are read."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk

from taleward.backends.engine.grammar import closed
from taleward.core.errors import ConfigurationError, UnknownName

_MARK, _END = "<tool_call>", "</tool_call>"
_BLOCK = re.compile(rf"{_MARK}(.*?)(?:{_END}|$)", re.DOTALL)


@dataclass
class ParsedToolCalls:
    """Tool calls that were read.

    Attributes:
        made: Name and arguments of each, the arguments as JSON; what is no JSON is an invalid call for LangChain.
    """

    made: list[tuple[str, str]] = field(default_factory=list)

    def chunks(self) -> Iterator[ToolCallChunk]:
        """As LangChain streams them, each whole."""
        for index, (name, arguments) in enumerate(self.made):
            yield tool_call_chunk(name=name, args=arguments, id=f"call_{uuid.uuid4().hex[:24]}", index=index)


class ToolText:
    """Takes tool calls out of a text that comes in pieces.

    Known are `<tool_call>{...}</tool_call>` (Qwen, Hermes) and answers that are JSON and nothing else (Llama, Mistral,
    and every call that a grammar forced): `name` with `arguments` or `parameters`, or a list of such.

    Args:
        tools: The names of the tools.
        forced: Whether the text is a call and nothing else.
    """

    def __init__(self, tools: frozenset[str], *, forced: bool) -> None:
        self._tools, self._forced = tools, forced
        self._held = ""
        self._shown = False

    def push(self, piece: str) -> str:
        """What is certainly no call, and may be shown."""
        self._held += piece
        begun = self._held.lstrip()
        if self._forced or not begun or (not self._shown and begun[0] in "{["):
            return ""
        at = self._held.find(_MARK)
        if at < 0:
            at = len(self._held) - max(n for n in range(len(_MARK)) if self._held.endswith(_MARK[:n]))
        shown, self._held = self._held[:at], self._held[at:]
        self._shown = self._shown or bool(shown)
        return shown

    def finish(self) -> tuple[str, ParsedToolCalls]:
        """What was held and is no call, and the calls."""
        blocks = [found[1] for found in _BLOCK.finditer(self._held)] or [self._held]
        made = [call for block in blocks for call in self._read(block)]
        return ("", ParsedToolCalls(made)) if made else (self._held, ParsedToolCalls())

    def _read(self, block: str) -> Iterator[tuple[str, str]]:
        try:
            told = json.loads(block)
        except ValueError:
            if name := re.match(r'\s*\{\s*"name"\s*:\s*"([^"]*)"', block):
                yield name[1], block  # cut off: an invalid call, which the caller sees as such
            return
        for call in told if isinstance(told, list) else [told]:
            if isinstance(call, dict) and call.get("name") in self._tools:
                arguments = call.get("arguments", call.get("parameters", {}))
                yield call["name"], arguments if isinstance(arguments, str) else json.dumps(arguments)


def chosen_tools(tools: Sequence[Mapping[str, Any]], choice: Any) -> tuple[list[Mapping[str, Any]], bool]:
    """The tools that may be called, and whether one must be.

    Args:
        tools: In OpenAI's form.
        choice: `None` or "auto", "none", "any" or "required", a tool's name, or OpenAI's object with one.

    Raises:
        UnknownName: It names no tool.
    """
    names = [tool["function"]["name"] for tool in tools]
    if isinstance(choice, Mapping):
        choice = choice.get("function", choice).get("name")
    if choice is None or choice is False or choice == "auto":
        return list(tools), False
    if choice == "none":
        return [], False
    if choice is True or choice in ("any", "required"):
        return list(tools), True
    if choice not in names:
        raise UnknownName("tool", str(choice), names, hint="tool_choice is 'auto', 'any', 'none' or a tool's name.")
    return [tool for tool in tools if tool["function"]["name"] == choice], True


def call_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON schema of a call of one of these tools."""
    if not tools:
        raise ConfigurationError("a tool call needs a tool; got none.")
    calls, definitions = [], {}
    for tool in tools:
        function = tool["function"]
        arguments = closed(function.get("parameters") or {"type": "object", "properties": {}})
        definitions.update(arguments.pop("$defs", {}))
        arguments.setdefault("additionalProperties", False)
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": function["name"]}, "arguments": arguments},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    return {"anyOf": calls, "$defs": definitions} if len(calls) > 1 else {**calls[0], "$defs": definitions}


def tools_told(tools: Sequence[Mapping[str, Any]]) -> str:
    """The tools in words, for a model whose template does not tell them."""
    lines = []
    for tool in tools:
        function = tool["function"]
        takes = json.dumps((function.get("parameters") or {}).get("properties", {}))
        lines.append(f"- {function['name']}: {function.get('description', '')} Arguments: {takes}")
    return (
        "You can call these tools:\n" + "\n".join(lines) + "\nTo call one, answer with nothing but JSON: "
        '{"name": "TOOL", "arguments": {...}}'
    )

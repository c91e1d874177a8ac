"""Tool calls of local models: describing tools, the grammar of a call, and parsing calls out of generated text."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk

from taleward.backends.engine.grammar import forbid_extra_properties
from taleward.core.errors import ConfigurationError, UnknownName

_OPEN_TAG, _CLOSE_TAG = "<tool_call>", "</tool_call>"
_TAGGED_CALL = re.compile(rf"{_OPEN_TAG}(.*?)(?:{_CLOSE_TAG}|$)", re.DOTALL)
_CALL_NAME = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"]*)"')


@dataclass
class ParsedToolCalls:
    """Tool calls found in a generated text.

    Attributes:
        calls: The name and the arguments of each call, the arguments as JSON. LangChain reports arguments that are not
            valid JSON as an invalid call.
    """

    calls: list[tuple[str, str]] = field(default_factory=list)

    def chunks(self) -> Iterator[ToolCallChunk]:
        """The calls as LangChain streams them, each in one chunk."""
        for index, (name, arguments) in enumerate(self.calls):
            yield tool_call_chunk(name=name, args=arguments, id=f"call_{uuid.uuid4().hex[:24]}", index=index)


class ToolCallParser:
    """Separates tool calls from text that arrives in pieces.

    It recognizes `<tool_call>{...}</tool_call>` (Qwen, Hermes), and answers that are JSON and nothing else (Llama,
    Mistral, and every call that a grammar enforced): an object with `name` and `arguments` or `parameters`, or a list
    of such objects.

    Args:
        tool_names: The names of the tools.
        is_call_required: Whether the whole text is a call.
    """

    def __init__(self, tool_names: frozenset[str], *, is_call_required: bool) -> None:
        self._tool_names, self._is_call_required = tool_names, is_call_required
        self._buffer = ""
        self._has_text = False

    def push(self, piece: str) -> str:
        """Add a piece of text, and return the text that certainly belongs to no call."""
        self._buffer += piece
        stripped = self._buffer.lstrip()
        # An answer that starts like JSON may turn out to be a call only at its end, so all of it is held back.
        if self._is_call_required or not stripped or (not self._has_text and stripped[0] in "{["):
            return ""
        end = self._buffer.find(_OPEN_TAG)
        if end < 0:
            # The buffer may end in the first characters of a tag.
            end = len(self._buffer) - max(n for n in range(len(_OPEN_TAG)) if self._buffer.endswith(_OPEN_TAG[:n]))
        text, self._buffer = self._buffer[:end], self._buffer[end:]
        self._has_text = self._has_text or bool(text)
        return text

    def finish(self) -> tuple[str, ParsedToolCalls]:
        """End the text, and return what was held back and is not a call, and the calls."""
        blocks = [match[1] for match in _TAGGED_CALL.finditer(self._buffer)] or [self._buffer]
        calls = [call for block in blocks for call in self._parse(block)]
        return ("", ParsedToolCalls(calls)) if calls else (self._buffer, ParsedToolCalls())

    def _parse(self, block: str) -> Iterator[tuple[str, str]]:
        try:
            parsed = json.loads(block)
        except (ValueError, RecursionError):  # the last one for deep nesting
            if name := _CALL_NAME.match(block):
                yield name[1], block  # cut off; LangChain reports it as an invalid call
            return
        for call in parsed if isinstance(parsed, list) else [parsed]:
            if isinstance(call, dict) and call.get("name") in self._tool_names:
                arguments = call.get("arguments", call.get("parameters", {}))
                yield call["name"], arguments if isinstance(arguments, str) else json.dumps(arguments)


def resolve_tool_choice(tools: Sequence[Mapping[str, Any]], choice: Any) -> tuple[list[Mapping[str, Any]], bool]:
    """Apply `tool_choice`.

    Args:
        tools: Tool definitions in OpenAI's format.
        choice: `None` or "auto", "none", "any" or "required", a tool's name, or OpenAI's object with one.

    Returns:
        The tools that may be called, and whether a call is required.

    Raises:
        UnknownName: If `choice` is not the name of a tool.
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
        raise UnknownName(
            "tool", str(choice), names, hint="Set tool_choice to 'auto', 'any', 'none' or the name of a tool."
        )
    return [tool for tool in tools if tool["function"]["name"] == choice], True


def tool_call_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON schema of a call of one of the tools.

    Raises:
        ConfigurationError: If there are no tools.
    """
    if not tools:
        raise ConfigurationError("tool_choice requires a tool call, but there are no tools.", hint="Set tools=[...].")
    calls, definitions = [], {}
    for tool in tools:
        function = tool["function"]
        arguments = forbid_extra_properties(function.get("parameters") or {"type": "object", "properties": {}})
        # `$ref` is resolved from the root of the whole schema.
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


def describe_tools(tools: Sequence[Mapping[str, Any]]) -> str:
    """Describe tools in an instruction, for a model whose chat template does not support them."""
    lines = []
    for tool in tools:
        function = tool["function"]
        arguments = json.dumps((function.get("parameters") or {}).get("properties", {}))
        lines.append(f"- {function['name']}: {function.get('description', '')} Arguments: {arguments}")
    return (
        "You can call these tools:\n" + "\n".join(lines) + "\nTo call one, answer with nothing but JSON: "
        '{"name": "TOOL", "arguments": {...}}'
    )

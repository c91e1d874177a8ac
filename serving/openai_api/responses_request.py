"""The body of `/v1/responses`, read as a chat: without state, every request brings its whole conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from taleward.serving.config import ReleaseMode
from taleward.serving.errors import ApiError
from taleward.serving.openai_api.chat_request import ChatCompletionRequest
from taleward.serving.openai_api.unsupported import check_extra_parameters, unsupported

_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "background": (False,),
    "context_management": (),
    "conversation": (),
    "include": ([],),
    "max_tool_calls": (),
    "previous_response_id": (),
    "prompt": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "stream_options": ({}, {"include_obfuscation": False}),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
"""OpenAI's parameters that are not supported, with the values that ask for nothing."""
_NO_STATE = "this server keeps no state: send the whole conversation as input"
_WHY = dict.fromkeys(("background", "conversation", "previous_response_id", "prompt", "store"), _NO_STATE)
_CHAT_NAMES = {
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}


class ResponsesRequest(BaseModel):
    """A response, as OpenAI documents it, and Taleward's own three fields; see `ChatCompletionRequest` for the others.

    Attributes:
        input: A text, or the items of the conversation.
        instructions: A system message before them.
        max_output_tokens: Tokens in the answer.
        text: The format of the answer.
        reasoning: The effort, for hosted models.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    model: str
    input: str | Annotated[list[dict[str, Any]], Field(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    moderation: dict[str, Any] | None = None
    release: ReleaseMode | None = None
    refusal_as: Literal["refusal", "content"] | None = None
    band: str | None = None

    def as_chat(self) -> ChatCompletionRequest:
        """Return the request as a chat completion.

        Raises:
            ApiError: If it asks for something that cannot be honoured.
        """
        check_extra_parameters(self, _DEFAULTS, _WHY)
        unknown = sorted({*(self.text or {})} - {"format", "verbosity"})
        if unknown or (self.text or {}).get("verbosity") not in (None, "medium"):
            raise unsupported(f"text.{unknown[0] if unknown else 'verbosity'}", "this server does not support it")
        fields = {
            "model": self.model,
            "messages": self._messages(),
            "stream": self.stream,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_completion_tokens": self.max_output_tokens,
            "response_format": _response_format((self.text or {}).get("format")),
            "reasoning_effort": (self.reasoning or {}).get("effort"),
            "tools": [_tool(tool) for tool in self.tools] if self.tools else None,
            "tool_choice": _tool_choice(self.tool_choice),
            "parallel_tool_calls": self.parallel_tool_calls,
            "moderation": self.moderation,
            "release": self.release,
            "refusal_as": self.refusal_as,
            "band": self.band,
        }
        return ChatCompletionRequest.model_validate(fields)

    def _messages(self) -> list[dict[str, Any]]:
        first = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            return [*first, {"role": "user", "content": self.input}]
        return [*first, *_messages_of(self.input)]


def chat_param(error: ApiError) -> ApiError:
    """Return an error about a chat completion with the name that the parameter has here."""
    if error.param in _CHAT_NAMES:
        error.param = _CHAT_NAMES[error.param]
    return error


def _messages_of(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for number, item in enumerate(items):
        match item.get("type", "message"):
            case "message":
                messages.append({"role": item.get("role"), "content": item.get("content")})
            case "function_call":
                function = {"name": item.get("name"), "arguments": item.get("arguments")}
                call = {"id": item.get("call_id"), "type": "function", "function": function}
                # Several calls are one turn of the model.
                if messages and messages[-1].get("tool_calls"):
                    messages[-1]["tool_calls"].append(call)
                else:
                    messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case "function_call_output":
                content = item.get("output")
                messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
            case kind:
                raise unsupported(f"input[{number}]", f"items of type {str(kind)[:40]!r} are not supported")
    return messages


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise unsupported("tools", "only functions are supported; other tools would run where no judge sees them")
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: tool[name] for name in names if tool.get(name) is not None}}


def _tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _response_format(text_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if text_format is None or text_format.get("type") != "json_schema":
        return None if text_format is None else dict(text_format)
    schema = {name: text_format[name] for name in ("name", "schema", "strict", "description") if name in text_format}
    return {"type": "json_schema", "json_schema": schema}

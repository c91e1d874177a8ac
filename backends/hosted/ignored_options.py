"""Options that a server leaves out without saying so, and what stands in for them.

`transformers serve` and others like it take `response_format`, `tool_choice`, `logprobs` and `n` and do as if they
were not there. Every answer is therefore looked at: where a form was asked for and is missing, the server is remembered
as one that ignores the option, the form is asked for in words, and the answer is held against it. Nothing stands in for
log-probabilities: that they are missing is remembered and logged, once.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel, ValidationError

from taleward.core.errors import BackendError

Ask = Callable[[list[BaseMessage], Mapping[str, Any]], Awaitable[ChatResult]]
_log = logging.getLogger(__name__)
_ATTEMPTS = 3
_CHOICES = ("any", "required")


class OptionSupport:
    """What is known of one server and model; see the module.

    Args:
        spec: The model's spec.

    Attributes:
        known: An option to whether it is honoured; options that were never asked for are missing.
    """

    def __init__(self, spec: str) -> None:
        self._spec = spec
        self.known: dict[str, bool] = {}

    def must_see(self, options: Mapping[str, Any]) -> bool:
        """Whether the answer has to be seen whole: it must have a form that the server may not give it."""
        form = _form(options)
        return form is not None and self.known.get(form) is not True

    async def answer(self, ask: Ask, messages: list[BaseMessage], options: Mapping[str, Any]) -> ChatResult:
        """An answer in the form that was asked for.

        Args:
            ask: Asks the server.
            messages: What it is asked.
            options: For the call.

        Raises:
            BackendError: The model did not come to the form, asked in words, in three attempts.
        """
        asked = {k: v for k, v in options.items() if k != "n"}
        form = _form(options)
        if form is None:
            result = await ask(messages, options)
        elif self.known.get(form) is False:
            result = await self._in_words(ask, messages, asked, form)
        else:
            result = await self._tried(ask, messages, asked, form)
        self._see_logprobs(options, result)
        return await self._so_many(ask, messages, options, result) if (options.get("n") or 1) > 1 else result

    def _see_logprobs(self, options: Mapping[str, Any], result: ChatResult) -> None:
        if not options.get("logprobs") or "logprobs" in self.known:
            return
        generation = result.generations[0]
        told = {**(generation.generation_info or {}), **generation.message.response_metadata}
        self.known["logprobs"] = bool(told.get("logprobs"))
        if not told.get("logprobs"):
            _log.warning("%s gives no log-probabilities: its server takes logprobs and leaves them out.", self._spec)

    async def _tried(self, ask: Ask, messages: list[BaseMessage], options: Mapping[str, Any], form: str) -> ChatResult:
        try:
            result = await ask(messages, options)
        except (ValidationError, json.JSONDecodeError):  # the client held the answer against the form
            result = None
        except BackendError as error:
            if not _cut_without_form(error):
                raise
            result = None
        if result is not None and _keeps(result, options, form):
            self.known[form] = True
            return result
        if result is not None and _cut_in_form(result):
            return result  # the form was begun, and is cut off by max_tokens
        self.known[form] = False
        return await self._in_words(ask, messages, options, form)

    async def _in_words(
        self, ask: Ask, messages: list[BaseMessage], options: Mapping[str, Any], form: str
    ) -> ChatResult:
        """Ask for the form in words, and hold the answer against it."""
        schema = _schema(options, form)
        asked = {k: v for k, v in options.items() if k not in (form, "tools", "strict", "parallel_tool_calls")}
        told, why = _with_words(messages, f"Answer with JSON alone, which fits this schema:\n{json.dumps(schema)}"), ""
        for _ in range(_ATTEMPTS):
            result = await ask(told, asked)
            message = result.generations[0].message
            value, why = _held_against(schema, message.text)
            if not why:
                return ChatResult(generations=[_formed(message, value, form)], llm_output=result.llm_output)
            told = [*told, AIMessage(message.text), HumanMessage(f"This does not fit: {why}. Answer with JSON alone.")]
        raise BackendError(
            f"{self._spec} does not honour {form}, and asked in words it did not answer in the form either: {why}.",
            hint="Take a model that follows such requests, or a server that honours the option, such as vLLM.",
        )

    async def _so_many(
        self, ask: Ask, messages: list[BaseMessage], options: Mapping[str, Any], result: ChatResult
    ) -> ChatResult:
        """As many answers as were asked for: a server that ignores `n` is asked as many times."""
        found, most = list(result.generations), int(options["n"])
        rest = {k: v for k, v in options.items() if k != "n"}
        while len(found) < most:
            found += (await self.answer(ask, messages, rest)).generations
        return ChatResult(generations=found[:most], llm_output=result.llm_output)


def _form(options: Mapping[str, Any]) -> str | None:
    """The option that asks for a form: `response_format`, or a `tool_choice` that forces a call."""
    form = options.get("response_format")
    if form is not None and not (isinstance(form, Mapping) and form.get("type") == "text"):
        return "response_format"
    choice = options.get("tool_choice")
    forced = isinstance(choice, Mapping) or choice in _CHOICES
    return "tool_choice" if forced and options.get("tools") else None


def _schema(options: Mapping[str, Any], form: str) -> dict[str, Any]:
    """The JSON schema of what is asked for; a call of a tool is an object of `name` and `arguments`."""
    if form == "response_format":
        wanted = options[form]
        if isinstance(wanted, type) and issubclass(wanted, BaseModel):
            return wanted.model_json_schema()
        return dict(wanted.get("json_schema", {}).get("schema") or {"type": "object"})
    calls = [
        {
            "type": "object",
            "description": tool.get("description", ""),
            "properties": {"name": {"const": tool["name"]}, "arguments": tool.get("parameters", {"type": "object"})},
            "required": ["name", "arguments"],
        }
        for tool in _tools(options)
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


def _tools(options: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tools that may be called."""
    tools = [tool["function"] for tool in options["tools"]]
    choice = options["tool_choice"]
    name = choice.get("function", {}).get("name") if isinstance(choice, Mapping) else None
    return [tool for tool in tools if name is None or tool["name"] == name]


def _keeps(result: ChatResult, options: Mapping[str, Any], form: str) -> bool:
    message = result.generations[0].message
    if form == "tool_choice":
        names = {tool["name"] for tool in _tools(options)}
        return isinstance(message, AIMessage) and any(call["name"] in names for call in message.tool_calls)
    return not _held_against(_schema(options, form), message.text)[1]


def _cut_in_form(result: ChatResult) -> bool:
    """Whether an answer was cut off while it had the form."""
    generation = result.generations[0]
    message = generation.message
    info = {**(generation.generation_info or {}), **message.response_metadata}
    begun = message.text.lstrip().startswith("{") or getattr(message, "invalid_tool_calls", None)
    return info.get("finish_reason") == "length" and bool(begun)


def _cut_without_form(error: BackendError) -> bool:
    """Whether OpenAI's client raised because an answer was cut off that did not even begin with the form."""
    completion = getattr(error.__cause__, "completion", None)
    return completion is not None and not str(completion.choices[0].message.content).lstrip().startswith("{")


def _held_against(schema: Mapping[str, Any], text: str) -> tuple[Any, str]:
    """The first JSON value of a text that begins an object or a list, and why it does not fit, empty where it does."""
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=0)
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start:])
    except ValueError as error:
        return None, f"it is no JSON ({error})"
    wrong = [error.message for error in Draft202012Validator(schema).iter_errors(value)]
    return value, "; ".join(wrong[:3])


def _formed(message: BaseMessage, value: Any, form: str) -> ChatGeneration:
    """The answer as a server that honours the option would have given it."""
    kept: dict[str, Any] = {"response_metadata": message.response_metadata, "id": message.id}
    kept["usage_metadata"] = message.usage_metadata if isinstance(message, AIMessage) else None
    if form == "response_format":
        formed = AIMessage(json.dumps(value), additional_kwargs={"parsed": value}, **kept)
    else:
        call = {"name": value["name"], "args": value["arguments"], "id": f"call_{uuid.uuid4().hex}"}
        formed = AIMessage("", tool_calls=[call], **kept)
    return ChatGeneration(message=formed)


def _with_words(messages: Sequence[BaseMessage], words: str) -> list[BaseMessage]:
    """The messages with words behind the last that a person said."""
    last = messages[-1]
    if isinstance(last, HumanMessage) and isinstance(last.content, str):
        return [*messages[:-1], HumanMessage(f"{last.content}\n\n{words}")]
    return [*messages, HumanMessage(words)]

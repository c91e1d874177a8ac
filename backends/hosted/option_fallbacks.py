"""Detect servers that silently ignore `response_format`, `tool_choice`, `logprobs` or `n`, and make up for it.

`transformers serve` and others accept these options and ignore them. So every answer is checked: if a required format
is missing, the server is remembered as one that ignores the option, the format is asked for in the prompt, and the
answer is validated against its schema. Missing log-probabilities cannot be made up for; they are logged once.
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

Generate = Callable[[list[BaseMessage], Mapping[str, Any]], Awaitable[ChatResult]]
_log = logging.getLogger(__name__)
_MAX_ATTEMPTS = 3
_MAX_PROBLEMS = 3
_FORCING_CHOICES = ("any", "required")


class OptionSupport:
    """Which options one server supports for one model, as learned from its answers.

    Args:
        spec: The model's spec.

    Attributes:
        known: Whether each option is supported, by its name. Options that were never used are missing.
    """

    def __init__(self, spec: str) -> None:
        self._spec = spec
        self.known: dict[str, bool] = {}

    def needs_whole_answer(self, options: Mapping[str, Any]) -> bool:
        """Whether the answer must be checked before any of it is used, because the server may ignore its format."""
        format_option = _format_option(options)
        return format_option is not None and self.known.get(format_option) is not True

    async def generate(self, generate: Generate, messages: list[BaseMessage], options: Mapping[str, Any]) -> ChatResult:
        """Get an answer in the required format.

        Args:
            generate: Calls the server.
            messages: The messages.
            options: Options of the call.

        Raises:
            BackendError: If the model, prompted for the format, missed it three times.
        """
        single = {name: value for name, value in options.items() if name != "n"}
        format_option = _format_option(options)
        if format_option is None:
            result = await generate(messages, options)
        elif self.known.get(format_option) is False:
            result = await self._generate_by_prompt(generate, messages, single, format_option)
        else:
            result = await self._generate_checked(generate, messages, single, format_option)
        self._check_logprobs(options, result)
        if (options.get("n") or 1) > 1:
            return await self._add_missing_answers(generate, messages, options, result)
        return result

    def _check_logprobs(self, options: Mapping[str, Any], result: ChatResult) -> None:
        if not options.get("logprobs") or "logprobs" in self.known:
            return
        generation = result.generations[0]
        metadata = {**(generation.generation_info or {}), **generation.message.response_metadata}
        self.known["logprobs"] = bool(metadata.get("logprobs"))
        if not self.known["logprobs"]:
            _log.warning("%s returned no log-probabilities: its server ignores logprobs.", self._spec)

    async def _generate_checked(
        self, generate: Generate, messages: list[BaseMessage], options: Mapping[str, Any], format_option: str
    ) -> ChatResult:
        """Use the option, and fall back to the prompt if the answer shows that the server ignores it."""
        try:
            result = await generate(messages, options)
        except (ValidationError, json.JSONDecodeError):  # the client validated the answer itself
            result = None
        except BackendError as error:
            if not _was_cut_off_unformatted(error):
                raise
            result = None
        if result is not None and _has_format(result, options, format_option):
            self.known[format_option] = True
            return result
        if result is not None and _was_cut_off_formatted(result):
            # Incomplete because of max_tokens, which says nothing about the option.
            return result
        self.known[format_option] = False
        return await self._generate_by_prompt(generate, messages, options, format_option)

    async def _generate_by_prompt(
        self, generate: Generate, messages: list[BaseMessage], options: Mapping[str, Any], format_option: str
    ) -> ChatResult:
        """Ask for the format in the prompt, and validate the answer."""
        schema = _schema_of(options, format_option)
        unsupported = (format_option, "tools", "strict", "parallel_tool_calls")
        options = {name: value for name, value in options.items() if name not in unsupported}
        problem = ""
        messages = _with_instruction(messages, f"Answer with JSON alone, which fits this schema:\n{json.dumps(schema)}")
        for _ in range(_MAX_ATTEMPTS):
            result = await generate(messages, options)
            message = result.generations[0].message
            value, problem = _parse_json(schema, message.text)
            if not problem:
                generation = _formatted_generation(message, value, format_option)
                return ChatResult(generations=[generation], llm_output=result.llm_output)
            correction = HumanMessage(f"This does not fit: {problem}. Answer with JSON alone.")
            messages = [*messages, AIMessage(message.text), correction]
        raise BackendError(
            f"{self._spec} ignores {format_option}, and prompted for the format it missed it {_MAX_ATTEMPTS} times: "
            f"{problem}.",
            hint="Use a model that follows instructions, or a server that supports the option, such as vLLM.",
        )

    async def _add_missing_answers(
        self, generate: Generate, messages: list[BaseMessage], options: Mapping[str, Any], result: ChatResult
    ) -> ChatResult:
        """Repeat the call until there are `n` answers, in case the server ignores `n`."""
        generations, count = list(result.generations), int(options["n"])
        single = {name: value for name, value in options.items() if name != "n"}
        while len(generations) < count:
            generations += (await self.generate(generate, messages, single)).generations
        return ChatResult(generations=generations[:count], llm_output=result.llm_output)


def _format_option(options: Mapping[str, Any]) -> str | None:
    """The option that requires a format: `response_format`, or a `tool_choice` that forces a call."""
    response_format = options.get("response_format")
    is_text = isinstance(response_format, Mapping) and response_format.get("type") == "text"
    if response_format is not None and not is_text:
        return "response_format"
    choice = options.get("tool_choice")
    is_forced = isinstance(choice, Mapping) or choice in _FORCING_CHOICES
    return "tool_choice" if is_forced and options.get("tools") else None


def _schema_of(options: Mapping[str, Any], format_option: str) -> dict[str, Any]:
    """The JSON schema of the required answer; a tool call is an object with `name` and `arguments`."""
    if format_option == "response_format":
        response_format = options[format_option]
        if isinstance(response_format, type) and issubclass(response_format, BaseModel):
            return response_format.model_json_schema()
        return dict(response_format.get("json_schema", {}).get("schema") or {"type": "object"})
    calls = [
        {
            "type": "object",
            "description": tool.get("description", ""),
            "properties": {"name": {"const": tool["name"]}, "arguments": tool.get("parameters", {"type": "object"})},
            "required": ["name", "arguments"],
        }
        for tool in _allowed_tools(options)
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


def _allowed_tools(options: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tools = [tool["function"] for tool in options["tools"]]
    choice = options["tool_choice"]
    name = choice.get("function", {}).get("name") if isinstance(choice, Mapping) else None
    return [tool for tool in tools if name is None or tool["name"] == name]


def _has_format(result: ChatResult, options: Mapping[str, Any], format_option: str) -> bool:
    message = result.generations[0].message
    if format_option == "tool_choice":
        names = {tool["name"] for tool in _allowed_tools(options)}
        return isinstance(message, AIMessage) and any(call["name"] in names for call in message.tool_calls)
    return not _parse_json(_schema_of(options, format_option), message.text)[1]


def _was_cut_off_formatted(result: ChatResult) -> bool:
    """Whether the answer was cut off by its token limit after it had begun with the format."""
    generation = result.generations[0]
    message = generation.message
    metadata = {**(generation.generation_info or {}), **message.response_metadata}
    has_begun = message.text.lstrip().startswith("{") or getattr(message, "invalid_tool_calls", None)
    return metadata.get("finish_reason") == "length" and bool(has_begun)


def _was_cut_off_unformatted(error: BackendError) -> bool:
    """Whether OpenAI's client raised because of a cut-off answer that did not even begin with the format."""
    completion = getattr(error.__cause__, "completion", None)
    return completion is not None and not str(completion.choices[0].message.content).lstrip().startswith("{")


def _parse_json(schema: Mapping[str, Any], text: str) -> tuple[Any, str]:
    """Parse the first JSON object or list in a text.

    Returns:
        The value, and why it does not match the schema: empty if it does.
    """
    start = min((position for position in (text.find("{"), text.find("[")) if position >= 0), default=0)
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start:])
    except ValueError as error:
        return None, f"it is not valid JSON ({error})"
    problems = [error.message for error in Draft202012Validator(schema).iter_errors(value)]
    return value, "; ".join(problems[:_MAX_PROBLEMS])


def _formatted_generation(message: BaseMessage, value: Any, format_option: str) -> ChatGeneration:
    """The answer as a server that supports the option would have returned it."""
    fields: dict[str, Any] = {"response_metadata": message.response_metadata, "id": message.id}
    fields["usage_metadata"] = message.usage_metadata if isinstance(message, AIMessage) else None
    if format_option == "response_format":
        formatted = AIMessage(json.dumps(value), additional_kwargs={"parsed": value}, **fields)
    else:
        call = {"name": value["name"], "args": value["arguments"], "id": f"call_{uuid.uuid4().hex}"}
        formatted = AIMessage("", tool_calls=[call], **fields)
    return ChatGeneration(message=formatted)


def _with_instruction(messages: Sequence[BaseMessage], instruction: str) -> list[BaseMessage]:
    """The messages with an instruction appended to the last one if it is the user's, else in a message of its own."""
    last = messages[-1]
    if isinstance(last, HumanMessage) and isinstance(last.content, str):
        return [*messages[:-1], HumanMessage(f"{last.content}\n\n{instruction}")]
    return [*messages, HumanMessage(instruction)]

"""Middleware that keeps an agent within its limits: routing, budget, repeated calls, allowed tools, run-once calls."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, message_chunk_to_message
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel, ValidationError

from taleward.agents.middleware.guard import texts_in
from taleward.agents.middleware.state import TaleState
from taleward.agents.middleware.turn_messages import (
    SELECTION,
    STOPPED,
    ToolResult,
    call_signature,
    calls_before,
    current_turn,
    error_result,
    messages_for_model,
    token_count,
    tool_calls_in,
)
from taleward.agents.routing.selector import RouteSelector
from taleward.agents.routing.strategy import ToolSelection
from taleward.agents.threads.idempotency_log import CallLog
from taleward.agents.tools.base import ONCE, TaleTool
from taleward.core.concurrency.sync_async import run_sync
from taleward.core.errors import ConfigurationError, TalewardError
from taleward.core.redaction import redact
from taleward.moderation.chat.messages import MARK, strings
from taleward.moderation.chat.response_moderation import GuardedResponse
from taleward.moderation.judges.base import Judge

_STOP_REPLIES = {
    "steps": "I've been working on this for too long, so I'll stop here. Please ask me again in different words.",
    "tokens": "That's too much for one go, so I'll stop here. Please ask me for a smaller part of it.",
    "loop": "I'm going around in circles, so I'll stop here. Please ask me again in different words.",
}
# Repeated calls in a turn, in total. One is tolerated: it gets an error result that tells the model so.
_MAX_REPEATS = 2


@dataclass(frozen=True)
class Budget:
    """Limits for one turn.

    Args:
        steps: Model calls, at least 1.
        tokens: Tokens read and written by the model, together, at least 1.
        timeout_s: Wall-clock seconds, above 0.

    Raises:
        ConfigurationError: If a limit is out of range.
    """

    steps: int = 12
    tokens: int = 50_000
    timeout_s: float = 180.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.tokens < 1 or self.timeout_s <= 0:
            raise ConfigurationError(
                "A budget needs steps and tokens of at least 1, and timeout_s above 0; "
                f"got steps={self.steps}, tokens={self.tokens}, timeout_s={self.timeout_s}."
            )


class AgentLimits(AgentMiddleware[TaleState, Any, Any]):
    """Middleware that routes each turn, and keeps the model and the tools within their limits.

    Args:
        selector: Selects a tool before the model is called.
        judge: Judges inputs and tool results.
        budget: Limits for one turn.
        judge_inputs: Whether the user's words are judged before anything else reads them.
        log: Log for calls of tools tagged `runs-once`; `None` if threads are not stored.
    """

    state_schema = TaleState

    def __init__(
        self, selector: RouteSelector, judge: Judge, budget: Budget, *, judge_inputs: bool, log: CallLog | None
    ) -> None:
        super().__init__()
        self._selector, self._judge, self._budget = selector, judge, budget
        self._judge_inputs, self._log = judge_inputs, log

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Answer without the model if possible; else call it with tool results fenced."""
        message = self._answer_without_model(request)
        if message is None and isinstance(request.messages[-1], HumanMessage):
            config = get_config()
            message = run_sync(lambda: self._route(request, config, blocking=True))
        if message is not None and not _is_left_to_model(message):
            return ModelResponse(result=[message])
        response = handler(request.override(messages=messages_for_model(request.messages)))
        return _with_selection(response, message)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Async version of `wrap_model_call`."""
        message = self._answer_without_model(request)
        if message is None and isinstance(request.messages[-1], HumanMessage):
            message = await self._route(request, get_config())
        if message is not None and not _is_left_to_model(message):
            return ModelResponse(result=[message])
        response = await handler(request.override(messages=messages_for_model(request.messages)))
        return _with_selection(response, message)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]) -> ToolResult:
        """Run the tool if the call is allowed, and judge its result."""
        substitute = self._result_without_running(request)
        if substitute is not None:
            return substitute
        try:
            result = handler(request)
        except GraphBubbleUp:  # LangGraph's interrupts are exceptions, but not failures
            raise
        except Exception as error:  # noqa: BLE001  reported to the model, which can correct the call
            result = _failure_result(request, error)
        if text := _unjudged_text(request.tool, result):
            guarded = GuardedResponse(self._judge, self._budget.timeout_s, blocking=True)
            result = _replace_if_refused(request, result, run_sync(lambda: guarded.refusal_for(text)))
        return self._log_result(request, result)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """Async version of `wrap_tool_call`."""
        substitute = self._result_without_running(request)
        if substitute is not None:
            return substitute
        try:
            result = await handler(request)
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001  reported to the model, which can correct the call
            result = _failure_result(request, error)
        if text := _unjudged_text(request.tool, result):
            guarded = GuardedResponse(self._judge, self._budget.timeout_s)
            result = _replace_if_refused(request, result, await guarded.refusal_for(text))
        return self._log_result(request, result)

    def _answer_without_model(self, request: ModelRequest[Any]) -> AIMessage | None:
        """Return the turn's final message if a limit is reached, or if the selected tool has returned its result."""
        turn = current_turn(request.messages)
        model_messages = [message for message in turn if isinstance(message, AIMessage)]
        if len(model_messages) >= self._budget.steps:
            return _fixed_message(_STOP_REPLIES["steps"], {STOPPED: "steps"})
        if sum(map(token_count, turn)) >= self._budget.tokens:
            return _fixed_message(_STOP_REPLIES["tokens"], {STOPPED: "tokens"})
        # A call's id differs at each repeat, so calls are compared by name and arguments.
        call_counts = Counter(map(call_signature, tool_calls_in(turn)))
        if sum(count - 1 for count in call_counts.values()) >= _MAX_REPEATS:
            return _fixed_message(_STOP_REPLIES["loop"], {STOPPED: "loop"})
        selection = model_messages[-1].response_metadata.get(SELECTION, {}) if model_messages else {}
        if isinstance(turn[-1], ToolMessage) and selection.get("tool"):
            results = [str(message.text) for message in turn if isinstance(message, ToolMessage)]
            return _fixed_message("\n\n".join(results), {SELECTION: selection})
        return None

    async def _route(self, request: ModelRequest[Any], config: RunnableConfig, *, blocking: bool = False) -> AIMessage:
        """Return a refusal, the selected tool call, a question or reply, or an empty message if the model decides."""
        *history, last = request.messages
        if self._judge_inputs and (refusal := await self._refusal([str(last.text)], blocking=blocking)):
            return refusal
        answered = history[-1] if history else None
        previous = answered.response_metadata.get(SELECTION) if isinstance(answered, AIMessage) else None
        clarifies = ToolSelection.model_validate(previous) if previous and previous.get("question") else None
        tale = str(request.state.get("tale") or "")
        selection = await self._selector.select(str(last.text), tale=tale, clarifies=clarifies, config=config)
        metadata = {SELECTION: selection.model_dump(mode="json", exclude_defaults=True)}
        if selection.tool is not None:
            # Arguments from an attempt were written by a model; those that a tool extracts are the user's own words.
            model_args = selection.attempts[-1].args if selection.attempts else None
            if model_args is not None and (
                refusal := await self._refusal(strings(dict(model_args)), blocking=blocking)
            ):
                return refusal
            call = {
                "name": selection.tool,
                "args": dict(selection.args),
                "id": f"call_{uuid.uuid4().hex}",
                "type": "tool_call",
            }
            return _fixed_message("", metadata, [call])
        return _fixed_message(selection.question or selection.reply or "", metadata)

    async def _refusal(self, texts: Iterable[str], *, blocking: bool) -> AIMessage | None:
        """Judge some texts; return the refusal if they do not pass, `None` if they pass or are blank."""
        text = "\n".join(text for text in texts if text.strip())
        if not text:
            return None
        refusal = await GuardedResponse(self._judge, self._budget.timeout_s, blocking=blocking).refusal_for(text)
        return None if refusal is None else AIMessage(**message_chunk_to_message(refusal).model_dump(exclude={"type"}))

    def _result_without_running(self, request: ToolCallRequest) -> ToolResult | None:
        """Return the result for a call that must not run, `None` if it may run."""
        call, tool = request.tool_call, request.tool
        if tool is None:
            return error_result(call, f"There is no tool named {call['name']!r}.")
        turn = current_turn(request.state["messages"])
        if call_signature(call) in map(call_signature, calls_before(turn, call)):
            return error_result(
                call, "You already made this exact call; its result is above. Use that result, or do something else."
            )
        if problem := _argument_problem(tool, call["args"]):
            return error_result(call, problem)
        if self._log is not None and ONCE in (tool.tags or ()):
            return self._log.begin(*_log_key(request), call["name"])
        return None

    def _log_result(self, request: ToolCallRequest, result: ToolResult) -> ToolResult:
        if self._log is not None and request.tool is not None and ONCE in (request.tool.tags or ()):
            self._log.end(*_log_key(request), result)
        return result


def _is_left_to_model(message: AIMessage) -> bool:
    # A refusal, a question and a reply have text, and a selected tool is a call: only "the model decides" is empty.
    return not message.content and not message.tool_calls


def _with_selection(response: ModelResponse[Any], routing: AIMessage | None) -> ModelResponse[Any]:
    """Copy the selection of a request that was left to the model into the model's response."""
    if routing is None:
        return response
    result = [
        message.model_copy(update={"response_metadata": {**message.response_metadata, **routing.response_metadata}})
        if isinstance(message, AIMessage)
        else message
        for message in response.result
    ]
    return ModelResponse(result=result, structured_response=response.structured_response)


def _fixed_message(text: str, metadata: dict[str, Any], calls: Sequence[Any] = ()) -> AIMessage:
    """Return a message of this program's own words, or of tool results, which were judged when they arrived."""
    mark = {MARK: {"released": True, "fixed": True}} if text or calls else {}
    return AIMessage(text, tool_calls=list(calls), response_metadata={**metadata, **mark})


def _argument_problem(tool: BaseTool, args: dict[str, Any]) -> str | None:
    """Return what is wrong with a call's arguments and how to call the tool, `None` if they are valid."""
    schema = tool.tool_call_schema
    if isinstance(schema, dict) or not issubclass(schema, BaseModel):
        return None
    try:
        schema.model_validate(args)
    except ValidationError as error:
        # `str(error)` would repeat the values; location and message are enough to correct the call.
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        parameters = ", ".join(schema.model_fields) or "none"
        example = f" Example: {tool.name}({json.dumps(tool.example)})." if isinstance(tool, TaleTool) else ""
        return f"Invalid arguments for {tool.name}: {problems}. Its arguments: {parameters}.{example}"
    return None


def _failure_result(request: ToolCallRequest, error: Exception) -> ToolMessage:
    hint = f" {error.hint}" if isinstance(error, TalewardError) and error.hint else ""
    kind = "" if isinstance(error, TalewardError) else f"{type(error).__name__}: "
    return error_result(request.tool_call, f"{request.tool_call['name']} failed: {kind}{redact(str(error))}{hint}")


def _unjudged_text(tool: BaseTool | None, result: ToolResult) -> str:
    """Return the text of a tool result that still has to be judged."""
    judged = isinstance(tool, TaleTool) and tool.judged
    # The words of an error come from libraries and inputs, not from the tool's guard.
    if judged and not (isinstance(result, ToolMessage) and result.status == "error"):
        return ""
    return "\n".join(text for text in texts_in(result) if text.strip())


def _replace_if_refused(request: ToolCallRequest, result: ToolResult, refusal: AIMessage | None) -> ToolResult:
    return result if refusal is None else error_result(request.tool_call, str(refusal.text))


def _log_key(request: ToolCallRequest) -> tuple[str, str, str]:
    """Return thread, message id and call id: a model writes the call id, so the id alone may repeat."""
    last = next(m for m in reversed(request.state["messages"]) if isinstance(m, AIMessage))
    thread = (request.runtime.config.get("configurable") or {}).get("thread_id", "")
    return str(thread), str(last.id), str(request.tool_call["id"])

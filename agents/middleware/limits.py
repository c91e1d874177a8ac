"""The middleware that keeps an agent within bounds: routes, budget, loops, allow-list, fences, calls that run once."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

from langchain.agents import AgentState
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, message_chunk_to_message
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from pydantic import BaseModel, ValidationError

from taleward.agents.middleware.guard import words_of
from taleward.agents.middleware.messages import (
    CHOICE,
    STOPPED,
    call_key,
    calls_before,
    calls_of,
    error_for,
    fenced_turns,
    this_turn,
    tokens_of,
)
from taleward.agents.middleware.run_once import CallLog
from taleward.agents.routing.selector import RouteSelector
from taleward.agents.routing.strategy import ToolSelection
from taleward.agents.tools.base import ONCE, TaleTool
from taleward.core.concurrency.threads import run_sync
from taleward.core.errors import ConfigurationError, TalewardError
from taleward.core.redaction import redact
from taleward.moderation.chat.messages import MARK, strings
from taleward.moderation.chat.response import GuardedResponse
from taleward.moderation.judges.base import Judge

_Result = ToolMessage | Command[Any]
_LATER = {
    "steps": "I have tried this long enough and stop here. Please ask again in other words.",
    "tokens": "That would become too much for one turn, so I stop here. Please ask for a smaller piece of it.",
    "loop": "I am going round in circles, so I stop here. Please ask again in other words.",
}
_REPEATS = 2


def _later(old: Any, new: Any) -> Any:
    return new


class TaleState(AgentState[Any]):
    """What a thread knows beside its messages: the text told last, and the cast of its story."""

    tale: NotRequired[Annotated[str, _later]]
    cast: NotRequired[Annotated[dict[str, Any], _later]]


@dataclass(frozen=True)
class Budget:
    """What one turn may take.

    Args:
        steps: Calls of the model, 1 or more.
        tokens: Tokens that it reads and writes, together.
        timeout_s: Wall-clock seconds.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    steps: int = 12
    tokens: int = 50_000
    timeout_s: float = 180.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.tokens < 1 or self.timeout_s <= 0:
            raise ConfigurationError(
                "a budget has steps and tokens of 1 or more, and seconds above 0; "
                f"got steps {self.steps}, tokens {self.tokens}, seconds {self.timeout_s}."
            )


class AgentLimits(AgentMiddleware[TaleState, Any, Any]):
    """Decides by which way a turn goes, and holds models and tools to their bounds.

    Args:
        decider: Chooses a tool before any model is asked.
        judge: Who judges what tools answer.
        budget: What one turn may take.
        judge_inputs: Whether what the reader says is judged before anything else reads it.
        log: Where calls of tools tagged `runs-once` are noted; `None` where threads are not kept.
    """

    state_schema = TaleState

    def __init__(
        self, decider: RouteSelector, judge: Judge, budget: Budget, *, judge_inputs: bool, log: CallLog | None
    ) -> None:
        super().__init__()
        self._decider, self._judge, self._budget = decider, judge, budget
        self._judge_inputs, self._log = judge_inputs, log

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Answer without the model where that can be, else ask it with fences around what tools said."""
        answer = self._known(request)
        if answer is None and isinstance(request.messages[-1], HumanMessage):
            config = get_config()
            answer = run_sync(lambda: self._routed(request, config, blocking=True))
        if answer is not None and not _left(answer):
            return ModelResponse(result=[answer])
        return _with_choice(handler(request.override(messages=fenced_turns(request.messages))), answer)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """As `wrap_model_call`, without blocking the event loop."""
        answer = self._known(request)
        if answer is None and isinstance(request.messages[-1], HumanMessage):
            answer = await self._routed(request, get_config())
        if answer is not None and not _left(answer):
            return ModelResponse(result=[answer])
        return _with_choice(await handler(request.override(messages=fenced_turns(request.messages))), answer)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], _Result]) -> _Result:
        """Run the tool if it may, and judge what it says."""
        early = self._early(request)
        if early is not None:
            return early
        try:
            result = handler(request)
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001  the model is told how to go on
            result = _failed(request, error)
        if text := _unjudged(request.tool, result):
            answering = GuardedResponse(self._judge, self._budget.timeout_s, blocking=True)
            result = _instead(request, result, run_sync(lambda: answering.refusal_for(text)))
        return self._noted(request, result)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[_Result]]
    ) -> _Result:
        """As `wrap_tool_call`, without blocking the event loop."""
        early = self._early(request)
        if early is not None:
            return early
        try:
            result = await handler(request)
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001  the model is told how to go on
            result = _failed(request, error)
        if text := _unjudged(request.tool, result):
            result = _instead(
                request, result, await GuardedResponse(self._judge, self._budget.timeout_s).refusal_for(text)
            )
        return self._noted(request, result)

    def _known(self, request: ModelRequest[Any]) -> AIMessage | None:
        """The answer where none has to be found: a budget is spent, or a chosen tool has answered."""
        turn = this_turn(request.messages)
        asked = [message for message in turn if isinstance(message, AIMessage)]
        if len(asked) >= self._budget.steps:
            return _fixed(_LATER["steps"], {STOPPED: "steps"})
        if sum(map(tokens_of, turn)) >= self._budget.tokens:
            return _fixed(_LATER["tokens"], {STOPPED: "tokens"})
        if sum(count - 1 for count in Counter(map(call_key, calls_of(turn))).values()) >= _REPEATS:
            return _fixed(_LATER["loop"], {STOPPED: "loop"})
        if isinstance(turn[-1], ToolMessage) and asked and asked[-1].response_metadata.get(CHOICE, {}).get("tool"):
            answers = [str(message.text) for message in turn if isinstance(message, ToolMessage)]
            return _fixed("\n\n".join(answers), {CHOICE: asked[-1].response_metadata[CHOICE]})
        return None

    async def _routed(self, request: ModelRequest[Any], config: RunnableConfig, *, blocking: bool = False) -> AIMessage:
        """A refusal, the call that a choice asks for, its words, or an empty answer that leaves it to the model."""
        *before, last = request.messages
        if self._judge_inputs and (refusal := await self._refusal([str(last.text)], blocking=blocking)):
            return refusal
        previous = before[-1].response_metadata.get(CHOICE) if before and isinstance(before[-1], AIMessage) else None
        asked = ToolSelection.model_validate(previous) if previous and previous.get("question") else None
        tale = str(request.state.get("tale") or "")
        choice = await self._decider.choice(str(last.text), tale=tale, asked=asked, config=config)
        noted = {CHOICE: choice.model_dump(mode="json", exclude_defaults=True)}
        if choice.tool is not None:
            written = choice.tried[-1].args if choice.tried else None  # by a model, not by the reader
            if written is not None and (refusal := await self._refusal(strings(dict(written)), blocking=blocking)):
                return refusal
            call = {
                "name": choice.tool,
                "args": dict(choice.args),
                "id": f"call_{uuid.uuid4().hex}",
                "type": "tool_call",
            }
            return _fixed("", noted, [call])
        return _fixed(choice.question or choice.said or "", noted)

    async def _refusal(self, words: Iterable[str], *, blocking: bool) -> AIMessage | None:
        """The answer to words that do not pass; `None` where they pass, or there are none."""
        text = "\n".join(word for word in words if word.strip())
        if not text:
            return None
        refusal = await GuardedResponse(self._judge, self._budget.timeout_s, blocking=blocking).refusal_for(text)
        return None if refusal is None else AIMessage(**message_chunk_to_message(refusal).model_dump(exclude={"type"}))

    def _early(self, request: ToolCallRequest) -> _Result | None:
        """What stands in for a call that must not run."""
        call, tool = request.tool_call, request.tool
        if tool is None:
            return error_for(call, f"There is no tool {call['name']!r} here.")
        turn = this_turn(request.state["messages"])
        if call_key(call) in map(call_key, calls_before(turn, call)):
            return error_for(
                call, "This very call was made already; its answer is above. Use that, or do something else."
            )
        if problem := _wrong(tool, call["args"]):
            return error_for(call, problem)
        if self._log is not None and ONCE in (tool.tags or ()):
            return self._log.begin(*_noted_as(request), call["name"])
        return None

    def _noted(self, request: ToolCallRequest, result: _Result) -> _Result:
        if self._log is not None and request.tool is not None and ONCE in (request.tool.tags or ()):
            self._log.end(*_noted_as(request), result)
        return result


def _left(answer: AIMessage) -> bool:
    return not answer.content and not answer.tool_calls


def _with_choice(response: ModelResponse[Any], answer: AIMessage | None) -> ModelResponse[Any]:
    """The model's response, which says that it was left to the model."""
    if answer is None:
        return response
    result = [
        message.model_copy(update={"response_metadata": {**message.response_metadata, **answer.response_metadata}})
        if isinstance(message, AIMessage)
        else message
        for message in response.result
    ]
    return ModelResponse(result=result, structured_response=response.structured_response)


def _fixed(text: str, noted: dict[str, Any], calls: Sequence[Any] = ()) -> AIMessage:
    """An answer in words of the program, or in those of a tool, which were judged when they came."""
    metadata = {**noted, **({MARK: {"released": True, "fixed": True}} if text or calls else {})}
    return AIMessage(text, tool_calls=list(calls), response_metadata=metadata)


def _wrong(tool: BaseTool, args: dict[str, Any]) -> str | None:
    """What is wrong with a call's arguments, and how it is made right."""
    schema = tool.tool_call_schema
    if isinstance(schema, dict) or not issubclass(schema, BaseModel):
        return None
    try:
        schema.model_validate(args)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        taken = ", ".join(schema.model_fields) or "nothing"
        example = f" For example {tool.name}({json.dumps(tool.example)})." if isinstance(tool, TaleTool) else ""
        return f"{tool.name} cannot be called like this: {wrong}. It takes: {taken}.{example}"
    return None


def _failed(request: ToolCallRequest, error: Exception) -> ToolMessage:
    hint = f" {error.hint}" if isinstance(error, TalewardError) and error.hint else ""
    kind = "" if isinstance(error, TalewardError) else f"{type(error).__name__}: "
    return error_for(request.tool_call, f"{request.tool_call['name']} did not work: {kind}{redact(str(error))}{hint}")


def _unjudged(tool: BaseTool | None, result: _Result) -> str:
    """What of a tool's answer nobody has judged yet."""
    judged = isinstance(tool, TaleTool) and tool.judged
    if judged and not (isinstance(result, ToolMessage) and result.status == "error"):
        return ""
    return "\n".join(word for word in words_of(result) if word.strip())


def _instead(request: ToolCallRequest, result: _Result, refusal: AIMessage | None) -> _Result:
    return result if refusal is None else error_for(request.tool_call, str(refusal.text))


def _noted_as(request: ToolCallRequest) -> tuple[str, str, str]:
    """Thread, message and id of a call; ids alone are a model's words, and may come again."""
    last = next(m for m in reversed(request.state["messages"]) if isinstance(m, AIMessage))
    thread = (request.runtime.config.get("configurable") or {}).get("thread_id", "")
    return str(thread), str(last.id), str(request.tool_call["id"])

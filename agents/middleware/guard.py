"""Middleware that lets a LangChain agent say nothing unjudged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from langchain.agents import AgentState
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse, hook_config
from langchain.agents.middleware.types import ToolCallRequest
from langchain.agents.structured_output import StructuredOutputError
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    message_chunk_to_message,
)
from langgraph.runtime import Runtime
from langgraph.types import Command

from taleward.core.concurrency.threads import run_sync
from taleward.core.errors import ConfigurationError
from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.moderation.chat.messages import MARK, is_refusal, strings
from taleward.moderation.chat.response import GuardedResponse
from taleward.moderation.judges.base import Judge, check_judge, check_timeout

_Result = ToolMessage | Command[Any]


class GuardedCalls(AgentMiddleware[AgentState[Any], Any, Any]):
    """Middleware that puts a `GuardedChat` around each call of an agent's model, and does nothing else.

    Args:
        judge: A judge.
        timeout_s: Wall-clock budget of each model call with its judging; `None` for none.
    """

    def __init__(self, judge: Judge, *, timeout_s: float | None = 120.0) -> None:
        super().__init__()
        self.judge, self.timeout_s = judge, timeout_s

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model behind a guard."""
        try:
            return _checked(handler(self._guarded(request)))
        except StructuredOutputError as error:
            return _refusal_of(error)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """As `wrap_model_call`, without blocking the event loop."""
        try:
            return _checked(await handler(self._guarded(request)))
        except StructuredOutputError as error:
            return _refusal_of(error)

    def _guarded(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        return request.override(model=GuardedChat(request.model, self.judge, timeout_s=self.timeout_s))


class GuardMiddleware(GuardedCalls):
    """Middleware for `create_agent` that puts a `GuardedChat` around the agent's model.

    With it every path shows judged words alone: `invoke`, `stream` in all stream modes, `astream_events`. A refusal
    ends the run: the last message then has the refusal's words, and `response_metadata["taleward"]` with `released`
    false. Structured output is judged too; a run that is refused has no `structured_response`.

    Put it last in the list of middleware: one that comes after it could change the model behind its back, which raises
    `ConfigurationError`. What tools and other middleware ask of models of their own, as a sub-agent or a summary does,
    does not pass here: give those a `GuardedChat`.

    Args:
        judge: A judge.
        timeout_s: Wall-clock budget of each model call with its judging, and of each question to the judge; `None` for
            none.
        judge_inputs: Whether what the user said last is judged before any model is called. Its text is; images and
            other data are not.
        judge_tool_results: Whether tool results are judged before the model or the state has them; one that does not
            pass is replaced by a refusal. Listeners to the tools themselves (`on_tool_end`, a stream writer in a tool)
            have what those say.

    Raises:
        ConfigurationError: `judge` is no judge, or the budget is out of range.
    """

    def __new__(
        cls,
        judge: Judge,
        *,
        timeout_s: float | None = 120.0,
        judge_inputs: bool = True,
        judge_tool_results: bool = False,
    ) -> GuardMiddleware:
        """Make the kind that also has a hook for tools only on request: its presence alone changes an agent."""
        return super().__new__(type(cls.__name__, (_WithToolResults, cls), {}) if judge_tool_results else cls)

    def __init__(
        self,
        judge: Judge,
        *,
        timeout_s: float | None = 120.0,
        judge_inputs: bool = True,
        judge_tool_results: bool = False,
    ) -> None:
        check_judge("a guard", judge)
        check_timeout(timeout_s)
        super().__init__(judge, timeout_s=timeout_s)
        self.judge_inputs = judge_inputs

    @hook_config(can_jump_to=["end"])
    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Judge what the user said last; what does not pass ends the run."""
        text = self._said(state)
        return _ended(self._asked(text)) if text else None

    @hook_config(can_jump_to=["end"])
    async def abefore_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """As `before_agent`, without blocking the event loop."""
        text = self._said(state)
        return _ended(await self._aasked(text)) if text else None

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End the run at a refusal; an agent that waits for structured output would ask again and again."""
        return {"jump_to": "end"} if is_refusal(state["messages"][-1]) else None

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """As `after_model`."""
        return self.after_model(state, runtime)

    def _said(self, state: AgentState[Any]) -> str:
        return "\n".join(_last_words(state["messages"])) if self.judge_inputs else ""

    def _asked(self, text: str) -> AIMessage | None:
        answering = GuardedResponse(self.judge, self.timeout_s, blocking=True)
        return run_sync(lambda: answering.refusal_for(text))

    async def _aasked(self, text: str) -> AIMessage | None:
        return await GuardedResponse(self.judge, self.timeout_s).refusal_for(text)


class _WithToolResults(GuardMiddleware):
    """The hooks that judge tool results as well."""

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], _Result]) -> _Result:
        """Judge what the tool gave."""
        result = handler(request)
        text = "\n".join(words_of(result))
        return _instead(result, request, self._asked(text)) if text.strip() else result

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[_Result]]
    ) -> _Result:
        """As `wrap_tool_call`, without blocking the event loop."""
        result = await handler(request)
        text = "\n".join(words_of(result))
        return _instead(result, request, await self._aasked(text)) if text.strip() else result


def _last_words(messages: list[AnyMessage]) -> list[str]:
    """The texts of the user's messages since the last answer."""
    words: list[str] = []
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            break
        if isinstance(message, HumanMessage) and message.text.strip():
            words.insert(0, str(message.text))
    return words


def _ended(refusal: AIMessage | None) -> dict[str, Any] | None:
    return None if refusal is None else {"messages": [message_chunk_to_message(refusal)], "jump_to": "end"}


def _checked(response: ModelResponse[Any]) -> ModelResponse[Any]:
    """The response, if the guarded model gave it."""
    for message in response.result:
        if isinstance(message, AIMessage) and MARK not in message.response_metadata:
            raise ConfigurationError(
                "an answer came from a model that is not guarded: another middleware changed the model, or answered "
                "itself, after GuardMiddleware.",
                hint="Put GuardMiddleware last in create_agent(middleware=[...]).",
            )
    return response


def _refusal_of(error: StructuredOutputError) -> ModelResponse[Any]:
    """The refusal that could not be parsed as the object that was asked for; any other error goes on."""
    if not is_refusal(error.ai_message):
        raise error
    return ModelResponse(result=[error.ai_message])


def words_of(value: object) -> Iterator[str]:
    """The texts in what a tool gave, whether a message or a change of the state."""
    if isinstance(value, Command):
        yield from words_of(value.update)
    elif isinstance(value, BaseMessage):
        yield str(value.text)
        yield from strings(getattr(value, "artifact", None))
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (word for item in value.values() for word in words_of(item))
    elif isinstance(value, list | tuple):
        yield from (word for item in value for word in words_of(item))


def _instead(result: _Result, request: ToolCallRequest, refusal: AIMessage | None) -> _Result:
    if refusal is None:
        return result
    call = request.tool_call
    return ToolMessage(refusal.text, tool_call_id=call["id"], name=call["name"], status="error")

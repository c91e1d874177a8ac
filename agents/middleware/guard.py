"""Guard middleware for LangChain agents: nothing unjudged leaves the agent."""

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

from taleward.agents.middleware.turn_messages import ToolResult
from taleward.core.concurrency.sync_async import run_sync
from taleward.core.errors import ConfigurationError
from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.moderation.chat.messages import MARK, is_refusal, strings
from taleward.moderation.chat.response_moderation import GuardedResponse
from taleward.moderation.judges.base import Judge, check_judge, check_timeout


class GuardedCalls(AgentMiddleware[AgentState[Any], Any, Any]):
    """Middleware that wraps an agent's model in a `GuardedChat` for each call, and does nothing else.

    Args:
        judge: Judges the model's output.
        timeout_s: Wall-clock limit for each model call including its judging, in seconds; `None` for no limit.
    """

    def __init__(self, judge: Judge, *, timeout_s: float | None = 120.0) -> None:
        super().__init__()
        self.judge, self.timeout_s = judge, timeout_s

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model behind a guard."""
        try:
            return _require_guarded(handler(self._guarded(request)))
        except StructuredOutputError as error:
            return _refusal_from(error)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Async version of `wrap_model_call`."""
        try:
            return _require_guarded(await handler(self._guarded(request)))
        except StructuredOutputError as error:
            return _refusal_from(error)

    def _guarded(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        return request.override(model=GuardedChat(request.model, self.judge, timeout_s=self.timeout_s))


class GuardMiddleware(GuardedCalls):
    """Middleware for `create_agent` that wraps the agent's model in a `GuardedChat`.

    Every way to run the agent then shows judged text only: `invoke`, `stream` in all stream modes, `astream_events`. A
    refusal ends the run: the last message holds the refusal's text, and its `response_metadata["taleward"]` has
    `released` set to false. Structured output is judged too; a refused run has no `structured_response`.

    Put it last in the list of middleware. A later middleware could replace the guarded model, which raises
    `ConfigurationError`. Models that tools and other middleware call themselves, such as those of a sub-agent or a
    summarizer, are not covered: wrap those in a `GuardedChat`.

    Args:
        judge: Judges the model's output.
        timeout_s: Wall-clock limit, in seconds, for each model call including its judging, and for each call of the
            judge on inputs and tool results; `None` for no limit.
        judge_inputs: Whether to judge the user's latest messages before any model is called. Only their text is judged,
            not images and other data.
        judge_tool_results: Whether to judge tool results before the model or the state receives them; a result that
            does not pass is replaced by a refusal. Callbacks on the tools themselves (`on_tool_end`, a stream writer in
            a tool) still see the original.

    Raises:
        ConfigurationError: If `judge` is not a `Judge`, or `timeout_s` is out of range.
    """

    def __new__(
        cls,
        judge: Judge,
        *,
        timeout_s: float | None = 120.0,
        judge_inputs: bool = True,
        judge_tool_results: bool = False,
    ) -> GuardMiddleware:
        """Add the tool hooks only on request: their presence alone changes the agent that LangChain builds."""
        return super().__new__(type(cls.__name__, (_ToolResultHooks, cls), {}) if judge_tool_results else cls)

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
        """Judge the user's latest messages; if they do not pass, end the run with a refusal."""
        text = self._input_text(state)
        return _end_with(self._refusal(text)) if text else None

    @hook_config(can_jump_to=["end"])
    async def abefore_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async version of `before_agent`."""
        text = self._input_text(state)
        return _end_with(await self._arefusal(text)) if text else None

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End the run at a refusal; an agent that expects structured output would call the model again and again."""
        return {"jump_to": "end"} if is_refusal(state["messages"][-1]) else None

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async version of `after_model`."""
        return self.after_model(state, runtime)

    def _input_text(self, state: AgentState[Any]) -> str:
        return "\n".join(_latest_user_texts(state["messages"])) if self.judge_inputs else ""

    def _refusal(self, text: str) -> AIMessage | None:
        guarded = GuardedResponse(self.judge, self.timeout_s, blocking=True)
        return run_sync(lambda: guarded.refusal_for(text))

    async def _arefusal(self, text: str) -> AIMessage | None:
        return await GuardedResponse(self.judge, self.timeout_s).refusal_for(text)


class _ToolResultHooks(GuardMiddleware):
    """Adds the hooks that judge tool results."""

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]) -> ToolResult:
        """Run the tool and judge its result."""
        result = handler(request)
        text = "\n".join(texts_in(result))
        return _replace_if_refused(result, request, self._refusal(text)) if text.strip() else result

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """Async version of `wrap_tool_call`."""
        result = await handler(request)
        text = "\n".join(texts_in(result))
        return _replace_if_refused(result, request, await self._arefusal(text)) if text.strip() else result


def _latest_user_texts(messages: list[AnyMessage]) -> list[str]:
    """Return the texts of the user's messages since the last answer."""
    texts: list[str] = []
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            break
        if isinstance(message, HumanMessage) and message.text.strip():
            texts.insert(0, str(message.text))
    return texts


def _end_with(refusal: AIMessage | None) -> dict[str, Any] | None:
    return None if refusal is None else {"messages": [message_chunk_to_message(refusal)], "jump_to": "end"}


def _require_guarded(response: ModelResponse[Any]) -> ModelResponse[Any]:
    """Return the response if it came from the guarded model.

    Raises:
        ConfigurationError: If it came from another model, or from another middleware.
    """
    for message in response.result:
        if isinstance(message, AIMessage) and MARK not in message.response_metadata:
            raise ConfigurationError(
                "A response came from an unguarded model: a middleware after GuardMiddleware replaced the model, or "
                "answered in its place.",
                hint="Put GuardMiddleware last in create_agent(middleware=[...]).",
            )
    return response


def _refusal_from(error: StructuredOutputError) -> ModelResponse[Any]:
    """Return the refusal that could not be parsed as structured output; re-raise any other error."""
    if not is_refusal(error.ai_message):
        raise error
    return ModelResponse(result=[error.ai_message])


def texts_in(value: object) -> Iterator[str]:
    """Yield all texts in a tool result, whether it is a message or a state update."""
    if isinstance(value, Command):
        yield from texts_in(value.update)
    elif isinstance(value, BaseMessage):
        yield str(value.text)
        yield from strings(getattr(value, "artifact", None))
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in texts_in(item))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in texts_in(item))


def _replace_if_refused(result: ToolResult, request: ToolCallRequest, refusal: AIMessage | None) -> ToolResult:
    if refusal is None:
        return result
    call = request.tool_call
    return ToolMessage(refusal.text, tool_call_id=call["id"], name=call["name"], status="error")

"""Router: from a user's request to a routed, traced and judged result."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from taleward.agents.middleware.guard import GuardedCalls
from taleward.agents.middleware.turn_control import AgentLimits, Budget
from taleward.agents.middleware.turn_messages import STOPPED
from taleward.agents.reader_transcript import Transcript
from taleward.agents.result import RouterResult, RouterResultEvent, ToolUse, TurnEvent, result_from_state
from taleward.agents.routing.forced_tool_call import ConstrainedStrategy
from taleward.agents.routing.intent_classifier import SemanticStrategy
from taleward.agents.routing.selector import RouteSelector
from taleward.agents.routing.strategy import RoutingStrategy, ToolSelection
from taleward.agents.threads.checkpointer import Threads
from taleward.agents.threads.idempotency_log import CallLog
from taleward.agents.tools import ROLES, Role
from taleward.agents.tools.base import APPROVAL, ONCE
from taleward.agents.tools.guarded_tale import STREAM
from taleward.agents.untrusted_text import DATA_RULE
from taleward.backends.capabilities import capabilities
from taleward.backends.chat_models import chat_model
from taleward.core.concurrency.event_loop import iterate_async
from taleward.core.concurrency.sync_async import run_sync
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict
from taleward.moderation.chat.messages import MARK, REFUSAL_WORDS
from taleward.moderation.judges.base import Judge

_SYSTEM_PROMPT = (
    "You help people with stories for children, using your tools. The reader sees the output of tell_story, "
    "continue_story and revise_text while they run: do not repeat it; add one short sentence at most. If your tools do "
    f"not cover a request, say so in one friendly sentence. {DATA_RULE}"
)


class Router(Runnable[str, RouterResult]):
    """A Runnable from a user's request to a routed, traced and judged result.

    Three strategies select a tool, each asked if the one before is unsure. `SemanticStrategy` compares the request with
    examples. `ConstrainedStrategy` has a local model write one tool call under a grammar. A hosted model gets the tools
    and works in steps, within the budget. If the request stays unclear, the router asks one clarifying question.

    With every strategy, only the role's tools can be called; tool results are judged, and fenced as data before a model
    reads them; repeated calls end the turn; a tool tagged `needs-approval` waits for a person, and one tagged
    `runs-once` never runs twice for one call, even if the process is killed. `agent` is the underlying LangGraph agent;
    all its stream modes show judged text only. The exception is what your own tools send to callbacks themselves
    (`on_tool_end`, a stream writer, a model that the tool calls): wrap such a tool's model in a `GuardedChat`.

    Args:
        tools: Tools, such as those from `story_tools(Toolbox(...))`, and any LangChain tools.
        judge: Judges everything that is shown.
        model: A model that calls tools: a spec, or a LangChain chat model; `None` for none.
        strategies: The strategies to ask before the model. `None` for the default: `SemanticStrategy`, followed by
            `ConstrainedStrategy` if the model is local.
        role: Whose tools may be called; `None` for all tools, with inputs judged.
        roles: What each role may do.
        threads: Where threads are stored: `Threads(FILE_OR_POSTGRES_URL)`, or another LangGraph checkpointer with async
            methods; `None` stores none.
        budget: Limits for one turn.
        options: Options for the model, see `chat_model`.

    Raises:
        UnknownName: If `role` is not in `roles`.
        ConfigurationError: If the model cannot call tools, or a tool's tag requires threads.
    """

    def __init__(
        self,
        tools: Sequence[BaseTool],
        judge: Judge,
        *,
        model: str | BaseChatModel | None = None,
        strategies: Sequence[RoutingStrategy] | None = None,
        role: str | None = None,
        roles: Mapping[str, Role] = ROLES,
        threads: BaseCheckpointSaver[Any] | None = None,
        budget: Budget | None = None,
        **options: Any,
    ) -> None:
        if role is not None and role not in roles:
            raise UnknownName("role", role, roles)
        permissions = roles[role] if role is not None else Role()
        self.tools = tuple(tool for tool in tools if permissions.tools is None or tool.name in permissions.tools)
        self.judge, self.role, self.threads, self.budget = judge, role, threads, budget or Budget()
        self.model = None if model is None else chat_model(model, **options)
        can = None if self.model is None else capabilities(self.model)
        if can and not can.follows_instructions:
            raise ConfigurationError(
                f"{model} only continues text and cannot call tools.",
                hint="Leave out model=; the tools use the toolbox's writer.",
            )
        if strategies is None:
            strategies = [
                SemanticStrategy(),
                *([ConstrainedStrategy(self.model, self.tools)] if self.model and can and can.grammar else []),
            ]
        # A local model is asked for one constrained call only; working in steps needs a hosted one.
        works_in_steps = can is not None and not can.grammar
        self._selector = RouteSelector(strategies, {tool.name: tool for tool in self.tools}, model=works_in_steps)
        self.agent = create_agent(
            self.model if works_in_steps and self.model is not None else _NoChatModel(),
            list(self.tools),
            system_prompt=_SYSTEM_PROMPT,
            middleware=self._middleware(permissions),
            checkpointer=threads,
        )

    def _middleware(self, permissions: Role) -> list[Any]:
        once = [tool.name for tool in self.tools if ONCE in (tool.tags or ())]
        approval = [tool.name for tool in self.tools if APPROVAL in (tool.tags or ())]
        if approval and self.threads is None:
            raise ConfigurationError(
                f"The tools {approval} need approval, which requires threads=.", hint="Pass threads=Threads(path)."
            )
        if once and self.threads is not None and not isinstance(self.threads, Threads):
            kind = type(self.threads).__name__
            raise ConfigurationError(
                f"The tools {once} must run once, which {kind} cannot record.", hint="Pass threads=Threads(path)."
            )
        log = CallLog(self.threads) if once and isinstance(self.threads, Threads) else None
        guard = GuardedCalls(self.judge, timeout_s=self.budget.timeout_s)
        limits = AgentLimits(self._selector, self.judge, self.budget, judge_inputs=permissions.judge_inputs, log=log)
        interrupts = {name: {"allowed_decisions": ["approve", "reject"]} for name in approval}
        approvals = [HumanInTheLoopMiddleware(interrupt_on=interrupts)] if interrupts else []  # type: ignore[arg-type]
        # The guard comes last, so that no other middleware can replace the guarded model.
        return [limits, *approvals, guard]

    def choose(self, request: str) -> ToolSelection:
        """Select the tool for a request, without calling it."""
        return run_sync(lambda: self._selector.select(request))

    def invoke(
        self, input: str, config: RunnableConfig | None = None, *, thread: str | None = None, **kwargs: Any
    ) -> RouterResult:
        """Route a request and carry it out.

        Args:
            input: The user's words.
            config: LangChain config.
            thread: The thread's name. If threads are stored, `None` takes the config's `thread_id`, or starts a new
                thread.
            kwargs: Ignored; part of LangChain's interface.

        Raises:
            ConfigurationError: If `input` is blank or not a string.
        """
        return _final_result(self.stream(input, config, thread=thread))

    async def ainvoke(
        self, input: str, config: RunnableConfig | None = None, *, thread: str | None = None, **kwargs: Any
    ) -> RouterResult:
        """Async version of `invoke`."""
        return await _afinal_result(self.astream(input, config, thread=thread))

    def stream(  # type: ignore[override]
        self, input: str, config: RunnableConfig | None = None, *, thread: str | None = None, **kwargs: Any
    ) -> Iterator[TurnEvent]:
        """Like `invoke`, as events: judged text, retractions of it, and the result at the end."""
        yield from iterate_async(lambda: self._turn(_initial_state(input), thread, config))

    async def astream(  # type: ignore[override]
        self, input: str, config: RunnableConfig | None = None, *, thread: str | None = None, **kwargs: Any
    ) -> AsyncIterator[TurnEvent]:
        """Async version of `stream`."""
        async with aclosing(self._turn(_initial_state(input), thread, config)) as events:
            async for event in events:
                yield event

    def is_unfinished(self, thread: str) -> bool:
        """Whether a thread's last turn was interrupted, or waits for approval."""
        return self.threads is not None and bool(self.agent.get_state(_thread_config(thread)).next)

    def end_turn(self, thread: str) -> None:
        """End a thread's unfinished turn where it stands; the messages so far are kept."""
        if self.is_unfinished(thread):
            ending = AIMessage("[stopped]", response_metadata={STOPPED: "reader", MARK: {"released": True}})
            self.agent.update_state(_thread_config(thread), {"messages": [ending]}, as_node="model")

    def pending_approvals(self, thread: str) -> tuple[ToolUse, ...]:
        """Return a thread's tool calls that wait for a person's approval."""
        if self.threads is None:
            return ()
        interrupts = [interrupt.value for interrupt in self.agent.get_state(_thread_config(thread)).interrupts]
        requests = [request for value in interrupts for request in value["action_requests"]]
        return tuple(ToolUse(tool=request["name"], args=FrozenDict(request["args"])) for request in requests)

    def resume(self, thread: str, *, approve: bool | None = None, config: RunnableConfig | None = None) -> RouterResult:
        """Continue a turn that was interrupted, or that waits for approval.

        Args:
            thread: The thread's name.
            approve: Whether the waiting tool calls may run; `None` if the turn was interrupted.
            config: LangChain config.

        Raises:
            ConfigurationError: If the thread has no unfinished turn, or threads are not stored.
        """
        return _final_result(iterate_async(lambda: self.aresume(thread, approve=approve, config=config)))

    async def aresume(
        self, thread: str, *, approve: bool | None = None, config: RunnableConfig | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Async version of `resume`, as events.

        Raises:
            ConfigurationError: If the thread has no unfinished turn, or threads are not stored.
        """
        if self.threads is None:
            raise ConfigurationError(
                "This router stores no threads, so there is no turn to resume.",
                hint="Create it with Router(threads=Threads(path)).",
            )
        state = await self.agent.aget_state(_thread_config(thread))
        if not state.next:
            raise ConfigurationError(f"The thread {thread!r} has no unfinished turn to resume.")
        resume_input: Any = None  # to LangGraph, no input means: continue from the last checkpoint
        if state.interrupts:
            # The approval middleware expects one decision per waiting call; all of them get the same.
            decision = {"type": "approve" if approve else "reject"}
            requests = state.interrupts[0].value["action_requests"]
            resume_input = Command(resume={"decisions": [decision for _ in requests]})
        async with aclosing(self._turn(resume_input, thread, config)) as events:
            async for event in events:
                yield event

    async def _turn(
        self, agent_input: Any, thread: str | None, config: RunnableConfig | None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Run one turn, and yield its events.

        The agent runs in a task of its own: its timeout and context variables then do not depend on where, or in which
        task, the caller iterates.
        """
        thread = thread or ((config or {}).get("configurable") or {}).get("thread_id")
        name = (thread or uuid.uuid4().hex) if self.threads is not None else None
        queue: asyncio.Queue[TurnEvent | None] = asyncio.Queue()
        transcript = Transcript(queue)

        async def run() -> None:
            try:
                await self._run_agent(agent_input, name, config, transcript)
            finally:
                queue.put_nowait(None)  # also after an error, or the loop below would wait forever

        task = asyncio.ensure_future(run())
        try:
            while (event := await queue.get()) is not None:
                yield event
            await task
        finally:
            # The caller may stop iterating early; the agent must not keep writing for nobody.
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run_agent(
        self, agent_input: Any, thread: str | None, config: RunnableConfig | None, transcript: Transcript
    ) -> None:
        started, awaits_approval = time.monotonic(), False
        state: Any = {}
        # Above what the budget allows, so that the budget ends a turn and not LangGraph's own error.
        config = {**(config or {}), "recursion_limit": 6 * self.budget.steps + 10}
        config.setdefault("run_name", "Router")
        stream_options: dict[str, Any] = {"stream_mode": ["custom", "messages", "updates", "values"]}
        if thread is not None:
            stream_options["durability"] = "sync"  # each step is stored before the next one starts
            config["configurable"] = {**(config.get("configurable") or {}), "thread_id": thread}
        try:
            async with asyncio.timeout(self.budget.timeout_s):
                stream: Any = self.agent.astream(agent_input, config, **stream_options)
                async for mode, part in stream:
                    if mode == "values":
                        state = part  # the latest one is all that is left of the turn after a timeout
                    elif mode == "updates":
                        awaits_approval = awaits_approval or "__interrupt__" in part
                    elif mode == "messages":
                        transcript.add_message(part[0])
                    elif isinstance(part, dict) and STREAM in part:
                        transcript.add_guard_event(part[STREAM])
        except TimeoutError:
            text = REFUSAL_WORDS["timeout"]
            transcript.show(text)
            ending = AIMessage(text, response_metadata={STOPPED: "timeout"})
            state = {**state, "messages": [*state.get("messages", ()), ending]}
        duration_s = time.monotonic() - started
        result = result_from_state(
            state, transcript.text, thread, awaits_approval=awaits_approval, duration_s=duration_s
        )
        transcript.events.put_nowait(RouterResultEvent(result=result))


class _NoChatModel(BaseChatModel):
    """Placeholder model for an agent without one; `AgentLimits` answers every turn before it would be called."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        raise ConfigurationError("This router has no model.", hint="Pass Router(model='openai:gpt-5-mini').")

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Return the model unchanged."""
        return self

    @property
    def _llm_type(self) -> str:
        return "none"


def _initial_state(words: str) -> dict[str, Any]:
    if not isinstance(words, str) or not words.strip():
        raise ConfigurationError(f"A request must be a string that is not blank; got {words!r}.")
    return {"messages": [HumanMessage(words)]}


def _thread_config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}}


def _final_result(events: Iterator[TurnEvent]) -> RouterResult:
    *_, last = events
    return _result_of(last)


async def _afinal_result(events: AsyncIterator[TurnEvent]) -> RouterResult:
    last: TurnEvent | None = None
    async for event in events:
        last = event
    return _result_of(last)


def _result_of(event: TurnEvent | None) -> RouterResult:
    if not isinstance(event, RouterResultEvent):
        msg = "the turn ended without a RouterResultEvent"
        raise RuntimeError(msg)
    return event.result

"""The router: from a request to a routed, traced, judged result."""

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
from taleward.agents.middleware.limits import AgentLimits, Budget
from taleward.agents.middleware.messages import STOPPED
from taleward.agents.middleware.run_once import CallLog
from taleward.agents.middleware.transcript import Transcript
from taleward.agents.middleware.untrusted_text import DATA_RULE
from taleward.agents.result import RouterResult, RouterResultEvent, ToolUse, TurnEvent, routed_from
from taleward.agents.routing.constrained import ConstrainedStrategy
from taleward.agents.routing.selector import RouteSelector
from taleward.agents.routing.semantic import SemanticStrategy
from taleward.agents.routing.strategy import RoutingStrategy, ToolSelection
from taleward.agents.threads.checkpointer import Threads
from taleward.agents.tools import ROLES, Role
from taleward.agents.tools.base import APPROVAL, ONCE
from taleward.agents.tools.guarded_tale import STREAM
from taleward.backends.chat_models import chat_model
from taleward.core.concurrency.event_loop import iterate_async
from taleward.core.concurrency.threads import run_sync
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict
from taleward.moderation.chat.messages import MARK, REFUSAL_WORDS
from taleward.moderation.judges.base import Judge

_SYSTEM = (
    "You help people with stories for children, by your tools. The reader sees what tell_story, continue_story and "
    "revise_text write while they run: do not repeat it, add one short sentence at most. For anything that your tools "
    f"are not for, say so in one friendly sentence. {DATA_RULE}"
)


class Router(Runnable[str, RouterResult]):
    """A Runnable from what somebody says to a routed, traced, judged result.

    Three strategies choose a tool, each asked when the one before it is not sure. `SemanticStrategy` compares with
    examples. `ConstrainedStrategy` has a model write one tool call under a grammar; local models use it. A hosted model
    gets the tools and works in steps, within the budget. What is not clear by all of them is asked back, once.

    Whatever way: only tools of the role can be called; what tools answer is judged, and fenced as data before a model
    reads it; a call that repeats itself ends the turn; a tool tagged `needs-approval` waits for a person, and one
    tagged `runs-once` never runs twice for one call, whatever is killed. `agent` is the LangGraph behind it, for its
    own stream modes: every one of them gives judged words alone. Only what a tool of your own tells listeners by itself
    (`on_tool_end`, a stream writer, a model that it asks) goes past the judge: give such a tool a `GuardedChat`.

    Args:
        tools: Tools, such as `tools(Toolbox(...))` gives, and any of LangChain's.
        judge: Who judges all that leaves.
        model: A model that calls tools: a spec, or a LangChain chat model; `None` for none.
        strategies: Asked before the model; `None`: `SemanticStrategy`, plus `ConstrainedStrategy` for local models.
        role: Whose tools may be called; `None` for all of them, with inputs judged.
        roles: What each role may do.
        threads: Where threads are kept: `Threads(path)`, or another checkpointer of LangGraph with asynchronous
            methods, such as `AsyncPostgresSaver`.
        budget: What one turn may take.
        options: For the model, see `chat_model`.

    Raises:
        ConfigurationError: The role is unknown, the model cannot call tools, or a tool's tag needs threads.
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
        may = roles[role] if role is not None else Role()
        self.tools = tuple(tool for tool in tools if may.tools is None or tool.name in may.tools)
        self.judge, self.role, self.threads, self.budget = judge, role, threads, budget or Budget()
        self.model = None if model is None else chat_model(model, **options)
        if getattr(self.model, "completion_only", False):
            raise ConfigurationError(
                f"{model} continues text and calls no tools.", hint="Leave model= out; tools find their own writer."
            )
        local = self.model is not None and self.model._llm_type == "taleward-local"
        if strategies is None:
            strategies = [
                SemanticStrategy(),
                *([ConstrainedStrategy(self.model, self.tools)] if local and self.model else []),
            ]
        acts = self.model is not None and not local
        self._decider = RouteSelector(strategies, {tool.name: tool for tool in self.tools}, model=acts)
        self.agent = create_agent(
            self.model if acts and self.model is not None else _NoModel(),
            list(self.tools),
            system_prompt=_SYSTEM,
            middleware=self._middleware(may),
            checkpointer=threads,
        )

    def _middleware(self, may: Role) -> list[Any]:
        once = [tool.name for tool in self.tools if ONCE in (tool.tags or ())]
        wait = [tool.name for tool in self.tools if APPROVAL in (tool.tags or ())]
        if wait and self.threads is None:
            raise ConfigurationError(f"{wait} wait for approval, which needs threads=.", hint="Give Threads(path).")
        if once and self.threads is not None and not isinstance(self.threads, Threads):
            kind = type(self.threads).__name__
            raise ConfigurationError(f"{once} must run once, which {kind} cannot note.", hint="Give Threads(path).")
        log = CallLog(self.threads) if once and isinstance(self.threads, Threads) else None
        guard = GuardedCalls(self.judge, timeout_s=self.budget.timeout_s)
        keeper = AgentLimits(self._decider, self.judge, self.budget, judge_inputs=may.judge_inputs, log=log)
        stops = {name: {"allowed_decisions": ["approve", "reject"]} for name in wait}
        return [keeper, *([HumanInTheLoopMiddleware(interrupt_on=stops)] if stops else []), guard]  # type: ignore[arg-type]

    def choose(self, request: str) -> ToolSelection:
        """Which tool a request would go to; nothing is called."""
        return run_sync(lambda: self._decider.choice(request))

    def invoke(
        self, input: str, config: RunnableConfig | None = None, *, thread: str | None = None, **kwargs: Any
    ) -> RouterResult:
        """Route a request, and act on it.

        Args:
            input: What somebody says.
            config: LangChain's config.
            thread: The thread's name; where threads are kept, `None` takes that of the config, or begins a new one.
            kwargs: None are taken; LangChain's interface has them.
        """
        return _last(self.stream(input, config, thread=thread))

    async def ainvoke(
        self, input: str, config: RunnableConfig | None = None, *, thread: str | None = None, **kwargs: Any
    ) -> RouterResult:
        """As `invoke`, without blocking the event loop."""
        return await _alast(self.astream(input, config, thread=thread))

    def stream(  # type: ignore[override]
        self, input: str, config: RunnableConfig | None = None, *, thread: str | None = None, **kwargs: Any
    ) -> Iterator[TurnEvent]:
        """As `invoke`, in pieces: text that was judged, what is to be withdrawn of it, and at the end what became."""
        yield from iterate_async(lambda: self._turn(_said(input), thread, config))

    async def astream(  # type: ignore[override]
        self, input: str, config: RunnableConfig | None = None, *, thread: str | None = None, **kwargs: Any
    ) -> AsyncIterator[TurnEvent]:
        """As `stream`, without blocking the event loop."""
        async with aclosing(self._turn(_said(input), thread, config)) as events:
            async for event in events:
                yield event

    def unfinished(self, thread: str) -> bool:
        """Whether a thread's last turn was cut off, or waits for approval."""
        return self.threads is not None and bool(self.agent.get_state(_on(thread)).next)

    def give_up(self, thread: str) -> None:
        """End a thread's unfinished turn as it is; what was said in it stays."""
        if self.unfinished(thread):
            ended = AIMessage("[stopped]", response_metadata={STOPPED: "reader", MARK: {"released": True}})
            self.agent.update_state(_on(thread), {"messages": [ended]}, as_node="model")

    def waiting(self, thread: str) -> tuple[ToolUse, ...]:
        """The calls of a thread that wait for a person's approval."""
        if self.threads is None:
            return ()
        asked = [interrupt.value for interrupt in self.agent.get_state(_on(thread)).interrupts]
        requests = [request for value in asked for request in value["action_requests"]]
        return tuple(ToolUse(tool=request["name"], args=FrozenDict(request["args"])) for request in requests)

    def resume(self, thread: str, *, approve: bool | None = None, config: RunnableConfig | None = None) -> RouterResult:
        """Go on with a turn that was cut off, or that waits for approval.

        Args:
            thread: The thread's name.
            approve: Whether the calls that wait may be made; `None` where the turn was cut off.
            config: LangChain's config.
        """
        return _last(iterate_async(lambda: self.aresume(thread, approve=approve, config=config)))

    async def aresume(
        self, thread: str, *, approve: bool | None = None, config: RunnableConfig | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """As `resume`, as events.

        Raises:
            ConfigurationError: The thread has no unfinished turn.
        """
        if self.threads is None:
            raise ConfigurationError("there are no threads to go on with.", hint="Give Router(threads=Threads(path)).")
        state = await self.agent.aget_state(_on(thread))
        if not state.next:
            raise ConfigurationError(f"the thread {thread!r} has no unfinished turn.")
        given: Any = None
        if state.interrupts:
            asked = state.interrupts[0].value["action_requests"]
            decision = {"type": "approve" if approve else "reject"}
            given = Command(resume={"decisions": [decision for _ in asked]})
        async with aclosing(self._turn(given, thread, config)) as events:
            async for event in events:
                yield event

    async def _turn(
        self, given: Any, thread: str | None, config: RunnableConfig | None
    ) -> AsyncGenerator[TurnEvent, None]:
        """One turn, run in a task of its own, so that whoever listens may do so from anywhere."""
        named = thread or ((config or {}).get("configurable") or {}).get("thread_id")
        name = (named or uuid.uuid4().hex) if self.threads is not None else None
        ready: asyncio.Queue[TurnEvent | None] = asyncio.Queue()
        shown = Transcript(ready)

        async def run() -> None:
            try:
                await self._run(given, name, config, shown)
            finally:
                ready.put_nowait(None)

        task = asyncio.ensure_future(run())
        try:
            while (event := await ready.get()) is not None:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, given: Any, name: str | None, config: RunnableConfig | None, shown: Transcript) -> None:
        begun, waits = time.monotonic(), False
        state: Any = {}
        config = {**(config or {}), "recursion_limit": 6 * self.budget.steps + 10}
        config.setdefault("run_name", "Router")
        more: dict[str, Any] = {"stream_mode": ["custom", "messages", "updates", "values"]}
        if name is not None:
            more["durability"] = "sync"  # what a step did is kept before the next one begins
            config["configurable"] = {**(config.get("configurable") or {}), "thread_id": name}
        try:
            async with asyncio.timeout(self.budget.timeout_s):
                running: Any = self.agent.astream(given, config, **more)
                async for mode, part in running:
                    if mode == "values":
                        state = part
                    elif mode == "updates":
                        waits = waits or "__interrupt__" in part
                    elif mode == "messages":
                        shown.message(part[0])
                    elif isinstance(part, dict) and STREAM in part:
                        shown.told(part[STREAM])
        except TimeoutError:
            shown.say(REFUSAL_WORDS["timeout"])
            state = {**state, "messages": [*state.get("messages", ()), _timeout()]}
        ended = time.monotonic() - begun
        shown.ready.put_nowait(
            RouterResultEvent(routed=routed_from(state, shown.text, name, waits=waits, duration_s=ended))
        )


class _NoModel(BaseChatModel):
    """Stands where an agent has no model: the keeper answers all turns itself."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        raise ConfigurationError("no model was given to this router.", hint="Give Router(model='openai:gpt-5-mini').")

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """The same: it is never asked."""
        return self

    @property
    def _llm_type(self) -> str:
        return "none"


def _timeout() -> AIMessage:
    return AIMessage(REFUSAL_WORDS["timeout"], response_metadata={STOPPED: "timeout"})


def _said(words: str) -> dict[str, Any]:
    if not isinstance(words, str) or not words.strip():
        raise ConfigurationError(f"a request is a text that is not blank; got {words!r}.")
    return {"messages": [HumanMessage(words)]}


def _on(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}}


def _last(events: Iterator[TurnEvent]) -> RouterResult:
    *_, last = events
    return _ended(last)


async def _alast(events: AsyncIterator[TurnEvent]) -> RouterResult:
    last: TurnEvent | None = None
    async for event in events:
        last = event
    return _ended(last)


def _ended(event: TurnEvent | None) -> RouterResult:
    if not isinstance(event, RouterResultEvent):
        msg = "the turn ended without its last event"
        raise RuntimeError(msg)
    return event.routed

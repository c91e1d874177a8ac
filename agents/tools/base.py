"""Base class for Taleward's tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command
from pydantic import ConfigDict, Field

from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.toolbox import Toolbox
from taleward.core.concurrency.sync_async import run_sync
from taleward.core.errors import TalewardError
from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import Tale
from taleward.moderation.tracing.mute_callbacks import mute_callbacks

APPROVAL = "needs-approval"
"""Tag for a tool whose calls each wait for a person's approval."""
ONCE = "runs-once"
"""Tag for a tool that must not run twice for one call, even if the process is killed in between."""


class ClarificationNeeded(TalewardError):
    """A request does not hold everything that the tool needs.

    Args:
        question: The question to ask the user.
        tool: The tool that the answer is for, if it is another one.
    """

    def __init__(self, question: str, *, tool: str | None = None) -> None:
        super().__init__(question)
        self.tool = tool


class ToolArguments(FrozenModel):
    """Base class for the arguments of a tool; unknown arguments are rejected."""

    model_config = ConfigDict(extra="forbid")


class TaleTool(BaseTool):
    """A LangChain tool built on one of Taleward's chains.

    Subclasses define `name`, `description` and `args_schema` for models, `title` for people, an `example` of valid
    arguments, `arguments` for requests that are routed without a model, and `execute`. Let exceptions propagate: they
    are returned to the model as messages that say how to call the tool.

    Attributes:
        toolbox: The judge, the writer's model and the tool's other resources.
        judged: Whether its results need no further judging, because they passed a guard within the tool, or consist of
            fixed words and the policy file only. All other results are judged before the model or the reader gets them.
        title: What the tool does, as it reads in "I can ...": "tell a story".
        example: Valid arguments.
    """

    toolbox: Toolbox = Field(exclude=True, repr=False)
    judged: ClassVar[bool] = True
    title: ClassVar[str]
    example: ClassVar[Mapping[str, Any]]

    @classmethod
    def is_available(cls, toolbox: Toolbox) -> bool:
        """Whether the toolbox has everything that the tool requires."""
        return True

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Extract the arguments of a call from a request.

        Raises:
            ClarificationNeeded: If the request lacks a required argument.
        """
        raise NotImplementedError

    async def execute(self, runtime: ToolRuntime, *args: Any, **arguments: Any) -> str | Command[Any]:
        """Run the tool; return a text for the reader, or a state update."""
        raise NotImplementedError

    @property
    def func(self) -> Callable[..., Any]:
        """The function whose signature LangGraph inspects to inject `runtime`."""
        return self._arun

    def _parse_input(self, tool_input: str | dict[str, Any], tool_call_id: str | None) -> str | dict[str, Any]:
        """Validate the arguments; `runtime` is injected and not part of the schema."""
        if isinstance(tool_input, str):
            return super()._parse_input(tool_input, tool_call_id)
        arguments = {name: value for name, value in tool_input.items() if name != "runtime"}
        parsed: Any = super()._parse_input(arguments, tool_call_id)
        return {**parsed, "runtime": tool_input.get("runtime")}

    def _run(self, *, config: RunnableConfig, runtime: Any = None, **arguments: Any) -> str | Command[Any]:
        return run_sync(lambda: self._arun(config=config, runtime=runtime, **arguments))

    async def _arun(self, *, config: RunnableConfig, runtime: Any = None, **arguments: Any) -> str | Command[Any]:
        mute_callbacks(config, in_graph=True)  # the output of models within a tool is unmoderated
        return await self.execute(runtime, **arguments)


def state_update(runtime: ToolRuntime, name: str, text: str, **state: Any) -> Command[Any]:
    """Return a tool's result together with an update of the thread's state."""
    message = ToolMessage(text, tool_call_id=runtime.tool_call_id, name=name)
    return Command(update={"messages": [message], **state})


def reader_text(tale: Tale) -> str:
    """Return what the reader sees of a tale: its text, or the refusal's message."""
    return tale.text if tale.refusal is None else tale.refusal.child_message

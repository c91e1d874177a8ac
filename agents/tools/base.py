"""What every tool of Taleward shares."""

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
from taleward.core.concurrency.threads import run_sync
from taleward.core.errors import TalewardError
from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import Tale
from taleward.moderation.tracing.langchain_callbacks import mute_callbacks

APPROVAL = "needs-approval"
"""Tag of a tool that runs only when a person approved of that very call."""
ONCE = "runs-once"
"""Tag of a tool that must not run twice for one call, whatever is killed in between."""


class NeedsMore(TalewardError):
    """A request lacks something that the tool needs.

    Args:
        question: What to ask.
        tool: The tool that the answer is for, where it is another one.
    """

    def __init__(self, question: str, *, tool: str | None = None) -> None:
        super().__init__(question)
        self.tool = tool


class ToolArguments(FrozenModel):
    """A tool's arguments: unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")


class TaleTool(BaseTool):
    """A tool over one of Taleward's chains.

    A subclass gives `name`, `description` and `args_schema` for models, `title` for people, an `example` of its
    arguments, `arguments` for requests that no model read, and `work`. Errors it may raise as they come: they go back
    as messages which say how to call it.

    Attributes:
        box: What it stands on.
        judged: Whether its answers need no judge any more: they passed a guard in the tool, or are words of the program
            and of the policy's file alone. Every other answer is judged before the model or the reader has it.
        title: What it does, as people would say it: "tell a story".
        example: Arguments that are right.
    """

    box: Toolbox = Field(exclude=True, repr=False)
    judged: ClassVar[bool] = True
    title: ClassVar[str]
    example: ClassVar[Mapping[str, Any]]

    @classmethod
    def usable(cls, box: Toolbox) -> bool:
        """Whether the box has what the tool needs."""
        return True

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """The arguments of a call for a request, by simple extraction.

        Raises:
            NeedsMore: The request does not say enough.
        """
        raise NotImplementedError

    async def work(self, runtime: ToolRuntime, *args: Any, **arguments: Any) -> str | Command[Any]:
        """Do it; a text for the reader, or a change of the thread's state."""
        raise NotImplementedError

    @property
    def func(self) -> Callable[..., Any]:
        """Where LangGraph looks for what it has to hand in: `runtime`, with the thread's state and the stream."""
        return self._arun

    def _parse_input(self, tool_input: str | dict[str, Any], tool_call_id: str | None) -> str | dict[str, Any]:
        """The arguments as the schema has them; the runtime is none of them."""
        if isinstance(tool_input, str):
            return super()._parse_input(tool_input, tool_call_id)
        asked = {name: value for name, value in tool_input.items() if name != "runtime"}
        parsed: Any = super()._parse_input(asked, tool_call_id)
        return {**parsed, "runtime": tool_input.get("runtime")}

    def _run(self, *, config: RunnableConfig, runtime: Any = None, **arguments: Any) -> str | Command[Any]:
        return run_sync(lambda: self._arun(config=config, runtime=runtime, **arguments))

    async def _arun(self, *, config: RunnableConfig, runtime: Any = None, **arguments: Any) -> str | Command[Any]:
        mute_callbacks(config)  # what models within a tool say is not judged yet
        return await self.work(runtime, **arguments)


def told(runtime: ToolRuntime, name: str, text: str, **state: Any) -> Command[Any]:
    """A tool's answer together with a change of the thread's state."""
    message = ToolMessage(text, tool_call_id=runtime.tool_call_id, name=name)
    return Command(update={"messages": [message], **state})


def words_of(tale: Tale) -> str:
    """What a tale says to the reader: its text, or the refusal's words."""
    return tale.text if tale.refusal is None else tale.refusal.child_message

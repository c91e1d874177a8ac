"""Go on with a story, the same evening or another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command
from pydantic import BaseModel, Field

from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.story_state import CastSheet
from taleward.agents.tools.base import NeedsMore, TaleTool, ToolArguments, told, words_of
from taleward.agents.tools.guarded_tale import tell
from taleward.chains.story import StoryChain
from taleward.chains.template import Template, Variable
from taleward.core.frozen_model import FrozenDict
from taleward.moderation.guard.revision import Revision, revision_of, with_revision

_NEXT = Template(
    name="next-part",
    version="1",
    description="What happened next.",
    text="The next part of the story of {hero}.",
    variables=FrozenDict({"hero": Variable(description="who it is about", example="a kind owl", max_length=100)}),
)


class _Arguments(ToolArguments):
    wish: str = Field(default="", description="What should happen, where the reader said so.", max_length=300)


class ContinueStory(TaleTool):
    """Tells the next part of the thread's story, with its characters."""

    name: str = "continue_story"
    description: str = (
        "Go on with the story that was told in this conversation, today or earlier, with the same characters. "
        "Use it for 'and then what happened?'. The next part comes back judged; give it to the reader as it is."
    )
    args_schema: type[BaseModel] = _Arguments
    title: ClassVar[str] = "go on with the story"
    example: ClassVar[Mapping[str, Any]] = {"wish": "they find the lost boat"}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Nothing: what the reader wants to know is how it goes on."""
        if not request.tale:
            raise NeedsMore("I have not told you a story yet. What shall it be about?", tool="tell_story")
        return {}

    async def work(self, runtime: ToolRuntime, wish: str = "") -> str | Command[Any]:
        """Tell the next part behind a guard."""
        if not runtime.state.get("cast"):
            raise NeedsMore("No story was told in this conversation yet; tell one first with tell_story.")
        sheet = CastSheet.model_validate(runtime.state["cast"])
        box, judge = self.box, self.box.judge
        chain = StoryChain(box.model, _NEXT, policy=judge.policy, band=judge.band, seed=_seed(box.seed, sheet))
        before = f"{sheet.prose()} {wish}".strip() if box.follows_orders else sheet.prose()
        hero = sheet.characters[0].name if sheet.characters else "them all"
        writer = Sequel(chain, {"hero": hero}, before, sheet.lead)
        tale = await tell(box, writer, {"wish": wish}, runtime)
        if not tale.released:
            return words_of(tale)
        state = {"tale": tale.text, "cast": sheet.after(tale.text).model_dump(mode="json")}
        return told(runtime, self.name, tale.text, **state)


def _seed(seed: int | None, sheet: CastSheet) -> int | None:
    """Each evening has a seed of its own, or all would go alike."""
    return None if seed is None else seed + 100 * sheet.parts


class Sequel(Runnable[Mapping[str, Any], str]):
    """A writer of what comes after a text; that text is context and not told again.

    Args:
        chain: Who writes.
        values: Those of its template.
        before: What came before, and who is in it.
        lead: The sentence that the new part begins with.
    """

    continues = True

    def __init__(self, chain: StoryChain, values: Mapping[str, Any], before: str, lead: str) -> None:
        self._chain, self._values, self._before, self._lead = chain, values, before, lead

    def invoke(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """The next part."""
        lead, asked = self._asked(config)
        return lead + self._chain.invoke(self._values, asked)

    async def ainvoke(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """As `invoke`, without blocking the event loop."""
        lead, asked = self._asked(config)
        return lead + await self._chain.ainvoke(self._values, asked)

    def stream(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[str]:
        """The next part in pieces."""
        lead, asked = self._asked(config)
        if lead:
            yield lead
        yield from self._chain.stream(self._values, asked)

    async def astream(
        self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """As `stream`, without blocking the event loop."""
        lead, asked = self._asked(config)
        if lead:
            yield lead
        run: Any = self._chain.astream(self._values, asked)
        async with aclosing(run) as pieces:
            async for piece in pieces:
                yield piece

    def _asked(self, config: RunnableConfig | None) -> tuple[str, RunnableConfig]:
        """What the part begins with, and the config that tells the chain what is told already."""
        config = config or {}
        revision = revision_of(config) or Revision(attempt=1)
        lead = "" if revision.released else self._lead
        released = f"{self._before}\n{revision.released or lead}"
        return lead, with_revision(config, revision.model_copy(update={"released": released}))

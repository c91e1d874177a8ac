"""Tool: continue the conversation's story, on the same day or later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command
from pydantic import BaseModel, Field

from taleward.agents.cast_sheet import CastSheet
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import ClarificationNeeded, TaleTool, ToolArguments, reader_text, state_update
from taleward.agents.tools.guarded_tale import tell_guarded_tale
from taleward.chains.story import StoryChain
from taleward.chains.template import Template, Variable
from taleward.core.frozen_model import FrozenDict
from taleward.moderation.guard.revision_context import Revision, revision_of, with_revision

_NEXT_PART_TEMPLATE = Template(
    name="next-part",
    version="1",
    description="What happened next.",
    text="The next part of the story of {hero}.",
    variables=FrozenDict({"hero": Variable(description="who it is about", example="a kind owl", max_length=100)}),
)


class ContinueStoryArguments(ToolArguments):
    """Arguments of `continue_story`."""

    wish: str = Field(default="", description="What should happen next, if the reader said so.", max_length=300)


class ContinueStory(TaleTool):
    """Tells the next part of the conversation's story, with the same characters."""

    name: str = "continue_story"
    description: str = (
        "Continue the story that was told in this conversation, today or earlier, with the same characters. Use it for "
        "'and then what happened?'. The next part has already been judged; give it to the reader unchanged."
    )
    args_schema: type[BaseModel] = ContinueStoryArguments
    title: ClassVar[str] = "continue the story"
    example: ClassVar[Mapping[str, Any]] = {"wish": "they find the lost boat"}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Return no arguments: the words of the request only ask how the story goes on."""
        if not request.tale:
            raise ClarificationNeeded("I haven't told you a story yet. What should it be about?", tool="tell_story")
        return {}

    async def execute(self, runtime: ToolRuntime, wish: str = "") -> str | Command[Any]:
        """Tell the next part behind a guard."""
        if not runtime.state.get("cast"):
            raise ClarificationNeeded("No story has been told in this conversation yet; call tell_story first.")
        sheet = CastSheet.model_validate(runtime.state["cast"])
        toolbox, judge = self.toolbox, self.toolbox.judge
        seed = _part_seed(toolbox.seed, sheet)
        chain = StoryChain(toolbox.model, _NEXT_PART_TEMPLATE, policy=judge.policy, band=judge.band, seed=seed)
        # To a model that only continues text, the wish would read as part of the story.
        context = f"{sheet.prose()} {wish}".strip() if toolbox.follows_instructions else sheet.prose()
        hero = sheet.characters[0].name if sheet.characters else "them all"
        writer = StoryContinuation(chain, {"hero": hero}, context, sheet.opening_sentence)
        tale = await tell_guarded_tale(toolbox, writer, {"wish": wish}, runtime)
        if not tale.released:
            return reader_text(tale)
        cast = sheet.with_part(tale.text).model_dump(mode="json")
        return state_update(runtime, self.name, tale.text, tale=tale.text, cast=cast)


def _part_seed(seed: int | None, sheet: CastSheet) -> int | None:
    """Return a seed of its own for each part, or all parts would repeat the same ideas."""
    return None if seed is None else seed + 100 * sheet.parts


class StoryContinuation(Runnable[Mapping[str, Any], str]):
    """A writer that continues a text, which it gets as context and does not repeat.

    Args:
        chain: The chain that writes.
        values: The values of the chain's template.
        context: The story so far, and its characters.
        opening: The sentence that the new part begins with.
    """

    continues = True

    def __init__(self, chain: StoryChain, values: Mapping[str, Any], context: str, opening: str) -> None:
        self._chain, self._values, self._context, self._opening = chain, values, context, opening

    def invoke(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Write the next part."""
        opening, chain_config = self._prepare(config)
        return opening + self._chain.invoke(self._values, chain_config)

    async def ainvoke(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Async version of `invoke`."""
        opening, chain_config = self._prepare(config)
        return opening + await self._chain.ainvoke(self._values, chain_config)

    def stream(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[str]:
        """Write the next part, and yield it in pieces."""
        opening, chain_config = self._prepare(config)
        if opening:
            yield opening
        yield from self._chain.stream(self._values, chain_config)

    async def astream(
        self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[str]:
        """Async version of `stream`."""
        opening, chain_config = self._prepare(config)
        if opening:
            yield opening
        stream: Any = self._chain.astream(self._values, chain_config)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                yield piece

    def _prepare(self, config: RunnableConfig | None) -> tuple[str, RunnableConfig]:
        """Return the opening, empty if it was released already, and the config that gives the chain its context."""
        config = config or {}
        revision = revision_of(config) or Revision(attempt=1)
        opening = "" if revision.released else self._opening
        # To the chain, the story so far is text that it has released: that is what it continues.
        released = f"{self._context}\n{revision.released or opening}"
        return opening, with_revision(config, revision.model_copy(update={"released": released}))

"""Tell a story."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command
from pydantic import BaseModel, Field

from taleward.agents.routing.request_parsing import take_apart
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.story_state import CastSheet
from taleward.agents.tools.base import TaleTool, ToolArguments, told, words_of
from taleward.agents.tools.guarded_tale import tell
from taleward.chains.story import StoryChain
from taleward.chains.template import Template, Variable
from taleward.core.frozen_model import FrozenDict

_ARTICLE = re.compile(r"^(?:an?|the|some|my|our)\s+", re.IGNORECASE)
_ABOUT = re.compile(r"\b(?:about|with|of|where|in which|starring)\s+(.+)$", re.IGNORECASE)
_WHERE = re.compile(
    r"\b(?:set in|in|on|at|under|inside)\s+(?:the|an?)\s+((?:[a-z'-]+ ){0,2}[a-z'-]+)\s*"
    r"(?=[,.!?]|$|\bwith\b|\bwho\b|\babout\b)",
    re.IGNORECASE,
)
_HERO = re.compile(
    r"^(.+?)(?=\s+(?:who|that|and then|which|on|in|at|under|inside|wins?|gets?|is|finds?|learns?)\b|[,.!?]|$)"
)
_FILLERS = re.compile(r"\b(?:please|pls|tonight|for (?:my|our|the) \w+|for me|before bed)\b", re.IGNORECASE)

_REQUESTED = Template(
    name="requested",
    version="1",
    description="Whatever the reader wants.",
    text="This is a story about {about}.",
    variables=FrozenDict({"about": Variable(description="what it is about", example="a kind owl", max_length=500)}),
)


class _Arguments(ToolArguments):
    about: str = Field(description="What the story is to be about, in the reader's words.", max_length=500)
    character: str = Field(default="", description="Who it is about, without an article: 'brave fox'.", max_length=60)
    setting: str = Field(
        default="", description="Where it happens, without an article: 'quiet harbour'.", max_length=60
    )


class TellStory(TaleTool):
    """Tells a story for the age band behind the guard."""

    name: str = "tell_story"
    description: str = (
        "Tell a new story for children. Use it whenever somebody wants a story, a tale or something to fall asleep to. "
        "The story comes back judged; give it to the reader as it is."
    )
    args_schema: type[BaseModel] = _Arguments
    title: ClassVar[str] = "tell a story"
    example: ClassVar[Mapping[str, Any]] = {"about": "a fox who finds a key", "character": "fox", "setting": "wood"}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Hero and setting as far as the words name them."""
        wish = _FILLERS.sub("", take_apart(request.text).first).strip()
        where, about = _WHERE.search(wish), _ABOUT.search(wish)
        hero = _HERO.match(about[1]) if about else None
        return {
            "about": (about[1] if about else wish).rstrip(".!? ")[:500],
            "character": _ARTICLE.sub("", hero[1].strip())[:60] if hero else "",
            "setting": where[1].strip()[:60] if where else "",
        }

    async def work(
        self, runtime: ToolRuntime, about: str, character: str = "", setting: str = ""
    ) -> str | Command[Any]:
        """Tell it; what the request leaves open comes from the template's examples."""
        box = self.box
        wanted = {"character": character, "setting": setting}
        template, values = box.opening, {n: v.example for n, v in box.opening.variables.items()}
        values |= {name: value for name, value in wanted.items() if value.strip() and name in values}
        if box.takes_wishes:
            template, values = _REQUESTED, {"about": about}
        judge = box.judge
        writer = StoryChain(box.model, template, policy=judge.policy, band=judge.band, seed=box.seed)
        tale = await tell(box, writer, values, runtime)
        if not tale.released:
            return words_of(tale)
        sheet = CastSheet().after(
            tale.text, hero=values.get("character", character), setting=values.get("setting", setting)
        )
        return told(runtime, self.name, tale.text, tale=tale.text, cast=sheet.model_dump(mode="json"))

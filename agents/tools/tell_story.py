"""Tool: tell a new story."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command
from pydantic import BaseModel, Field

from taleward.agents.cast_sheet import CastSheet
from taleward.agents.routing.parse_request import parse_request
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import TaleTool, ToolArguments, reader_text, state_update
from taleward.agents.tools.guarded_tale import tell_guarded_tale
from taleward.chains.story import StoryChain
from taleward.chains.template import Template, Variable
from taleward.core.frozen_model import FrozenDict

_ARTICLE = re.compile(r"^(?:an?|the|some|my|our)\s+", re.IGNORECASE)
_TOPIC = re.compile(r"\b(?:about|with|of|where|in which|starring)\s+(.+)$", re.IGNORECASE)
_SETTING = re.compile(
    r"\b(?:set in|in|on|at|under|inside)\s+(?:the|an?)\s+((?:[a-z'-]+ ){0,2}[a-z'-]+)\s*"
    r"(?=[,.!?]|$|\bwith\b|\bwho\b|\babout\b)",
    re.IGNORECASE,
)
_CHARACTER = re.compile(
    r"^(.+?)(?=(?<!\s)\s+(?:who|that|and then|which|on|in|at|under|inside|wins?|gets?|is|finds?|learns?)\b|[,.!?]|$)"
)
_FILLERS = re.compile(r"\b(?:please|pls|tonight|for (?:my|our|the) \w+|for me|before bed)\b", re.IGNORECASE)

_REQUEST_TEMPLATE = Template(
    name="requested",
    version="1",
    description="Whatever the reader asks for.",
    text="This is a story about {about}.",
    variables=FrozenDict({"about": Variable(description="what it is about", example="a kind owl", max_length=500)}),
)


class TellStoryArguments(ToolArguments):
    """Arguments of `tell_story`."""

    about: str = Field(description="What the story should be about, in the reader's words.", max_length=500)
    character: str = Field(
        default="", description="The main character, without an article: 'brave fox'.", max_length=60
    )
    setting: str = Field(
        default="", description="Where it takes place, without an article: 'quiet harbor'.", max_length=60
    )


class TellStory(TaleTool):
    """Tells a new story for the age band, behind the guard."""

    name: str = "tell_story"
    description: str = (
        "Tell a new story for children. Use it whenever someone wants a story, a tale or something to fall asleep to. "
        "The story has already been judged; give it to the reader unchanged."
    )
    args_schema: type[BaseModel] = TellStoryArguments
    title: ClassVar[str] = "tell a story"
    example: ClassVar[Mapping[str, Any]] = {"about": "a fox who finds a key", "character": "fox", "setting": "wood"}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Extract topic, main character and setting, as far as the request names them."""
        instruction = _FILLERS.sub("", parse_request(request.text).first_instruction).strip()
        setting, topic = _SETTING.search(instruction), _TOPIC.search(instruction)
        character = _CHARACTER.match(topic[1]) if topic else None
        return {
            "about": (topic[1] if topic else instruction).rstrip(".!? ")[:500],
            "character": _ARTICLE.sub("", character[1].strip())[:60] if character else "",
            "setting": setting[1].strip()[:60] if setting else "",
        }

    async def execute(
        self, runtime: ToolRuntime, about: str, character: str = "", setting: str = ""
    ) -> str | Command[Any]:
        """Tell the story; the template's examples fill in what the request leaves open."""
        toolbox, judge = self.toolbox, self.toolbox.judge
        template = toolbox.story_template
        values = {name: variable.example for name, variable in template.variables.items()}
        requested = {"character": character, "setting": setting}
        values |= {name: value for name, value in requested.items() if value.strip() and name in values}
        # The user's own words say more than character and setting, the only values extracted for a template.
        if toolbox.accepts_story_requests:
            template, values = _REQUEST_TEMPLATE, {"about": about}
        writer = StoryChain(toolbox.model, template, policy=judge.policy, band=judge.band, seed=toolbox.seed)
        tale = await tell_guarded_tale(toolbox, writer, values, runtime)
        if not tale.released:
            return reader_text(tale)
        sheet = CastSheet().with_part(
            tale.text, character=values.get("character", character), setting=values.get("setting", setting)
        )
        return state_update(runtime, self.name, tale.text, tale=tale.text, cast=sheet.model_dump(mode="json"))

"""Tool: tell a new story."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command
from pydantic import BaseModel, Field

from taleward.agents.cast_sheet import CastSheet
from taleward.agents.routing.request_parsing import parse_request
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import TaleTool, ToolArguments, reader_text, state_update
from taleward.agents.tools.guarded_tale import tell_guarded_tale
from taleward.chains.story import StoryChain
from taleward.chains.story_request_parsing import requested_parts

_FILLERS = re.compile(r"\b(?:please|pls|tonight|for (?:my|our|the) \w+|for me|before bed)\b", re.IGNORECASE)


class TellStoryArguments(ToolArguments):
    """Arguments of `tell_story`."""

    about: str = Field(
        description="What the story should be about, and how it should be told, in the reader's words.", max_length=500
    )
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
        """Return the reader's words, with the main character and the setting as far as they name them."""
        instruction = _FILLERS.sub("", parse_request(request.text).first_instruction).strip()
        parts = requested_parts(instruction)
        return {
            "about": instruction.rstrip(".!? ")[:500],
            "character": parts.character,
            "setting": parts.setting,
        }

    async def execute(
        self, runtime: ToolRuntime, about: str, character: str = "", setting: str = ""
    ) -> str | Command[Any]:
        """Tell the story that is asked for; a model that takes no request continues the template, with its examples."""
        toolbox, judge = self.toolbox, self.toolbox.judge
        template = toolbox.story_template
        inputs: dict[str, str] | str
        # The reader's own words say more than character and setting, the only values extracted for a template.
        if toolbox.accepts_story_requests:
            inputs = about
        else:
            examples = template.example_values[0]
            requested = {"character": character, "setting": setting}
            inputs = examples | {name: v for name, v in requested.items() if v.strip() and name in examples}
            character, setting = inputs.get("character", character), inputs.get("setting", setting)
        writer = StoryChain(toolbox.model, template, policy=judge.policy, band=judge.band, seed=toolbox.seed)
        tale = await tell_guarded_tale(toolbox, writer, inputs, runtime)
        if not tale.released:
            return reader_text(tale)
        sheet = CastSheet().with_part(tale.text, character=character, setting=setting)
        return state_update(runtime, self.name, tale.text, tale=tale.text, cast=sheet.model_dump(mode="json"))

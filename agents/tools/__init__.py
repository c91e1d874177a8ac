"""The tools, one file each. To add a tool, write its file and add one line to `TOOLS`."""

if __name__ != "taleward.agents.tools":
    msg = "this folder is the package taleward.agents.tools; import it by that name"
    raise ImportError(msg)

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module

from taleward.agents.tools.base import TaleTool
from taleward.agents.tools.toolbox import Toolbox
from taleward.core.errors import UnknownName

__all__ = ["ROLES", "TOOLS", "Role", "TaleTool", "Toolbox", "story_tools"]

TOOLS = {
    "tell_story": "tell_story.TellStory",
    "continue_story": "continue_story.ContinueStory",
    "judge_text": "judge_text.JudgeText",
    "revise_text": "rewrite_text.ReviseText",
    "summarize_text": "summarize_text.SummarizeText",
    "classify_text": "classify_text.ClassifyText",
    "search_tales": "search_tales.SearchTales",
    "look_up_policy": "look_up_policy.LookUpPolicy",
    "moderation_counts": "moderation_counts.ModerationCounts",
}
"""Tool names with file and class. Tools whose requirements the toolbox lacks, such as a tale memory, are left out."""


@dataclass(frozen=True)
class Role:
    """What a user may do.

    Attributes:
        tools: Names of the tools that may be called; `None` for all.
        judge_inputs: Whether the user's words are judged before anything else reads them. Turn it off for roles that
            may have texts judged, since those must be able to submit unsuitable ones.
    """

    tools: frozenset[str] | None = None
    judge_inputs: bool = True


ROLES = {
    "child": Role(frozenset({"tell_story", "continue_story", "search_tales"})),
    "parent": Role(frozenset(TOOLS) - {"moderation_counts"}, judge_inputs=False),
    "staff": Role(judge_inputs=False),
}
"""The default roles; pass your own with `Router(roles=...)`."""


def story_tools(toolbox: Toolbox, names: Iterable[str] | None = None) -> Sequence[TaleTool]:
    """Return the tools that a toolbox can supply.

    Args:
        toolbox: The judge, the writer's model and the other resources of the tools.
        names: Names from `TOOLS`; `None` for all.

    Raises:
        UnknownName: If a name is not in `TOOLS`.
    """
    available = []
    for name in TOOLS if names is None else names:
        if name not in TOOLS:
            raise UnknownName("tool", name, TOOLS)
        file, _, class_name = TOOLS[name].partition(".")
        tool_class = getattr(import_module(f"taleward.agents.tools.{file}"), class_name)
        if tool_class.is_available(toolbox):
            available.append(tool_class(toolbox=toolbox))
    return available

"""The tools, one small file each. A new tool is one file and one line in `TOOLS`."""

if __name__ != "taleward.agents.tools":
    msg = "this folder is the package taleward.agents.tools; import it by that name"
    raise ImportError(msg)

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module

from taleward.agents.tools.base import TaleTool
from taleward.agents.tools.toolbox import Toolbox
from taleward.core.errors import UnknownName

__all__ = ["ROLES", "TOOLS", "Role", "TaleTool", "Toolbox", "tools"]

TOOLS = {
    "tell_story": "tell_story.TellStory",
    "continue_story": "continue_story.ContinueStory",
    "judge_text": "judge_text.JudgeText",
    "revise_text": "revise_text.ReviseText",
    "summarize_text": "summarize_text.SummarizeText",
    "classify_text": "classify_text.ClassifyText",
    "search_tales": "search_tales.SearchTales",
    "look_up_policy": "look_up_policy.LookUpPolicy",
    "feedback_statistics": "feedback_statistics.FeedbackStatistics",
}
"""Tools by name, with file and class. A tool that lacks what it stands on, such as a tale memory, is left out."""


@dataclass(frozen=True)
class Role:
    """What somebody may do.

    Attributes:
        tools: Names of the tools that may be called for them; `None` for all.
        judge_inputs: Whether what they say is judged before anything reads it. Whoever may have a text judged must be
            able to hand it in.
    """

    tools: frozenset[str] | None = None
    judge_inputs: bool = True


ROLES = {
    "child": Role(frozenset({"tell_story", "continue_story", "search_tales"})),
    "parent": Role(frozenset(TOOLS) - {"feedback_statistics"}, judge_inputs=False),
    "staff": Role(judge_inputs=False),
}
"""Who may do what; `Router(roles=...)` takes a table of your own."""


def story_tools(box: Toolbox, names: Iterable[str] | None = None) -> Sequence[TaleTool]:
    """The tools that can be made from what is in the box.

    Args:
        box: What the tools stand on.
        names: Names in `TOOLS`; `None` for all.

    Raises:
        UnknownName: There is no such tool.
    """
    wanted = tuple(TOOLS if names is None else names)
    made = []
    for name in wanted:
        if name not in TOOLS:
            raise UnknownName("tool", name, TOOLS)
        file, _, kind = TOOLS[name].partition(".")
        tool = getattr(import_module(f"taleward.agents.tools.{file}"), kind)
        if tool.usable(box):
            made.append(tool(box=box))
    return made

"""A conversation in a notebook or a script: `chat = Chat(); chat("Tell me a story about a fox")`."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage

from taleward.agents.result import RouterResult, RouterResultEvent, TurnEvent
from taleward.agents.router import Router
from taleward.agents.story_state import CastSheet
from taleward.agents.threads.checkpointer import Threads
from taleward.agents.tools import Toolbox, story_tools
from taleward.backends.chat_models import chat_model
from taleward.core.events import TextEvent
from taleward.moderation.judges import judge as make_judge
from taleward.moderation.judges.base import Judge


class Turn:
    """A routed request that a notebook shows as a page.

    Attributes:
        routed: What became of it.
    """

    def __init__(self, routed: RouterResult) -> None:
        self.routed = routed

    def __repr__(self) -> str:
        return self.routed.text

    def _repr_html_(self) -> str:
        paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in self.routed.text.split("\n") if part.strip())
        return f"<div>{paragraphs}<p><small>{html.escape(origin(self.routed))}</small></p></div>"


class Chat:
    """A conversation with the tools of Taleward, in one thread.

    Called with some words it answers; in a notebook the answer grows while it is judged. With `folder=` the thread is
    kept and can be gone on with another day.

    Args:
        model: A model that calls tools, such as `openai:gpt-5-mini`: it then chooses, and writes the stories. `None`
            for the embedded models alone.
        judge: A judge, or a judge's spec.
        policy: The policy of a judge given by its spec.
        band: Its age band.
        role: Whose tools may be called: `child`, `parent` or `staff`.
        folder: Where threads are kept; `None` keeps them in memory alone.
        ttl_s: Seconds after which a kept thread that nobody used is deleted; `None` keeps all.
        thread: The thread's name.
        box: Further arguments of `Toolbox`, such as `seed`, `memory` and `statistics`.
        options: For the model, see `chat_model`.
    """

    def __init__(
        self,
        model: str | BaseChatModel | None = None,
        *,
        judge: str | Judge = "embedded:judge",
        policy: str = "kids",
        band: str = "6-8",
        role: str = "parent",
        folder: Path | str | None = None,
        ttl_s: float | None = None,
        thread: str = "chat",
        box: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        made = None if model is None else chat_model(model, **options)
        acting = None if getattr(made, "completion_only", False) else made
        judges = judge if isinstance(judge, Judge) else make_judge(judge, policy=policy, band=band)
        toolbox = Toolbox(judges, **{**({"writer": made} if made is not None else {}), **(box or {})})
        self.thread, self.threads = (
            thread,
            None if folder is None else Threads(Path(folder) / "threads.db", ttl_s=ttl_s),
        )
        self.router = Router(story_tools(toolbox), judges, model=acting, role=role, threads=self.threads or _memory())

    def __call__(self, words: str) -> Turn:
        """Say something; in a notebook the answer is shown while it comes."""
        show = _display()
        turn: Turn | None = None
        text = ""
        for event in self.stream(words):
            if isinstance(event, RouterResultEvent):
                turn = Turn(event.routed)
            elif show is not None:
                text = text[: event.start] + (event.text if isinstance(event, TextEvent) else "")
                show.update({"text/plain": text}, raw=True)
        if turn is None:
            msg = "the turn ended without its last event"
            raise RuntimeError(msg)
        if show is not None:
            show.update({"text/plain": "", "text/html": ""}, raw=True)
        return turn

    def stream(self, words: str) -> Iterator[TurnEvent]:
        """The answer as events; a turn that was cut off before is given up."""
        return self.router.stream(words, thread=self.thread)

    def history(self) -> list[tuple[str, str]]:
        """What was said so far: `you` or `taleward`, and the words."""
        state = self.router.agent.get_state({"configurable": {"thread_id": self.thread}}).values
        return [
            ("you" if isinstance(message, HumanMessage) else "taleward", str(message.text))
            for message in state.get("messages", ())
            if isinstance(message, HumanMessage | AIMessage) and message.text.strip()
        ]

    def cast(self) -> CastSheet:
        """Who is in the thread's story."""
        state = self.router.agent.get_state({"configurable": {"thread_id": self.thread}}).values
        return CastSheet.model_validate(state.get("cast") or {})


def origin(routed: RouterResult) -> str:
    """By which way a request went where, in a line."""
    tools_ = ", ".join(call.tool for call in routed.calls) or "no tool"
    score = routed.choice.scores.get(routed.tool or "")
    sure = f" ({score:.2f})" if score is not None else ""
    return f"{routed.outcome} | {tools_} by {routed.by or 'none of the ways'}{sure} | {routed.duration_s:.1f} s"


def _memory() -> Any:
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()


def _display() -> Any:
    """A place on the page of a notebook; `None` where there is no notebook."""
    import sys

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if type(shell).__name__ != "ZMQInteractiveShell":
        return None
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    return display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call,unused-ignore]

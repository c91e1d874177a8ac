"""A conversation in a notebook or a script: `chat = Chat(); chat("Tell me a story about a fox")`."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage

from taleward.agents.cast_sheet import CastSheet
from taleward.agents.result import RouterResult, RouterResultEvent, TurnEvent
from taleward.agents.router_agent import Router
from taleward.agents.threads.checkpointer import Threads
from taleward.agents.tools import Toolbox, story_tools
from taleward.backends.capabilities import capabilities
from taleward.backends.chat_models import chat_model
from taleward.core.events import TextEvent
from taleward.moderation.judges import judge as make_judge
from taleward.moderation.judges.base import Judge


class Turn:
    """One turn of a conversation, rendered as HTML in a notebook.

    Attributes:
        result: The router's result.
    """

    def __init__(self, result: RouterResult) -> None:
        self.result = result

    def __repr__(self) -> str:
        return self.result.text

    def _repr_html_(self) -> str:
        paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in self.result.text.split("\n") if part.strip())
        return f"<div>{paragraphs}<p><small>{html.escape(origin(self.result))}</small></p></div>"


class Chat:
    """A conversation with Taleward's tools, in one thread.

    Call it with the user's words to get an answer. In a notebook the answer appears sentence by sentence, as the judge
    releases it. With `folder=` the thread is stored, and you can continue it another day.

    Args:
        model: A model that calls tools, such as `openai:gpt-5-mini`: it then selects tools and writes the stories.
            `None` uses the embedded models only.
        judge: A judge, or a judge's spec.
        policy: The policy, if `judge` is a spec.
        band: The age band, if `judge` is a spec.
        role: Whose tools may be called: `child`, `parent` or `staff`.
        folder: Where threads are stored; `None` keeps them in memory.
        ttl_s: Seconds after its last use until a stored thread is deleted; `None` keeps all threads.
        thread: The thread's name.
        toolbox_options: Further arguments for `Toolbox`, such as `seed`, `memory` and `statistics`.
        options: Options for the model, see `chat_model`.
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
        toolbox_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        writer = None if model is None else chat_model(model, **options)
        # A completion model can write stories, but not select tools.
        tool_caller = writer if writer is not None and capabilities(writer).follows_instructions else None
        resolved_judge = judge if isinstance(judge, Judge) else make_judge(judge, policy=policy, band=band)
        writer_option = {"writer": writer} if writer is not None else {}
        toolbox = Toolbox(resolved_judge, **{**writer_option, **(toolbox_options or {})})
        self.thread = thread
        self.threads = None if folder is None else Threads(Path(folder) / "threads.db", ttl_s=ttl_s)
        self.router = Router(
            story_tools(toolbox),
            resolved_judge,
            model=tool_caller,
            role=role,
            threads=self.threads or _in_memory_threads(),
        )

    def __call__(self, words: str) -> Turn:
        """Answer the user's words; in a notebook the answer is shown while it arrives."""
        display = _notebook_display()
        turn: Turn | None = None
        text = ""
        for event in self.stream(words):
            if isinstance(event, RouterResultEvent):
                turn = Turn(event.result)
            elif display is not None:
                text = text[: event.start] + (event.text if isinstance(event, TextEvent) else "")
                display.update({"text/plain": text}, raw=True)
        if turn is None:
            msg = "the turn ended without a RouterResultEvent"
            raise RuntimeError(msg)
        if display is not None:
            # The notebook renders the returned turn, so the text shown meanwhile is cleared.
            display.update({"text/plain": "", "text/html": ""}, raw=True)
        return turn

    def stream(self, words: str) -> Iterator[TurnEvent]:
        """Yield the answer as events; an interrupted earlier turn is ended first."""
        return self.router.stream(words, thread=self.thread)

    def history(self) -> list[tuple[str, str]]:
        """Return the conversation so far as pairs of speaker (`you` or `taleward`) and text."""
        return [
            ("you" if isinstance(message, HumanMessage) else "taleward", str(message.text))
            for message in self._state().get("messages", ())
            if isinstance(message, HumanMessage | AIMessage) and message.text.strip()
        ]

    def cast(self) -> CastSheet:
        """Return the characters and the setting of the thread's story."""
        return CastSheet.model_validate(self._state().get("cast") or {})

    def _state(self) -> Mapping[str, Any]:
        values: Mapping[str, Any] = self.router.agent.get_state({"configurable": {"thread_id": self.thread}}).values
        return values


def origin(result: RouterResult) -> str:
    """Return one line that says which tools answered a request, and which strategy selected them."""
    tool_names = ", ".join(call.tool for call in result.calls) or "no tool"
    score = result.selection.scores.get(result.tool or "")
    probability = f" ({score:.2f})" if score is not None else ""
    strategy = result.strategy or "no strategy"
    return f"{result.outcome} | {tool_names} by {strategy}{probability} | {result.duration_s:.1f} s"


def _in_memory_threads() -> Any:
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()


def _notebook_display() -> Any:
    """Return a display handle in a notebook, `None` elsewhere."""
    import sys

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if type(shell).__name__ != "ZMQInteractiveShell":
        return None
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    return display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call,unused-ignore]

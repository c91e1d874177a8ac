"""What became of a request, and the events on the way there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.messages import AIMessage, ToolMessage
from pydantic import Field

from taleward.agents.middleware.messages import CHOICE, STOPPED, this_turn
from taleward.agents.routing.strategy import ToolSelection
from taleward.core.events import RetractionEvent, TextEvent
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.moderation.chat.messages import MARK, is_refusal

Outcome = Literal["answered", "asked", "unavailable", "refused", "stopped", "approval"]


class ToolUse(FrozenModel):
    """A call of a tool.

    Attributes:
        tool: Its name.
        args: Its arguments.
        status: `success`, `error`, or `open` where it has no answer yet.
    """

    tool: str
    args: FrozenDict[str, Any] = FrozenDict()
    status: Literal["success", "error", "open"] = "open"


class RouterResult(FrozenModel):
    """What became of a request.

    Attributes:
        outcome: `answered`; `asked` one clarifying question; `unavailable`: no tool is for it, or none that this role
            may call; `refused` by the guard; `stopped` by a budget; `approval`: a person must approve of a call first.
        text: All that was shown: judged, or fixed words of the program.
        choice: Which tool it went to, by which way and with which scores.
        calls: The tools that were called, in order.
        thread: The thread's name, `None` where none is kept.
        steps: Calls of the model.
        duration_s: From request to answer.
        detail: Which budget ended it.
    """

    outcome: Outcome
    text: str
    choice: ToolSelection = ToolSelection()
    calls: tuple[ToolUse, ...] = ()
    thread: str | None = None
    steps: int = 0
    duration_s: float = Field(default=0.0, ge=0.0)
    detail: str = ""

    @property
    def tool(self) -> str | None:
        """The tool that was called first, `None` where none was."""
        return self.calls[0].tool if self.calls else self.choice.tool

    @property
    def by(self) -> str | None:
        """The way that decided."""
        return self.choice.by


class RouterResultEvent(FrozenModel):
    """The last event of a turn.

    Attributes:
        routed: What `invoke` would have returned.
    """

    type: Literal["routed"] = "routed"
    routed: RouterResult


TurnEvent = TextEvent | RetractionEvent | RouterResultEvent
"""Any of a turn's events."""


def routed_from(
    state: Mapping[str, Any], text: str, thread: str | None, *, waits: bool, duration_s: float
) -> RouterResult:
    """What became of the last turn in an agent's state.

    Args:
        state: The state.
        text: What was shown.
        thread: The thread's name.
        waits: Whether a call waits for approval.
        duration_s: From request to answer.
    """
    turn = this_turn(state.get("messages") or ())
    answers = [m for m in turn if isinstance(m, AIMessage)]
    last = answers[-1] if answers else AIMessage("")
    noted: dict[str, Any] = next(
        (m.response_metadata[CHOICE] for m in reversed(answers) if CHOICE in m.response_metadata), {}
    )
    status = {m.tool_call_id: m.status for m in turn if isinstance(m, ToolMessage)}
    choice, detail = ToolSelection.model_validate(noted), str(last.response_metadata.get(STOPPED, ""))
    outcome: Outcome = "answered"
    if waits:
        outcome = "approval"
    elif detail:
        outcome = "stopped"
    elif is_refusal(last):
        outcome = "refused"
    elif choice.question:
        outcome = "asked"
    elif choice.said:
        outcome = "unavailable"
    return RouterResult(
        outcome=outcome,
        text=text.strip(),
        choice=choice,
        calls=tuple(
            ToolUse(tool=call["name"], args=FrozenDict(call["args"]), status=status.get(call["id"] or "", "open"))
            for answer in answers
            for call in answer.tool_calls
        ),
        thread=thread,
        steps=sum(not (m.response_metadata.get(MARK) or {"fixed": True}).get("fixed") for m in answers),
        duration_s=duration_s,
        detail=detail,
    )

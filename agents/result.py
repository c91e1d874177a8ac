"""The router's result, and the events of a turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.messages import AIMessage, ToolMessage
from pydantic import Field

from taleward.agents.middleware.turn_messages import SELECTION, STOPPED, current_turn
from taleward.agents.routing.strategy import ToolSelection
from taleward.core.events import RetractionEvent, TextEvent
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.moderation.chat.messages import MARK, is_refusal

TurnOutcome = Literal["answered", "asked", "unavailable", "refused", "stopped", "approval"]


class ToolUse(FrozenModel):
    """A tool call.

    Attributes:
        tool: The tool's name.
        args: Its arguments.
        status: `success`, `error`, or `open` if it has no result yet.
    """

    tool: str
    args: FrozenMapping[str, Any] = FrozenDict()
    status: Literal["success", "error", "open"] = "open"


class RouterResult(FrozenModel):
    """The result of a request.

    Attributes:
        outcome: `answered`; `asked`: the router asked a clarifying question; `unavailable`: no tool fits the request,
            or none that the role may call; `refused` by the guard; `stopped` by a limit; `approval`: a tool call waits
            for a person's approval.
        text: The text that was shown: judged, or fixed words of this program.
        selection: The tool selected for the request, with every strategy's attempt and scores.
        calls: The tool calls, in order.
        thread: The thread's name; `None` if threads are not stored.
        steps: Number of model calls.
        duration_s: Seconds from the request to the end of the answer.
        detail: The limit that stopped the turn: `steps`, `tokens`, `loop` or `timeout`.
    """

    outcome: TurnOutcome
    text: str
    selection: ToolSelection = ToolSelection()
    calls: tuple[ToolUse, ...] = ()
    thread: str | None = None
    steps: int = 0
    duration_s: float = Field(default=0.0, ge=0.0)
    detail: str = ""

    @property
    def tool(self) -> str | None:
        """The tool that was called first, `None` if none was."""
        return self.calls[0].tool if self.calls else self.selection.tool

    @property
    def strategy(self) -> str | None:
        """What selected the tool: a strategy's name, `model` or `answer`; `None` if every strategy was unsure."""
        return self.selection.strategy


class RouterResultEvent(FrozenModel):
    """The last event of a turn.

    Attributes:
        result: What `invoke` would have returned.
    """

    type: Literal["routed"] = "routed"
    result: RouterResult


TurnEvent = TextEvent | RetractionEvent | RouterResultEvent
"""Any event of a turn."""


def result_from_state(
    state: Mapping[str, Any], text: str, thread: str | None, *, awaits_approval: bool, duration_s: float
) -> RouterResult:
    """Build the result of the last turn from an agent's state.

    Args:
        state: The agent's state.
        text: The text that was shown.
        thread: The thread's name.
        awaits_approval: Whether a tool call waits for approval.
        duration_s: Seconds from the request to the end of the answer.
    """
    turn = current_turn(state.get("messages") or ())
    model_messages = [m for m in turn if isinstance(m, AIMessage)]
    last = model_messages[-1] if model_messages else AIMessage("")
    selection_json: dict[str, Any] = next(
        (m.response_metadata[SELECTION] for m in reversed(model_messages) if SELECTION in m.response_metadata), {}
    )
    status = {m.tool_call_id: m.status for m in turn if isinstance(m, ToolMessage)}
    selection, limit = ToolSelection.model_validate(selection_json), str(last.response_metadata.get(STOPPED, ""))
    outcome: TurnOutcome = "answered"
    if awaits_approval:
        outcome = "approval"
    elif limit:
        outcome = "stopped"
    elif is_refusal(last):
        outcome = "refused"
    elif selection.question:
        outcome = "asked"
    elif selection.reply:
        outcome = "unavailable"
    return RouterResult(
        outcome=outcome,
        text=text.strip(),
        selection=selection,
        calls=tuple(
            ToolUse(tool=call["name"], args=FrozenDict(call["args"]), status=status.get(call["id"] or "", "open"))
            for message in model_messages
            for call in message.tool_calls
        ),
        thread=thread,
        # Messages without a mark, or with a fixed one, did not come from a model.
        steps=sum(not (m.response_metadata.get(MARK) or {"fixed": True}).get("fixed") for m in model_messages),
        duration_s=duration_s,
        detail=limit,
    )

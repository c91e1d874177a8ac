"""The state of an agent's thread: messages, the text told last, and the cast of its story."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from langchain.agents import AgentState


# A reducer lets two tools of one step write the same channel; without one LangGraph raises an error.
def _latest(_old: Any, new: Any) -> Any:
    return new


class TaleState(AgentState[Any]):
    """Agent state of a thread: the messages, the text told last, and the cast of its story."""

    tale: NotRequired[Annotated[str, _latest]]
    cast: NotRequired[Annotated[dict[str, Any], _latest]]

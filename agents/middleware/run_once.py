"""A note of every call that must not run twice: written before it runs, and with its answer after."""

from __future__ import annotations

import time
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.types import Command

from taleward.agents.threads.checkpointer import Threads

_UNFINISHED = (
    "This call was begun before the program was stopped, and nobody knows how far it came. It is not run again; ask "
    "the reader whether it was done."
)


class CallLog:
    """Calls by thread and id, in the file of the threads.

    Args:
        threads: The threads that the calls belong to.
    """

    def __init__(self, threads: Threads) -> None:
        self._database, self._serde = threads.database, threads.serde

    def begin(self, thread: str, message: str, call: str, tool: str) -> ToolMessage | Command[Any] | None:
        """Note that a call begins; `None` where it may, else what came of it the first time.

        Args:
            thread: The thread's name.
            message: The id of the message that makes the call.
            call: The call's id.
            tool: The tool's name.
        """
        key = (thread, f"{message} {call}")
        with self._database.writing() as connection:
            ask = "SELECT type, data FROM calls WHERE thread = ? AND id = ?"
            found = connection.execute(ask, key).fetchone()
            if found is None:
                statement = "INSERT INTO calls (thread, id, begun) VALUES (?, ?, ?)"
                connection.execute(statement, (*key, time.time()))
                return None
        if found[0] is None:
            return ToolMessage(_UNFINISHED, tool_call_id=call, name=tool, status="error")
        kept = self._serde.loads_typed(found)
        return Command(update=kept) if isinstance(kept, dict) else kept

    def end(self, thread: str, message: str, call: str, result: ToolMessage | Command[Any]) -> None:
        """Note what came of it."""
        kept = self._serde.dumps_typed(result.update if isinstance(result, Command) else result)
        with self._database.writing() as connection:
            statement = "UPDATE calls SET type = ?, data = ? WHERE thread = ? AND id = ?"
            connection.execute(statement, (*kept, thread, f"{message} {call}"))

"""Log of tool calls that must not run twice: recorded before a call runs, and completed with its result."""

from __future__ import annotations

import time
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.types import Command

from taleward.agents.threads.checkpointer import Threads

_UNFINISHED = (
    "This call started before the program was stopped, and it is unknown whether it completed. It will not run again; "
    "ask the reader whether it was done."
)


class CallLog:
    """Tool calls by thread and id, stored with the threads.

    Args:
        threads: The threads that the calls belong to.
    """

    def __init__(self, threads: Threads) -> None:
        self._database, self._serde = threads.database, threads.serde

    def begin(self, thread: str, message: str, call: str, tool: str) -> ToolMessage | Command[Any] | None:
        """Record that a call starts, if it has not started before.

        Args:
            thread: The thread's name.
            message: The id of the message that contains the call.
            call: The call's id.
            tool: The tool's name.

        Returns:
            `None` if the call may run; else the result of its first run, or an error message if that was interrupted.
        """
        key = (thread, f"{message} {call}")
        # Two processes that resume the same thread cannot both insert the row, so they cannot both run the call.
        with self._database.writing() as connection:
            statement = "INSERT INTO calls (thread, id, begun) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING id"
            if connection.execute(statement, (*key, time.time())).fetchone() is not None:
                return None
            row = connection.execute("SELECT type, data FROM calls WHERE thread = ? AND id = ?", key).fetchone()
        if row[0] is None:
            return ToolMessage(_UNFINISHED, tool_call_id=call, name=tool, status="error")
        stored = self._serde.loads_typed(row)
        return Command(update=stored) if isinstance(stored, dict) else stored

    def end(self, thread: str, message: str, call: str, result: ToolMessage | Command[Any]) -> None:
        """Record a call's result.

        Args:
            thread: The thread's name.
            message: The id of the message that contains the call.
            call: The call's id.
            result: What the tool returned.
        """
        type_, data = self._serde.dumps_typed(result.update if isinstance(result, Command) else result)
        with self._database.writing() as connection:
            statement = "UPDATE calls SET type = ?, data = ? WHERE thread = ? AND id = ?"
            connection.execute(statement, (type_, data, thread, f"{message} {call}"))

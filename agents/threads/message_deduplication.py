"""Rows for the values of threads: each message is stored once, however many checkpoints contain it.

A list is stored as a chain of items that grows at its end; a longer version of the list shares the chain up to the
first difference. A thread therefore takes the space of its messages, not of all versions of its message list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from taleward.stores.sql import SqlConnection

_CHAIN = """
WITH RECURSIVE chain (id, before, place, body) AS (
    SELECT id, before, place, body FROM items WHERE id = ?
    UNION ALL SELECT items.id, items.before, items.place, items.body FROM items JOIN chain ON items.id = chain.before
)
SELECT chain.id, {} FROM chain JOIN bodies ON bodies.id = chain.body ORDER BY chain.place
"""


class ThreadRows:
    """The values of one thread, within one transaction.

    Args:
        connection: The database connection.
        serde: Serializer for the values.
        thread: The thread's id in the table `threads`.
    """

    def __init__(self, connection: SqlConnection, serde: SerializerProtocol, thread: int) -> None:
        self._connection, self._serde, self._thread = connection, serde, thread

    def store(self, value: Any, previous_item: int = 0) -> tuple[str, int]:
        """Store a value.

        Args:
            value: Any value of a channel.
            previous_item: The id of the last item of a list that `value` may share its beginning with; 0 for none.

        Returns:
            The value's kind (`one` or `list`) and the id to load it by.
        """
        # An exact check: the items of a list subclass would come back as a plain list.
        if type(value) is not list:
            return "one", self._store_body(*self._serialize(value))
        return "list", self._store_list([self._serialize(item) for item in value], previous_item)

    def load(self, kind: str, ref: int) -> Any:
        """Return the stored value with the given kind and id."""
        if kind == "list":
            rows = self._connection.execute(_CHAIN.format("bodies.type, bodies.data"), (ref,))
            return [self._serde.loads_typed((type_, data)) for _, type_, data in rows]
        row = self._connection.execute("SELECT type, data FROM bodies WHERE id = ?", (ref,)).fetchone()
        return self._serde.loads_typed(row)

    def load_channels(self, rows: Sequence[tuple[str, str, int]]) -> Iterator[tuple[str, Any]]:
        """Yield channel names and values from channel names, kinds and ids; channels that were emptied are skipped."""
        for channel, kind, ref in rows:
            if kind != "empty":
                yield channel, self.load(kind, ref)

    def _serialize(self, value: Any) -> tuple[bytes, str, bytes]:
        """Return the hash, type and bytes of a value."""
        type_, data = self._serde.dumps_typed(value)
        # The type is hashed too: the same bytes of another type are another value.
        return hashlib.blake2b(data, digest_size=16, person=type_.encode()[:16]).digest(), type_, data

    def _store_list(self, items: Sequence[tuple[bytes, str, bytes]], previous_item: int) -> int:
        last = shared = 0
        query = _CHAIN.format("bodies.hash")
        chain = self._connection.execute(query, (previous_item,)).fetchall() if previous_item else []
        for (id_, stored_hash), (hash_, _, _) in zip(chain, items, strict=False):
            if stored_hash != hash_:
                break
            last, shared = id_, shared + 1
        for place, item in enumerate(items[shared:], shared + 1):
            last = self._insert("items (thread, before, place, body)", last, place, self._store_body(*item))
        return last

    def _store_body(self, hash_: bytes, type_: str, data: bytes) -> int:
        query = "SELECT id FROM bodies WHERE thread = ? AND hash = ?"
        # Bodies are shared within a thread only, so deleting a thread never needs to count references.
        row = self._connection.execute(query, (self._thread, hash_)).fetchone()
        if row is not None:
            return int(row[0])
        return self._insert("bodies (thread, hash, type, data)", hash_, type_, data)

    def _insert(self, columns: str, *values: Any) -> int:
        statement = f"INSERT INTO {columns} VALUES (?, ?, ?, ?) RETURNING id"  # noqa: S608  constants
        return int(self._connection.execute(statement, (self._thread, *values)).fetchone()[0])

"""How threads lie in their file: each message once, however many checkpoints hold it.

A list is a chain of items that grows at its end; a longer version of it shares the chain up to where they part. So a
thread takes the room of its messages, and not that of all its versions.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

SCHEMA = """
CREATE TABLE threads (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, begun REAL NOT NULL, used REAL NOT NULL);
CREATE INDEX threads_by_use ON threads (used);
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY, thread INTEGER NOT NULL REFERENCES threads ON DELETE CASCADE,
    hash BLOB NOT NULL, type TEXT NOT NULL, data BLOB NOT NULL
);
CREATE UNIQUE INDEX bodies_by_hash ON bodies (thread, hash);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, thread INTEGER NOT NULL REFERENCES threads ON DELETE CASCADE,
    before INTEGER NOT NULL, place INTEGER NOT NULL, body INTEGER NOT NULL
);
CREATE INDEX items_by_thread ON items (thread);
CREATE TABLE checkpoints (
    thread INTEGER NOT NULL REFERENCES threads ON DELETE CASCADE, ns TEXT NOT NULL, id TEXT NOT NULL,
    parent TEXT, type TEXT NOT NULL, data BLOB NOT NULL, metadata BLOB NOT NULL, PRIMARY KEY (thread, ns, id)
) WITHOUT ROWID;
CREATE TABLE states (
    thread INTEGER NOT NULL REFERENCES threads ON DELETE CASCADE, ns TEXT NOT NULL, channel TEXT NOT NULL, version,
    kind TEXT NOT NULL, ref INTEGER NOT NULL, PRIMARY KEY (thread, ns, channel, version)
) WITHOUT ROWID;
CREATE TABLE writes (
    thread INTEGER NOT NULL REFERENCES threads ON DELETE CASCADE, ns TEXT NOT NULL, checkpoint TEXT NOT NULL,
    task TEXT NOT NULL, idx INTEGER NOT NULL, path TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL,
    ref INTEGER NOT NULL, PRIMARY KEY (thread, ns, checkpoint, task, idx)
) WITHOUT ROWID;
CREATE TABLE calls (
    thread TEXT NOT NULL, id TEXT NOT NULL, begun REAL NOT NULL, type TEXT, data BLOB, PRIMARY KEY (thread, id)
) WITHOUT ROWID
"""
VERSION = 1
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
        connection: The file.
        serde: Makes bytes of values, and values of bytes.
        thread: The thread's number.
    """

    def __init__(self, connection: sqlite3.Connection, serde: SerializerProtocol, thread: int) -> None:
        self._connection, self._serde, self._thread = connection, serde, thread

    def keep(self, value: Any, like: int = 0) -> tuple[str, int]:
        """Keep a value; its kind and number.

        Args:
            value: Any value of a channel.
            like: The last item of a list that may begin alike, 0 for none.
        """
        if type(value) is not list:
            return "one", self._body(*self._packed(value))
        return "list", self._list([self._packed(item) for item in value], like)

    def value(self, kind: str, ref: int) -> Any:
        """A value that was kept."""
        if kind == "list":
            rows = self._connection.execute(_CHAIN.format("bodies.type, bodies.data"), (ref,))
            return [self._serde.loads_typed((type_, data)) for _, type_, data in rows]
        found = self._connection.execute("SELECT type, data FROM bodies WHERE id = ?", (ref,)).fetchone()
        return self._serde.loads_typed(found)

    def values(self, rows: Sequence[tuple[str, str, int]]) -> Iterator[tuple[str, Any]]:
        """Names and values, from names, kinds and numbers; a channel that was emptied is left out."""
        for name, kind, ref in rows:
            if kind != "empty":
                yield name, self.value(kind, ref)

    def _packed(self, value: Any) -> tuple[bytes, str, bytes]:
        type_, data = self._serde.dumps_typed(value)
        return hashlib.blake2b(data, digest_size=16, person=type_.encode()[:16]).digest(), type_, data

    def _list(self, items: Sequence[tuple[bytes, str, bytes]], like: int) -> int:
        last = place = 0
        chain = self._connection.execute(_CHAIN.format("bodies.hash"), (like,)).fetchall() if like else []
        for (id_, hash_), (wanted, _, _) in zip(chain, items, strict=False):
            if hash_ != wanted:
                break
            last, place = id_, place + 1
        for packed in items[place:]:
            place += 1
            statement = "INSERT INTO items (thread, before, place, body) VALUES (?, ?, ?, ?)"
            cursor = self._connection.execute(statement, (self._thread, last, place, self._body(*packed)))
            last = cursor.lastrowid or 0
        return last

    def _body(self, hash_: bytes, type_: str, data: bytes) -> int:
        ask = "SELECT id FROM bodies WHERE thread = ? AND hash = ?"
        found = self._connection.execute(ask, (self._thread, hash_)).fetchone()
        if found is not None:
            return int(found[0])
        statement = "INSERT INTO bodies (thread, hash, type, data) VALUES (?, ?, ?, ?)"
        return self._connection.execute(statement, (self._thread, hash_, type_, data)).lastrowid or 0

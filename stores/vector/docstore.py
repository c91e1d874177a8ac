"""The document database of a FAISS store: texts and metadata by slot, and which index file belongs to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.frozen_model import FrozenModel
from taleward.stores.sqlite import SqliteDatabase
from taleward.stores.vector.faiss_index import Kind
from taleward.stores.vector.filters import Filter, to_sql
from taleward.stores.vector.rows import Row, VectorRows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Slots = npt.NDArray[np.int64]

_VERSION = 1
_SCHEMA = """
CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE documents (
    slot INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, metadata TEXT NOT NULL,
    expires REAL
);
CREATE INDEX documents_by_end ON documents (expires) WHERE expires IS NOT NULL
"""


class State(FrozenModel):
    """What a committed store consists of.

    Attributes:
        fingerprint: The model behind the vectors.
        dimensions: Numbers in a vector.
        kind: The index's kind.
        generation: Rises with every save.
        file: The index file's name in the folder.
        sha256: The index file's SHA-256.
    """

    fingerprint: str
    dimensions: int
    kind: Kind
    generation: int
    file: str
    sha256: str


class Documents:
    """Documents by slot. A slot is a number that is never given twice.

    All changes since the last `commit` are one transaction, which a kill undoes.

    Args:
        path: The file, or `None` to keep them in memory.
        clock: Seconds since the epoch; a document past its time is not given, even before it is deleted.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.database = SqliteDatabase(
            path or Path(":memory:"), schema=_SCHEMA, version=_VERSION, kind="document database of a FAISS store"
        )

    def state(self) -> tuple[State | None, bytes]:
        """The committed state, and the slots by position as int64 bytes."""
        with self.database.reading() as connection:
            rows = dict(connection.execute("SELECT name, value FROM state").fetchall())
        return (State.model_validate_json(rows["state"]), rows["slots"]) if "state" in rows else (None, b"")

    def set_state(self, state: State, slots: bytes) -> None:
        """Set both, as a part of the open transaction."""
        with self.database.reading() as connection:
            rows = [("state", state.model_dump_json()), ("slots", slots)]
            connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", rows)

    def version(self) -> int:
        """A number that changes when another process commits."""
        with self.database.reading() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])

    def total(self) -> int:
        """Documents."""
        living = "SELECT count(*) FROM documents WHERE (expires IS NULL OR expires > ?)"
        with self.database.reading() as connection:
            return int(connection.execute(living, (self._clock(),)).fetchone()[0])

    def insert(self, rows: VectorRows) -> int:
        """Insert rows whose ids are not there.

        Returns:
            The first one's slot; the others follow.
        """
        with self.database.reading() as connection:
            found = connection.execute("SELECT value FROM state WHERE name = 'next'").fetchone()
            first = int(found[0]) if found else 1
            connection.execute("INSERT OR REPLACE INTO state VALUES ('next', ?)", (first + len(rows.ids),))
            encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
            columns: list[Iterable[Any]] = [count(first), rows.ids, rows.texts]
            marks = ["?", "?", "?", "'{}'", "NULL"]  # what all rows share is written once: a third of the time
            if rows.metadatas is not None:
                columns.append(encode(dict(m)) if m else "{}" for m in rows.metadatas)
                marks[3] = "?"
            if rows.expires is not None:
                columns.append(rows.expires)
                marks[4] = "?"
            # A hundred rows a statement: two thirds of the time.
            values, size = list(chain.from_iterable(zip(*columns, strict=False))), marks.count("?")
            whole = len(values) - len(values) % (100 * size)
            for rows_each, start, end in ((100, 0, whole), (1, whole, len(values))):
                lines = ", ".join([f"({', '.join(marks)})"] * rows_each)
                step = rows_each * size
                connection.executemany(
                    f"INSERT INTO documents VALUES {lines}",  # noqa: S608  only placeholders
                    (values[at : at + step] for at in range(start, end, step)),
                )
        return int(first)

    def delete(self, slots: Iterable[int]) -> None:
        """Delete documents by slot."""
        with self.database.reading() as connection:
            connection.executemany("DELETE FROM documents WHERE slot = ?", ((int(slot),) for slot in slots))

    def slots_of(self, ids: Sequence[str]) -> list[int]:
        """The slots of those ids that are there."""
        return [row[0] for row in self.database.select_in("SELECT slot FROM documents WHERE id IN ({})", ids)]

    def expired(self) -> list[int]:
        """The slots of documents whose time is over."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT slot FROM documents WHERE expires <= ?", (self._clock(),)).fetchall()
        return [row[0] for row in rows]

    def by_id(self, ids: Sequence[str]) -> dict[str, Row]:
        """The documents that are there."""
        living = "SELECT id, text, metadata FROM documents WHERE (expires IS NULL OR expires > ?) AND id IN ({})"
        return {row[0]: _row(*row) for row in self.database.select_in(living, ids, self._clock())}

    def by_slot(self, slots: Sequence[int]) -> dict[int, Row]:
        """The documents that are there."""
        living = (
            "SELECT slot, id, text, metadata FROM documents WHERE (expires IS NULL OR expires > ?) AND slot IN ({})"
        )
        return {row[0]: _row(*row[1:]) for row in self.database.select_in(living, slots, self._clock())}

    def after(self, slot: int, size: int) -> tuple[list[int], VectorRows]:
        """The next documents behind a slot, with their slots."""
        with self.database.reading() as connection:
            found = connection.execute(
                "SELECT slot, id, text, metadata, expires FROM documents"
                " WHERE (expires IS NULL OR expires > ?) AND slot > ? ORDER BY slot LIMIT ?",
                (self._clock(), slot, size),
            ).fetchall()
        slots, ids, texts, metadatas, expires = map(list, zip(*found, strict=True)) if found else ([], [], [], [], [])
        return slots, VectorRows(ids, texts, [json.loads(m) for m in metadatas], expires)

    def fitting(self, filter: Filter) -> Slots:
        """The slots of all documents that fit a filter, rising."""
        import numpy

        condition, parameters = to_sql(filter)
        with self.database.reading() as connection:
            rows = connection.execute(
                f"SELECT slot FROM documents WHERE (expires IS NULL OR expires > ?) AND {condition} ORDER BY slot",  # noqa: S608  only placeholders
                (self._clock(), *parameters),
            ).fetchall()
        return numpy.fromiter((row[0] for row in rows), dtype=numpy.int64, count=len(rows))


def _row(id: str, text: str, metadata: str) -> Row:
    held: dict[str, Any] = json.loads(metadata) if metadata != "{}" else {}
    return Row(id, text, held)

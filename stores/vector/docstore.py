"""The document database of a FAISS store: texts and metadata by slot, and the committed index file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.core.frozen_model import FrozenModel
from taleward.stores.sqlite import SqliteDatabase
from taleward.stores.vector.faiss_index import IndexKind
from taleward.stores.vector.filters import Filter, to_sql
from taleward.stores.vector.rows import DocumentRow, VectorRows

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
_ROWS_PER_STATEMENT = 100


class StoreState(FrozenModel):
    """The committed state of a FAISS store.

    Attributes:
        fingerprint: The fingerprint of the model behind the vectors.
        dimensions: The length of a vector.
        kind: The kind of index.
        generation: Increases with every save.
        file: The index file's name in the folder.
        sha256: The index file's SHA-256.
    """

    fingerprint: str
    dimensions: int
    kind: IndexKind
    generation: int
    file: str
    sha256: str


class Docstore:
    """Documents by slot, a number that is never reused.

    All changes since the last commit of `database` are one transaction, which a kill undoes. Expired documents are
    never returned, even before they are deleted.

    Args:
        path: The file; `None` keeps the documents in memory.
        clock: Returns seconds since the epoch.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.database = SqliteDatabase(
            path or Path(":memory:"), schema=_SCHEMA, version=_VERSION, kind="document database of a FAISS store"
        )

    def state(self) -> tuple[StoreState | None, bytes]:
        """Return the committed state, and the slots by index position as int64 bytes."""
        with self.database.reading() as connection:
            rows = dict(connection.execute("SELECT name, value FROM state").fetchall())
        return (StoreState.model_validate_json(rows["state"]), rows["slots"]) if "state" in rows else (None, b"")

    def set_state(self, state: StoreState, slots: bytes) -> None:
        """Set the state and the slots within the open transaction."""
        with self.database.reading() as connection:
            rows = [("state", state.model_dump_json()), ("slots", slots)]
            connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", rows)

    def data_version(self) -> int:
        """Return a number that changes when another process commits."""
        with self.database.reading() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])

    def count(self) -> int:
        """Return the number of documents."""
        statement = "SELECT count(*) FROM documents WHERE (expires IS NULL OR expires > ?)"
        with self.database.reading() as connection:
            return int(connection.execute(statement, (self._clock(),)).fetchone()[0])

    def insert(self, rows: VectorRows) -> int:
        """Insert rows whose ids are not in the database.

        Returns:
            The slot of the first row; the others follow.
        """
        with self.database.reading() as connection:
            next_slot = connection.execute("SELECT value FROM state WHERE name = 'next'").fetchone()
            first = int(next_slot[0]) if next_slot else 1
            connection.execute("INSERT OR REPLACE INTO state VALUES ('next', ?)", (first + len(rows.ids),))
            encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
            columns: list[Iterable[Any]] = [count(first), rows.ids, rows.texts]
            # Values that all rows share are literals in the statement, which saves a third of the time.
            placeholders = ["?", "?", "?", "'{}'", "NULL"]
            if rows.metadatas is not None:
                columns.append(encode(dict(m)) if m else "{}" for m in rows.metadatas)
                placeholders[3] = "?"
            if rows.expires is not None:
                columns.append(rows.expires)
                placeholders[4] = "?"
            # A hundred rows per statement save two thirds of the time; the rest is inserted one by one.
            # strict=False because `count` is infinite.
            values, row_size = list(chain.from_iterable(zip(*columns, strict=False))), placeholders.count("?")
            bulk_end = len(values) - len(values) % (_ROWS_PER_STATEMENT * row_size)
            for row_count, start, end in ((_ROWS_PER_STATEMENT, 0, bulk_end), (1, bulk_end, len(values))):
                row_placeholders = ", ".join([f"({', '.join(placeholders)})"] * row_count)
                step = row_count * row_size
                connection.executemany(
                    f"INSERT INTO documents VALUES {row_placeholders}",  # noqa: S608  only placeholders
                    (values[at : at + step] for at in range(start, end, step)),
                )
        return int(first)

    def delete(self, slots: Iterable[int]) -> None:
        """Delete documents by slot."""
        with self.database.reading() as connection:
            connection.executemany("DELETE FROM documents WHERE slot = ?", ((int(slot),) for slot in slots))

    def slots_for_ids(self, ids: Sequence[str]) -> list[int]:
        """Return the slots of documents by id; missing ids are left out."""
        return [row[0] for row in self.database.select_in("SELECT slot FROM documents WHERE id IN ({})", ids)]

    def expired_slots(self) -> list[int]:
        """Return the slots of expired documents."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT slot FROM documents WHERE expires <= ?", (self._clock(),)).fetchall()
        return [row[0] for row in rows]

    def by_id(self, ids: Sequence[str]) -> dict[str, DocumentRow]:
        """Return documents by id; missing ids are left out."""
        statement = "SELECT id, text, metadata FROM documents WHERE (expires IS NULL OR expires > ?) AND id IN ({})"
        return {row[0]: _document_row(*row) for row in self.database.select_in(statement, ids, self._clock())}

    def by_slot(self, slots: Sequence[int]) -> dict[int, DocumentRow]:
        """Return documents by slot; missing slots are left out."""
        statement = (
            "SELECT slot, id, text, metadata FROM documents WHERE (expires IS NULL OR expires > ?) AND slot IN ({})"
        )
        return {row[0]: _document_row(*row[1:]) for row in self.database.select_in(statement, slots, self._clock())}

    def batch_after(self, slot: int, size: int) -> tuple[list[int], VectorRows]:
        """Return the next `size` documents after a slot, with their slots."""
        with self.database.reading() as connection:
            rows = connection.execute(
                "SELECT slot, id, text, metadata, expires FROM documents"
                " WHERE (expires IS NULL OR expires > ?) AND slot > ? ORDER BY slot LIMIT ?",
                (self._clock(), slot, size),
            ).fetchall()
        slots, ids, texts, metadatas, expires = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [], [])
        return slots, VectorRows(ids, texts, [json.loads(m) for m in metadatas], expires)

    def matching_slots(self, filter: Filter) -> Slots:
        """Return the slots of all documents that match a filter, in ascending order."""
        import numpy

        condition, parameters = to_sql(filter)
        with self.database.reading() as connection:
            rows = connection.execute(
                f"SELECT slot FROM documents WHERE (expires IS NULL OR expires > ?) AND {condition} ORDER BY slot",  # noqa: S608  only placeholders
                (self._clock(), *parameters),
            ).fetchall()
        return numpy.fromiter((row[0] for row in rows), dtype=numpy.int64, count=len(rows))


def _document_row(id: str, text: str, metadata_json: str) -> DocumentRow:
    metadata: dict[str, Any] = json.loads(metadata_json) if metadata_json != "{}" else {}
    return DocumentRow(id, text, metadata)

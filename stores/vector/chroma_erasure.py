"""Erase deleted documents from the database file of a Chroma folder, where Chroma itself leaves them."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from taleward.core.errors import NotErased

_TIMEOUT_S = 5.0
_DELETE = 3
"""The number of a deletion in Chroma's log of operations."""


def erase_deleted(file: Path, collection_id: str) -> None:
    """Remove all that is left of the deleted documents of a collection: its log, full-text index and free pages.

    Chroma also leaves the index files of deleted collections, which are removed. The vectors of deleted documents in
    the index files of the collection itself are not touched.

    Args:
        file: Chroma's SQLite file.
        collection_id: The collection's id.

    Raises:
        NotErased: If another program keeps the file locked for five seconds.
    """
    try:
        with closing(sqlite3.connect(file, timeout=_TIMEOUT_S, isolation_level=None)) as db:
            db.execute("PRAGMA secure_delete=ON")
            db.execute("BEGIN IMMEDIATE")
            _erase_log(db, f"%/{collection_id}")
            # Merges the parts of the index, which drops the words of deleted documents.
            db.execute("INSERT INTO embedding_fulltext_search(embedding_fulltext_search) VALUES ('optimize')")
            db.execute("COMMIT")
            # Chroma's own deletions leave the bytes in pages that are now free.
            db.execute("VACUUM")
            _remove_orphaned_indexes(db, file.parent)
    except (sqlite3.Error, OSError) as error:
        raise NotErased(
            f"the documents are deleted, but {file} still contains their bytes: {error}.",
            hint="Delete them again when no other program is using the folder.",
        ) from error


def _erase_log(db: sqlite3.Connection, topic: str) -> None:
    """Remove the operations that created deleted documents from the log, from which Chroma rebuilds its index."""
    db.execute(
        "DELETE FROM embeddings_queue AS older WHERE topic LIKE ? AND operation != ? AND seq_id <"
        " (SELECT max(seq_id) FROM embeddings_queue WHERE topic = older.topic AND id = older.id AND operation = ?)",
        (topic, _DELETE, _DELETE),
    )
    [is_index_saved] = db.execute(
        "SELECT count(*) FROM max_seq_id JOIN segments ON segments.id = segment_id"
        " WHERE scope = 'VECTOR' AND ? LIKE '%' || collection",
        (topic,),
    ).fetchone()
    if not is_index_saved:
        # Nothing refers to these ids any more. The rows stay: the last one says which number comes next.
        db.execute("UPDATE embeddings_queue SET id = 'erased' WHERE topic LIKE ? AND operation = ?", (topic, _DELETE))


def _remove_orphaned_indexes(db: sqlite3.Connection, folder: Path) -> None:
    segments = {id_ for (id_,) in db.execute("SELECT id FROM segments")}
    for index in folder.iterdir():
        if _is_uuid(index.name) and (index / "header.bin").is_file() and index.name not in segments:
            shutil.rmtree(index)


def _is_uuid(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False

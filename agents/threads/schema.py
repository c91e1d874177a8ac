"""The tables of threads, in SQLite and in Postgres, and the statements that write to them, the same for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taleward.core.errors import ConfigurationError
from taleward.stores.postgres import PostgresDatabase
from taleward.stores.postgres_url import is_postgres_url
from taleward.stores.sql import SqlDatabase
from taleward.stores.sqlite import SqliteDatabase

_VERSION = 1
_KIND = "thread database"

_SQLITE_TABLES = """
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

# Ids and versions sort by byte, whatever the database's language.
_POSTGRES_TABLES = """
CREATE TABLE threads (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT NOT NULL UNIQUE, begun DOUBLE PRECISION NOT NULL,
    used DOUBLE PRECISION NOT NULL
);
CREATE INDEX threads_by_use ON threads (used);
CREATE TABLE bodies (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, thread BIGINT NOT NULL REFERENCES threads ON DELETE CASCADE,
    hash BYTEA NOT NULL, type TEXT NOT NULL, data BYTEA NOT NULL
);
CREATE UNIQUE INDEX bodies_by_hash ON bodies (thread, hash);
CREATE TABLE items (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, thread BIGINT NOT NULL REFERENCES threads ON DELETE CASCADE,
    before BIGINT NOT NULL, place INTEGER NOT NULL, body BIGINT NOT NULL
);
CREATE INDEX items_by_thread ON items (thread);
CREATE TABLE checkpoints (
    thread BIGINT NOT NULL REFERENCES threads ON DELETE CASCADE, ns TEXT NOT NULL, id TEXT COLLATE "C" NOT NULL,
    parent TEXT, type TEXT NOT NULL, data BYTEA NOT NULL, metadata TEXT NOT NULL, PRIMARY KEY (thread, ns, id)
);
CREATE TABLE states (
    thread BIGINT NOT NULL REFERENCES threads ON DELETE CASCADE, ns TEXT NOT NULL, channel TEXT NOT NULL,
    version TEXT COLLATE "C" NOT NULL, kind TEXT NOT NULL, ref BIGINT NOT NULL,
    PRIMARY KEY (thread, ns, channel, version)
);
CREATE TABLE writes (
    thread BIGINT NOT NULL REFERENCES threads ON DELETE CASCADE, ns TEXT NOT NULL, checkpoint TEXT NOT NULL,
    task TEXT NOT NULL, idx INTEGER NOT NULL, path TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL,
    ref BIGINT NOT NULL, PRIMARY KEY (thread, ns, checkpoint, task, idx)
);
CREATE TABLE calls (
    thread TEXT NOT NULL, id TEXT NOT NULL, begun DOUBLE PRECISION NOT NULL, type TEXT, data BYTEA,
    PRIMARY KEY (thread, id)
)
"""

PUT_STATE = (
    "INSERT INTO states VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (thread, ns, channel, version) DO UPDATE SET "
    "kind = excluded.kind, ref = excluded.ref"
)
PUT_CHECKPOINT = (
    "INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (thread, ns, id) DO UPDATE SET "
    "parent = excluded.parent, type = excluded.type, data = excluded.data, metadata = excluded.metadata"
)
ADD_WRITE = "INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
PUT_WRITE = (
    "INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (thread, ns, checkpoint, task, idx) DO UPDATE "
    "SET path = excluded.path, channel = excluded.channel, kind = excluded.kind, ref = excluded.ref"
)


def open_thread_database(location: Path | str, options: dict[str, Any]) -> SqlDatabase:
    """Open the database of threads in a file, or at a Postgres URL with options for `PostgresDatabase`."""
    if is_postgres_url(location):
        return PostgresDatabase(str(location), tables=_POSTGRES_TABLES, version=_VERSION, kind=_KIND, **options)
    if options:
        raise ConfigurationError(f"threads in a file have no {', '.join(sorted(options))}; only Postgres has.")
    return SqliteDatabase(Path(location), schema=_SQLITE_TABLES, version=_VERSION, kind=_KIND)

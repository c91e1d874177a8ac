"""LangGraph checkpointer that stores conversations in SQLite or Postgres, in the space of their messages."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from taleward.agents.threads.message_deduplication import ThreadRows
from taleward.agents.threads.schema import ADD_WRITE, PUT_CHECKPOINT, PUT_STATE, PUT_WRITE, open_thread_database
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.stores.sql import SqlConnection

T = TypeVar("T")
_SWEEP_INTERVAL_S = 60.0
_TRUNCATE_WAL_AFTER = 50
"""Checkpoints between truncations of SQLite's write-ahead log, which otherwise grows to 1,000 pages."""


class ThreadInfo(FrozenModel):
    """A stored thread.

    Attributes:
        name: Its name, LangGraph's `thread_id`.
        created_at: When it was created, in seconds since 1970.
        last_used_at: When something was last written to it, in seconds since 1970.
    """

    name: str
    created_at: float
    last_used_at: float


class Threads(BaseCheckpointSaver[str]):
    """LangGraph checkpoints in one SQLite file, or in Postgres: `create_agent(checkpointer=Threads(path))`.

    A message is stored once, however many checkpoints contain it. The checkpoints of all steps are kept, so you can go
    back to any of them. A killed process leaves the database intact, and several processes may use it at once; for
    processes on several machines, use Postgres.

    Values are stored as msgpack: plain data and LangChain's messages. Loading never runs pickle and creates no other
    classes, except those that a graph's state declares.

    Args:
        location: The file, created with its folder if missing; or `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, in
            which the tables are created in the schema `taleward` (extra `postgres`).
        ttl_s: Seconds after its last use until a thread is deleted, above 0; `None` keeps all threads.
        options: For Postgres: `schema`, `statement_timeout_s` (60) and `max_connections` of one process (8).

    Raises:
        ConfigurationError: If `ttl_s` or an option is out of range, or the server rejects the user.
        BackendError: If the server cannot be reached.
        IntegrityError: If the file is not a thread database, or is damaged.
        MissingExtra: If `location` is in Postgres, and psycopg is not installed.
    """

    def __init__(self, location: Path | str, *, ttl_s: float | None = None, **options: Any) -> None:
        # No pickle: whoever can write the database must not be able to run code in this process.
        super().__init__(serde=JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None))
        if ttl_s is not None and ttl_s <= 0:
            raise ConfigurationError(f"ttl_s must be above 0, or None to keep all threads; got {ttl_s}.")
        self.database = open_thread_database(location, options)
        self.ttl_s = ttl_s
        self._last_sweep, self._puts = 0.0, 0
        self.sweep()

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return the version that follows `current`; a random suffix keeps branches from one checkpoint apart."""
        return f"{int(current.partition('.')[0]) + 1 if current else 1:08}.{secrets.token_hex(4)}"

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint.

        Args:
            config: Names the thread, its namespace and the parent checkpoint.
            checkpoint: The checkpoint.
            metadata: Its metadata.
            new_versions: The channels that changed, with their new versions.

        Returns:
            A config that names the stored checkpoint.
        """
        name, ns = _thread_and_namespace(config)
        rest: dict[str, Any] = {k: v for k, v in checkpoint.items() if k != "channel_values"}
        metadata_json = json.dumps(get_checkpoint_metadata(config, metadata), ensure_ascii=False, default=str)
        if self.ttl_s is not None and time.time() - self._last_sweep > _SWEEP_INTERVAL_S:
            self.sweep()
        with self.database.writing() as connection:
            thread = _touch_thread(connection, name)
            rows = ThreadRows(connection, self.serde, thread)
            for channel, version in new_versions.items():
                kind, ref = "empty", 0
                if channel in checkpoint["channel_values"]:
                    value = checkpoint["channel_values"][channel]
                    previous_item = _newest_list(connection, thread, ns, channel) if isinstance(value, list) else 0
                    kind, ref = rows.store(value, previous_item)
                connection.execute(PUT_STATE, (thread, ns, channel, str(version), kind, ref))
            type_, data = self.serde.dumps_typed(rest)
            connection.execute(
                PUT_CHECKPOINT, (thread, ns, checkpoint["id"], get_checkpoint_id(config), type_, data, metadata_json)
            )
        self._puts += 1
        if self._puts % _TRUNCATE_WAL_AFTER == 0:
            self.database.truncate_log()
        return _config(name, ns, checkpoint["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's pending writes; existing ones are kept, except errors and interrupts, which are replaced."""
        name, ns = _thread_and_namespace(config)
        with self.database.writing() as connection:
            thread = _touch_thread(connection, name)
            rows = ThreadRows(connection, self.serde, thread)
            for number, (channel, value) in enumerate(writes):
                index = WRITES_IDX_MAP.get(channel, number)
                # LangGraph gives errors and interrupts negative indices.
                statement = ADD_WRITE if index >= 0 else PUT_WRITE
                kind, ref = rows.store(value)
                values = (thread, ns, get_checkpoint_id(config), task_id, index, task_path, channel, kind, ref)
                connection.execute(statement, values)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that a config names, or the thread's latest; `None` if there is none."""
        name, ns = _thread_and_namespace(config)
        with self.database.reading() as connection:
            thread = _thread_number(connection, name)
            if thread is None:
                return None
            checkpoint_id = get_checkpoint_id(config)
            condition, values = (
                (" AND id = ?", (checkpoint_id,)) if checkpoint_id else (" ORDER BY id DESC LIMIT 1", ())
            )
            columns = "id, parent, type, data, metadata"
            query = f"SELECT {columns} FROM checkpoints WHERE thread = ? AND ns = ?{condition}"  # noqa: S608  constants
            row = connection.execute(query, (thread, ns, *values)).fetchone()
            return None if row is None else self._checkpoint_tuple(connection, thread, name, ns, row)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield the checkpoints of a thread, or of all threads, newest first.

        Args:
            config: Names the thread, and optionally the namespace and the checkpoint; `None` for all threads.
            filter: Values that the metadata must have.
            before: A config; only checkpoints older than the one it names.
            limit: Maximum number of checkpoints.
        """
        configurable = (config or {}).get("configurable", {})
        columns = {"threads.name": "thread_id", "ns": "checkpoint_ns", "checkpoints.id": "checkpoint_id"}
        conditions = [
            (f"{column} = ?", configurable[key]) for column, key in columns.items() if configurable.get(key) is not None
        ]
        if before and (before_id := get_checkpoint_id(before)):
            conditions.append(("checkpoints.id < ?", before_id))
        where = " AND ".join(condition for condition, _ in conditions) or "TRUE"
        joined = "checkpoints JOIN threads ON threads.id = thread"
        query = f"SELECT name, ns, checkpoints.id, metadata FROM {joined} WHERE {where} ORDER BY checkpoints.id DESC"  # noqa: S608  constants
        with self.database.reading() as connection:
            rows = connection.execute(query, [value for _, value in conditions]).fetchall()
        remaining = len(rows) if limit is None else limit
        for name, ns, id_, metadata_json in rows:
            if remaining <= 0:
                return
            metadata = json.loads(metadata_json)
            if any(metadata.get(key) != value for key, value in (filter or {}).items()):
                continue
            # The lock is not held while the caller uses an item, so the checkpoint may have been deleted meanwhile.
            if (item := self.get_tuple(_config(name, ns, id_))) is not None:
                remaining -= 1
                yield item

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread and everything in it.

        The deleted data is overwritten in a file. A Postgres server overwrites it when it vacuums the tables, and keeps
        it in its log and its backups for as long as it keeps those.

        Raises:
            NotErased: If another program that is reading the file keeps the deleted bytes; call this again when it has
                finished.
        """
        self._delete_rows(thread_id)
        self.database.erase_deleted()

    def threads(self) -> Sequence[ThreadInfo]:
        """Return the stored threads, the most recently used first."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT name, begun, used FROM threads ORDER BY used DESC").fetchall()
        return [ThreadInfo(name=name, created_at=begun, last_used_at=used) for name, begun, used in rows]

    def sweep(self) -> int:
        """Delete expired threads and return their number; `put` does this about once a minute."""
        if self.ttl_s is None:
            return 0
        self._last_sweep = time.time()
        with self.database.reading() as connection:
            query = "SELECT name FROM threads WHERE used < ?"
            expired = [name for (name,) in connection.execute(query, (self._last_sweep - self.ttl_s,))]
        for name in expired:
            self._delete_rows(name, unused_since=self._last_sweep - self.ttl_s)
        if expired:
            self.database.truncate_log()
        return len(expired)

    def _delete_rows(self, name: str, unused_since: float = math.inf) -> None:
        with self.database.writing() as connection:
            # Another process may have used an expired thread meanwhile.
            connection.execute("DELETE FROM threads WHERE name = ? AND used < ?", (name, unused_since))
            # Calls refer to their thread by name, so the cascade does not reach them.
            statement = "DELETE FROM calls WHERE thread = ? AND NOT EXISTS (SELECT 1 FROM threads WHERE name = ?)"
            connection.execute(statement, (name, name))

    def close(self) -> None:
        """Close the file, or the connections; the next use opens them again."""
        self.database.close()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Async version of `put`."""
        return await _write_in_thread(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Async version of `put_writes`."""
        await _write_in_thread(lambda: self.put_writes(config, writes, task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Async version of `get_tuple`."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Async version of `list`."""
        items = self.list(config, filter=filter, before=before, limit=limit)
        while (item := await asyncio.to_thread(next, items, None)) is not None:
            yield item

    async def adelete_thread(self, thread_id: str) -> None:
        """Async version of `delete_thread`."""
        await _write_in_thread(lambda: self.delete_thread(thread_id))

    def _checkpoint_tuple(
        self, connection: SqlConnection, thread: int, name: str, ns: str, row: Any
    ) -> CheckpointTuple:
        id_, parent, type_, data, metadata_json = row
        rows = ThreadRows(connection, self.serde, thread)
        checkpoint = self.serde.loads_typed((type_, data))
        states_query = "SELECT kind, ref FROM states WHERE thread = ? AND ns = ? AND channel = ? AND version = ?"
        states = (
            (channel, *state)
            for channel, version in checkpoint["channel_versions"].items()
            if (state := connection.execute(states_query, (thread, ns, channel, str(version))).fetchone()) is not None
        )
        checkpoint["channel_values"] = dict(rows.load_channels(tuple(states)))
        writes_query = (
            "SELECT task, channel, kind, ref FROM writes WHERE thread = ? AND ns = ? AND checkpoint = ? "
            "ORDER BY path, task, idx"
        )
        writes = connection.execute(writes_query, (thread, ns, id_)).fetchall()
        return CheckpointTuple(
            config=_config(name, ns, id_),
            checkpoint=checkpoint,
            metadata=json.loads(metadata_json),
            parent_config=_config(name, ns, parent) if parent else None,
            pending_writes=[(task, channel, rows.load(kind, ref)) for task, channel, kind, ref in writes],
        )


async def _write_in_thread(write: Callable[[], T]) -> T:
    """Run a write in a thread; if canceled, wait for it to finish, so that it cannot land after a later write."""
    task = asyncio.ensure_future(asyncio.to_thread(write))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _thread_and_namespace(config: RunnableConfig) -> tuple[str, str]:
    configurable = config["configurable"]
    return str(configurable["thread_id"]), str(configurable.get("checkpoint_ns") or "")


def _config(name: str, ns: str, checkpoint: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name, "checkpoint_ns": ns, "checkpoint_id": checkpoint}}


def _thread_number(connection: SqlConnection, name: str) -> int | None:
    row = connection.execute("SELECT id FROM threads WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def _touch_thread(connection: SqlConnection, name: str) -> int:
    """Record that a thread is used, create it if missing, and return its number."""
    now = time.time()
    statement = (
        "INSERT INTO threads (name, begun, used) VALUES (?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET used = excluded.used RETURNING id"
    )
    return int(connection.execute(statement, (name, now, now)).fetchone()[0])


def _newest_list(connection: SqlConnection, thread: int, ns: str, channel: str) -> int:
    """Return the last item of the channel's newest list, 0 if there is none.

    It is a guess at what a new list begins with; a wrong guess costs disk space, nothing else.
    """
    query = (
        "SELECT ref FROM states WHERE thread = ? AND ns = ? AND channel = ? AND kind = 'list' "
        "ORDER BY version DESC LIMIT 1"
    )
    row = connection.execute(query, (thread, ns, channel)).fetchone()
    return 0 if row is None else int(row[0])

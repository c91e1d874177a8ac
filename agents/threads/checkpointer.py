"""Conversations that survive restarts, in one SQLite file that grows with what was said."""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
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

from taleward.agents.threads.rows import SCHEMA, VERSION, ThreadRows
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.stores.sqlite import SqliteDatabase

T = TypeVar("T")
_SWEEP_S = 60.0
_FORGET_AFTER = 50
"""Checkpoints after which SQLite's log is emptied: left alone it grows to 1,000 pages."""


class ThreadInfo(FrozenModel):
    """A thread that is kept.

    Attributes:
        name: Its name, LangGraph's `thread_id`.
        begun: When it was begun, in seconds since 1970.
        used: When something was last kept in it.
    """

    name: str
    begun: float
    used: float


class Threads(BaseCheckpointSaver[str]):
    """LangGraph's checkpoints in one SQLite file that a kill leaves whole: `create_agent(checkpointer=Threads(path))`.

    A message is kept once, however many checkpoints hold it. Checkpoints of every step stay, so that one can go back
    to any. What is kept is msgpack of plain data and LangChain's messages; no pickle, and no other classes are made
    when it is read, except those that a graph's own state declares. Several processes may use the file at once.

    Args:
        path: The file; it and its folder are made when missing.
        ttl_s: Seconds after which a thread that nobody used is deleted, above 0; `None` keeps all.

    Raises:
        ConfigurationError: `ttl_s` is out of range.
        IntegrityError: The file is something else, or damaged.
    """

    def __init__(self, path: Path | str, *, ttl_s: float | None = None) -> None:
        super().__init__(serde=JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None))
        if ttl_s is not None and ttl_s <= 0:
            raise ConfigurationError(f"ttl_s must be above 0, or None to keep all; got {ttl_s}.")
        self.database = SqliteDatabase(Path(path), schema=SCHEMA, version=VERSION, kind="file of threads")
        self.ttl_s = ttl_s
        self._swept, self._puts = 0.0, 0
        self.sweep()

    def get_next_version(self, current: str | None, channel: None) -> str:
        """The version after another one; two ways that part from one checkpoint have versions of their own."""
        return f"{int(current.partition('.')[0]) + 1 if current else 1:08}.{secrets.token_hex(4)}"

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint."""
        name, ns = _place(config)
        rest: dict[str, Any] = {k: v for k, v in checkpoint.items() if k != "channel_values"}
        about = json.dumps(get_checkpoint_metadata(config, metadata), ensure_ascii=False, default=str)
        if self.ttl_s is not None and time.time() - self._swept > _SWEEP_S:
            self.sweep()
        with self.database.writing() as connection:
            thread = _thread(connection, name)
            rows = ThreadRows(connection, self.serde, thread)
            for channel, version in new_versions.items():
                kind, ref = "empty", 0
                if channel in checkpoint["channel_values"]:
                    like = _newest_list(connection, thread, ns, channel)
                    kind, ref = rows.keep(checkpoint["channel_values"][channel], like)
                connection.execute(
                    "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?)", (thread, ns, channel, version, kind, ref)
                )
            connection.execute(
                "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
                (thread, ns, checkpoint["id"], get_checkpoint_id(config), *self.serde.dumps_typed(rest), about),
            )
        self._puts += 1
        if self._puts % _FORGET_AFTER == 0:
            self.database.truncate_log()
        return _config(name, ns, checkpoint["id"])

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task wrote for the next checkpoint; what it wrote before stays, save errors and interrupts."""
        name, ns = _place(config)
        with self.database.writing() as connection:
            thread = _thread(connection, name)
            rows = ThreadRows(connection, self.serde, thread)
            for number, (channel, value) in enumerate(writes):
                index = WRITES_IDX_MAP.get(channel, number)
                or_else = "IGNORE" if index >= 0 else "REPLACE"
                connection.execute(
                    f"INSERT OR {or_else} INTO writes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  two words
                    (
                        *(thread, ns, get_checkpoint_id(config), task_id, index, task_path, channel),
                        *rows.keep(value),
                    ),
                )

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a config names, or the thread's last one; `None` where there is none."""
        name, ns = _place(config)
        with self.database.reading() as connection:
            thread = _number(connection, name)
            if thread is None:
                return None
            asked = get_checkpoint_id(config)
            where, values = (" AND id = ?", (asked,)) if asked else (" ORDER BY id DESC LIMIT 1", ())
            statement = f"SELECT id, parent, type, data, metadata FROM checkpoints WHERE thread = ? AND ns = ?{where}"  # noqa: S608  fixed words
            row = connection.execute(statement, (thread, ns, *values)).fetchone()
            return None if row is None else self._tuple(connection, thread, name, ns, row)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """The checkpoints of a thread, or of all, newest first.

        Args:
            config: The thread, and where it names them the namespace and the checkpoint; `None` for all.
            filter: Values that the metadata must have.
            before: A config; only checkpoints older than its one.
            limit: How many at most.
        """
        told = (config or {}).get("configurable", {})
        wanted = {"threads.name": "thread_id", "ns": "checkpoint_ns", "checkpoints.id": "checkpoint_id"}
        conditions = [(f"{column} = ?", told[key]) for column, key in wanted.items() if told.get(key) is not None]
        if before and (last := get_checkpoint_id(before)):
            conditions.append(("checkpoints.id < ?", last))
        where = " AND ".join(condition for condition, _ in conditions) or "1"
        joined = "checkpoints JOIN threads ON threads.id = thread"
        statement = (
            f"SELECT name, ns, checkpoints.id, metadata FROM {joined} WHERE {where} ORDER BY checkpoints.id DESC"  # noqa: S608  fixed words
        )
        with self.database.reading() as connection:
            found = connection.execute(statement, [value for _, value in conditions]).fetchall()
        left = len(found) if limit is None else limit
        for name, ns, id_, about in found:
            if left <= 0:
                return
            metadata = json.loads(about)
            if any(metadata.get(key) != value for key, value in (filter or {}).items()):
                continue
            if (held := self.get_tuple(_config(name, ns, id_))) is not None:
                left -= 1
                yield held

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with all that it holds; what is deleted is overwritten on the disk."""
        with self.database.writing() as connection:
            connection.execute("DELETE FROM threads WHERE name = ?", (thread_id,))
            connection.execute("DELETE FROM calls WHERE thread = ?", (thread_id,))
        self.database.truncate_log()

    def threads(self) -> Sequence[ThreadInfo]:
        """The threads that are kept, the one last used first."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT name, begun, used FROM threads ORDER BY used DESC").fetchall()
        return [ThreadInfo(name=name, begun=begun, used=used) for name, begun, used in rows]

    def sweep(self) -> int:
        """Delete the threads whose time is over; how many those were. `put` does it about once a minute."""
        if self.ttl_s is None:
            return 0
        self._swept = time.time()
        with self.database.reading() as connection:
            ask = "SELECT name FROM threads WHERE used < ?"
            old = [name for (name,) in connection.execute(ask, (self._swept - self.ttl_s,))]
        for name in old:
            self.delete_thread(name)
        return len(old)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self.database.close()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `put`, without blocking the event loop."""
        return await _whole(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `put_writes`, without blocking the event loop."""
        await _whole(lambda: self.put_writes(config, writes, task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `get_tuple`, without blocking the event loop."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As `list`, without blocking the event loop."""
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (held := await asyncio.to_thread(next, found, None)) is not None:
            yield held

    async def adelete_thread(self, thread_id: str) -> None:
        """As `delete_thread`, without blocking the event loop."""
        await _whole(lambda: self.delete_thread(thread_id))

    def _tuple(self, connection: sqlite3.Connection, thread: int, name: str, ns: str, row: Any) -> CheckpointTuple:
        id_, parent, type_, data, about = row
        rows = ThreadRows(connection, self.serde, thread)
        checkpoint = self.serde.loads_typed((type_, data))
        ask = "SELECT kind, ref FROM states WHERE thread = ? AND ns = ? AND channel = ? AND version = ?"
        states = (
            (channel, *found)
            for channel, version in checkpoint["channel_versions"].items()
            if (found := connection.execute(ask, (thread, ns, channel, version)).fetchone()) is not None
        )
        checkpoint["channel_values"] = dict(rows.values(tuple(states)))
        ask = (
            "SELECT task, channel, kind, ref FROM writes WHERE thread = ? AND ns = ? AND checkpoint = ? "
            "ORDER BY path, task, idx"
        )
        writes = connection.execute(ask, (thread, ns, id_)).fetchall()
        return CheckpointTuple(
            config=_config(name, ns, id_),
            checkpoint=checkpoint,
            metadata=json.loads(about),
            parent_config=_config(name, ns, parent) if parent else None,
            pending_writes=[(task, channel, rows.value(kind, ref)) for task, channel, kind, ref in writes],
        )


async def _whole(work: Callable[[], T]) -> T:
    """What a write gives, done in a thread; a cancellation waits for it, so that no write comes after a later one."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _place(config: RunnableConfig) -> tuple[str, str]:
    told = config["configurable"]
    return str(told["thread_id"]), str(told.get("checkpoint_ns") or "")


def _config(name: str, ns: str, checkpoint: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name, "checkpoint_ns": ns, "checkpoint_id": checkpoint}}


def _number(connection: sqlite3.Connection, name: str) -> int | None:
    found = connection.execute("SELECT id FROM threads WHERE name = ?", (name,)).fetchone()
    return None if found is None else int(found[0])


def _thread(connection: sqlite3.Connection, name: str) -> int:
    """The thread's number; it is made when missing, and noted as used."""
    now = time.time()
    statement = (
        "INSERT INTO threads (name, begun, used) VALUES (?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET used = excluded.used RETURNING id"
    )
    return int(connection.execute(statement, (name, now, now)).fetchone()[0])


def _newest_list(connection: sqlite3.Connection, thread: int, ns: str, channel: str) -> int:
    """The last item of the channel's newest list: a guess at what a new one begins like, which costs room alone."""
    ask = (
        "SELECT ref FROM states WHERE thread = ? AND ns = ? AND channel = ? AND kind = 'list' "
        "ORDER BY version DESC LIMIT 1"
    )
    found = connection.execute(ask, (thread, ns, channel)).fetchone()
    return 0 if found is None else int(found[0])

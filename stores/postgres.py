"""Tables in a Postgres database, used by several threads and processes at once."""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from taleward.core.errors import BackendError, ConfigurationError, IntegrityError, TalewardError
from taleward.stores.postgres_errors import translate_error
from taleward.stores.postgres_url import parse_postgres_url
from taleward.stores.sql import SqlConnection

if TYPE_CHECKING:
    import psycopg
    from psycopg_pool import ConnectionPool

    Connection = psycopg.Connection[Any]
    Pool = ConnectionPool[Connection]

DEFAULT_SCHEMA = "taleward"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_LOCK = 0x54414C45
"""The advisory lock under which tables are created."""
# Pools of parent processes, kept so that a forked child neither uses nor closes their connections.
_inherited_pools: list[Any] = []


def check_name(name: str, what: str) -> str:
    """Check that a name can be a part of a table's name, and return it.

    Raises:
        ConfigurationError: If it has other characters than lower-case letters, digits and `_`, or more than 40.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{what} must be 1 to 40 lower-case letters, digits and underscores that begin with no digit; got {name!r}."
        )
    return name


class PostgresDatabase:
    """Tables of one kind, in a schema of their own.

    Every process has a pool of connections, opened when they are needed; a connection that the server has closed is
    replaced, so a restart of the server only fails what runs at that moment. Tables are created once, by whichever
    process comes first.

    Args:
        url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`.
        tables: The statements that create the tables, separated by semicolons.
        version: The tables' version; increase it whenever `tables` changes.
        kind: What to call the tables in messages, for example `"thread database"`.
        schema: The Postgres schema of the tables; created if missing.
        statement_timeout_s: Seconds that a statement may take, waiting for locks included.
        max_connections: The most connections of one process; others wait.
        configure: Prepares a new connection.

    Raises:
        ConfigurationError: If an argument is out of range, or the server rejects the user.
        BackendError: If the server cannot be reached.
        IntegrityError: If the tables have another version.
        MissingExtra: If psycopg is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        tables: str,
        version: int,
        kind: str,
        schema: str = DEFAULT_SCHEMA,
        statement_timeout_s: float = 60.0,
        max_connections: int = 8,
        configure: Callable[[Connection], None] | None = None,
    ) -> None:
        self._url = parse_postgres_url(url)
        self.address, self.kind, self.schema = self._url.address, kind, check_name(schema, "schema")
        if not statement_timeout_s > 0:
            raise ConfigurationError(f"statement_timeout_s must be above 0; got {statement_timeout_s}.")
        if max_connections < 1:
            raise ConfigurationError(f"max_connections must be 1 or more; got {max_connections}.")
        self._statement_timeout_s, self._max_connections = statement_timeout_s, max_connections
        # No method of this object, which the pool would then keep alive.
        self._configure = partial(_configure, self.schema, statement_timeout_s, configure)
        self._lock, self._process = threading.Lock(), os.getpid()
        self._pool: Pool | None = None
        self._create_tables(tables, version)

    def __repr__(self) -> str:
        return f"PostgresDatabase({self.address!r}, kind={self.kind!r})"

    def _create_tables(self, tables: str, version: int) -> None:
        # Not from the pool, which would keep on trying to reach a server that is not there.
        with self._translated(), self._connect() as connection:
            stored = self._stored_version(connection)
            if stored is None:
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                    stored = self._stored_version(connection)
                    if stored is None:
                        self._create(connection, tables, version)
                        stored = version
            self._configure(connection)
        if stored != version:
            raise IntegrityError(
                f"the {self.kind} in schema {self.schema!r} of Postgres at {self.address} has version {stored}; "
                f"this Taleward reads version {version}.",
                hint="Give another schema=.",
            )

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        """Provide a connection that does not come from the pool."""
        import psycopg

        with psycopg.connect(self._url.conninfo.get_secret_value(), autocommit=True) as connection:
            _configure(self.schema, self._statement_timeout_s, None, connection)
            yield connection

    def _stored_version(self, connection: Connection) -> int | None:
        # Not `to_regclass`: it may not notice yet that another process has created the schema meanwhile.
        query = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'versions'"
        if connection.execute(query, (self.schema,)).fetchone() is None:
            return None
        row = connection.execute("SELECT version FROM versions WHERE kind = %s", (self.kind,)).fetchone()
        return None if row is None else int(row[0])

    def _create(self, connection: Connection, tables: str, version: int) -> None:
        from psycopg.sql import SQL, Identifier

        # Without the question, a user without the right to create schemas could not use one that is there.
        if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self.schema,)).fetchone() is None:
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(self.schema)))
        connection.execute("CREATE TABLE IF NOT EXISTS versions (kind TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        for statement in tables.split(";"):
            connection.execute(statement.encode())
        connection.execute("INSERT INTO versions VALUES (%s, %s)", (self.kind, version))

    def _own_pool(self) -> Pool:
        """Return this process's pool; a forked child starts without the parent's lock and connections."""
        from psycopg_pool import ConnectionPool

        if self._process != os.getpid():
            _inherited_pools.append(self._pool)
            self._lock, self._pool, self._process = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._url.conninfo.get_secret_value(),
                    min_size=0,
                    max_size=self._max_connections,
                    timeout=self._url.timeout_s,
                    # Longer, and a failed attempt to connect would keep later ones from being made.
                    reconnect_timeout=self._url.timeout_s,
                    num_workers=1,
                    configure=self._configure,
                    check=ConnectionPool.check_connection,
                    name=self.kind,
                    open=True,
                )
                self._finalizer = weakref.finalize(self, _close_pool, self._pool, os.getpid())
            return self._pool

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            # `from None`, because the details of a database error can quote what is stored.
            raise translate_error(error, self.address, self._statement_timeout_s) from None

    @contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[Connection]:
        """Provide a connection in a transaction, committed at the end or rolled back on an exception.

        Args:
            read_only: Whether to read one state of the database, whatever is written meanwhile, and write nothing.

        Raises:
            BackendError: If the server cannot be reached or breaks off; nothing is written then.
            DeadlineExceeded: If a statement takes longer than `statement_timeout_s`.
        """
        import psycopg
        from psycopg_pool import PoolTimeout

        with self._translated():
            try:
                with self._own_pool().connection() as connection:
                    level = psycopg.IsolationLevel
                    connection.isolation_level = level.REPEATABLE_READ if read_only else level.READ_COMMITTED
                    connection.read_only = read_only
                    yield connection
            except PoolTimeout:
                raise self._pool_error() from None

    def _pool_error(self) -> TalewardError:
        """Find out why the pool gave no connection: it keeps that to itself."""
        with self._translated(), self._connect() as connection:
            self._configure(connection)
            return BackendError(
                f"all {self._max_connections} connections to Postgres at {self.address} stayed busy for "
                f"{self._url.timeout_s:g} s.",
                hint="Raise max_connections=.",
                retryable=True,
            )

    @contextmanager
    def reading(self) -> Iterator[SqlConnection]:
        """Provide a connection that reads one state of the database, for statements with `?`."""
        with self.transaction(read_only=True) as connection, connection.pipeline():
            yield _PortableConnection(connection)

    @contextmanager
    def writing(self) -> Iterator[SqlConnection]:
        """Provide a connection in a transaction, for statements with `?`."""
        # In a pipeline, only statements whose result is fetched wait for the server.
        with self.transaction() as connection, connection.pipeline():
            yield _PortableConnection(connection)

    def truncate_log(self) -> bool:
        """Do nothing: the server looks after its log itself."""
        return True

    def erase_deleted(self) -> None:
        """Do nothing: only the server can overwrite its files, when it vacuums and recycles its log."""

    def vacuum(self, table: str) -> None:
        """Rewrite a table and its indexes without the deleted rows; nobody else can use it meanwhile."""
        from psycopg.sql import SQL, Identifier

        with self._translated(), self._connect() as connection:
            connection.execute("SET statement_timeout = 0")  # it takes as long as the table is large
            connection.execute(SQL("VACUUM (FULL, ANALYZE) {}").format(Identifier(table)))

    def close(self) -> None:
        """Close all connections of this process; the next use opens them again."""
        if self._process == os.getpid():
            with self._lock:
                if self._pool is not None:
                    self._finalizer()
                    self._pool = None


class _PortableConnection:
    """A psycopg connection that takes `?` for parameters, as SQLite does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run a statement of standard SQL, in which `?` stands for parameters only."""
        return self._connection.execute(statement.replace("?", "%s").encode(), parameters)


def _configure(
    schema: str, statement_timeout_s: float, configure: Callable[[Connection], None] | None, connection: Connection
) -> None:
    milliseconds = str(max(1, round(1000 * statement_timeout_s)))
    # Parameters of the session, and not of the connection, which poolers such as PgBouncer reject.
    connection.execute(
        "SELECT set_config('search_path', quote_ident(%s), false), set_config('statement_timeout', %s, false),"
        " set_config('idle_in_transaction_session_timeout', %s, false)",
        (schema, milliseconds, milliseconds),
    )
    if configure is not None:
        configure(connection)
    if not connection.autocommit:
        connection.commit()


def _close_pool(pool: Pool, process: int) -> None:
    """Close a pool that this process opened; leave one that a parent process opened alone."""
    if process == os.getpid():
        pool.close()
    else:
        _inherited_pools.append(pool)

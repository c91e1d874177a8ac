"""The connection to Postgres: errors that teach and give nothing away, restarts, timeouts, forks."""

from __future__ import annotations

import logging
import os
import traceback
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from taleward.core.errors import BackendError, ConfigurationError, DeadlineExceeded, IntegrityError
from taleward.stores.postgres import PostgresDatabase
from taleward.stores.postgres_url import is_postgres_url, parse_postgres_url
from taleward.stores.vector.open import open_store

PASSWORD = "hunter2-and-more"
TABLES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"


def open_database(url: str, **options: Any) -> PostgresDatabase:
    return PostgresDatabase(url, **{"tables": TABLES, "version": 1, "kind": "notebook", **options})


@pytest.fixture
def schema() -> str:
    return f"notes_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def database(postgres_url: str, schema: str) -> Iterator[PostgresDatabase]:
    database = open_database(postgres_url, schema=schema)
    yield database
    database.close()


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("postgresql://localhost/tales", True),
        ("postgres://localhost/tales", True),
        ("postgresql+psycopg2://localhost/tales", True),
        ("http://localhost:8000", False),
        ("folder/postgresql", False),
    ],
)
def test_urls_are_told_from_folders(location: str, expected: bool) -> None:
    assert is_postgres_url(location) is expected


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{PASSWORD}/@db.example/tales",
        f"postgresql://ann:{PASSWORD}@x@db.example/tales",
        f"postgresql://ann:12/{PASSWORD}@db.example/tales",
        f"postgresql://ann:%zz{PASSWORD}@db.example/tales",
        f"postgresql://ann:{PASSWORD}@db.example:port/tales",
        f"postgresql://ann:{PASSWORD}@db.example/tales?tales=1",
        f"postgresql://ann:{PASSWORD}@db.example/tales?connect_timeout=soon",
        f"postgresq://ann:{PASSWORD}@db.example/tales",
    ],
)
def test_a_wrong_url_is_an_error_that_does_not_quote_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_postgres_url(url)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_a_password_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"postgresql+psycopg://ann:{PASSWORD}@127.0.0.1:1/tales"
    assert PASSWORD not in repr(parse_postgres_url(url))
    with pytest.raises(BackendError, match=r"Postgres at 127\.0\.0\.1:1/tales cannot be reached.*refused") as caught:
        open_database(url)
    assert caught.value.retryable
    with pytest.raises(BackendError) as other:
        open_store(url)
    shown = "".join(traceback.format_exception(caught.value) + traceback.format_exception(other.value)) + caplog.text
    assert PASSWORD not in shown


def test_a_typo_in_the_scheme_does_not_show_the_password() -> None:
    with pytest.raises(ConfigurationError, match="no vector store") as caught:
        open_store(f"postgresq://ann:{PASSWORD}@db.example/tales")
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("name", ["", "Tales", "1tales", 'tales"; DROP TABLE notes; --', "a" * 41])
def test_names_that_are_no_part_of_a_table_name_are_rejected(name: str) -> None:
    with pytest.raises(ConfigurationError, match="lower-case letters"):
        open_database("postgresql://127.0.0.1:1/tales", schema=name)


@pytest.mark.server
def test_a_transaction_is_stored_whole_or_not_at_all(database: PostgresDatabase) -> None:
    with database.writing() as connection:
        connection.execute("INSERT INTO notes VALUES (?, ?)", (1, "kept"))
    with pytest.raises(ZeroDivisionError), database.writing() as connection:  # noqa: PT012
        connection.execute("INSERT INTO notes VALUES (?, ?)", (2, "lost"))
        raise ZeroDivisionError
    with database.reading() as connection:
        assert connection.execute("SELECT text FROM notes").fetchall() == [("kept",)]


@pytest.mark.server
def test_a_reader_sees_one_state_and_cannot_write(database: PostgresDatabase) -> None:
    with database.reading() as reader:
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        with database.writing() as writer:
            writer.execute("INSERT INTO notes VALUES (1, 'new')")
        assert reader.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    with pytest.raises(ConfigurationError, match="read-only"), database.reading() as reader:
        reader.execute("INSERT INTO notes VALUES (2, 'new')")


@pytest.mark.server
def test_an_error_does_not_quote_what_is_stored(database: PostgresDatabase) -> None:
    statement = "INSERT INTO notes (id, text) VALUES (?, ?)"
    with pytest.raises(BackendError) as caught, database.writing() as connection:  # noqa: PT012
        connection.execute(statement, (1, "the secret of Mia"))
        connection.execute(statement, (1, "the secret of Mia"))
    with pytest.raises(ConfigurationError) as other, database.writing() as connection:
        connection.execute("SELECT CAST(? AS INTEGER)", ("the secret of Mia",))
    shown = "".join(traceback.format_exception(caught.value) + traceback.format_exception(other.value))
    assert "UniqueViolation 23505" in shown
    # The line of code of this test is in the traceback, the words of Postgres are not.
    assert "syntax for type" not in shown
    assert "Key (" not in shown


@pytest.mark.server
def test_a_statement_ends_in_time(postgres_url: str, schema: str) -> None:
    database = open_database(postgres_url, schema=schema, statement_timeout_s=0.2)
    with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"), database.writing() as connection:
        connection.execute("SELECT pg_sleep(20)")
    database.close()


@pytest.mark.server
def test_busy_connections_are_named_as_the_cause(postgres_url: str, schema: str) -> None:
    database = open_database(f"{postgres_url}&connect_timeout=1", schema=schema, max_connections=1)
    with database.reading(), pytest.raises(BackendError, match="all 1 connections"), database.reading():
        pass
    database.close()


@pytest.mark.server
def test_a_user_or_database_that_is_missing_is_a_taught_error(postgres_url: str) -> None:
    with pytest.raises(ConfigurationError, match='database "nowhere" does not exist') as caught:
        open_database(postgres_url.replace("/postgres?", "/nowhere?"))
    assert "createdb" in (caught.value.hint or "")
    with pytest.raises(ConfigurationError, match='role "nobody" does not exist'):
        open_database(postgres_url.replace("postgres@", "nobody@"))


@pytest.mark.server
def test_tables_of_another_version_are_rejected(postgres_url: str, schema: str, database: PostgresDatabase) -> None:
    with pytest.raises(IntegrityError, match="version 1; this Taleward reads version 2"):
        open_database(postgres_url, schema=schema, version=2)


@pytest.mark.server
def test_a_user_who_may_not_create_tables_uses_those_that_are_there(
    postgres_url: str, schema: str, database: PostgresDatabase
) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE guest_{schema} LOGIN".encode())
        admin.execute(f"GRANT USAGE ON SCHEMA {schema} TO guest_{schema}".encode())
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO guest_{schema}".encode())
    guest = open_database(postgres_url.replace("postgres@", f"guest_{schema}@"), schema=schema)
    with guest.reading() as connection:
        assert connection.execute("SELECT * FROM notes").fetchall() == []
    with pytest.raises(ConfigurationError, match="permission denied for table notes"), guest.writing() as connection:
        connection.execute("INSERT INTO notes VALUES (1, 'new')")
    guest.close()
    with pytest.raises(ConfigurationError, match="permission denied for database") as caught:
        open_database(postgres_url.replace("postgres@", f"guest_{schema}@"), schema=f"{schema}_new")
    assert "CREATE on the database" in (caught.value.hint or "")


@pytest.mark.server
def test_it_goes_on_after_a_restart_of_the_server(postgres_server: Any, postgres_url: str, schema: str) -> None:
    database = open_database(f"{postgres_url}&connect_timeout=2", schema=schema)
    with database.writing() as connection:
        connection.execute("INSERT INTO notes VALUES (1, 'before')")
    with pytest.raises(BackendError) as caught, database.writing() as connection:  # noqa: PT012
        connection.execute("INSERT INTO notes VALUES (2, 'during')")
        postgres_server.stop()
        connection.execute("INSERT INTO notes VALUES (3, 'during')")
    assert caught.value.retryable
    try:
        with pytest.raises(BackendError, match="cannot be reached"), database.reading():
            pass
    finally:
        postgres_server.ensure_postgres_running()
    with database.writing() as connection:
        connection.execute("INSERT INTO notes VALUES (4, 'after')")
        assert connection.execute("SELECT id FROM notes ORDER BY id").fetchall() == [(1,), (4,)]
    database.close()


@pytest.mark.server
def test_a_forked_child_opens_connections_of_its_own(database: PostgresDatabase) -> None:
    with database.writing() as connection:
        connection.execute("INSERT INTO notes VALUES (1, 'parent')")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the pool has threads, which a child does not get
        child = os.fork()
    if child == 0:
        try:
            with database.writing() as connection:
                connection.execute("INSERT INTO notes VALUES (2, 'child')")
            os._exit(0)
        except BaseException:  # noqa: BLE001  a child must not go on with the tests
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    with database.reading() as connection:
        assert connection.execute("SELECT text FROM notes ORDER BY id").fetchall() == [("parent",), ("child",)]

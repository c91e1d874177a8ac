"""The tables of vector stores in Postgres, and the extension that they need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

VERSION = 1
# Without a schema of its own, the extension would go to the tables'.
CATALOG = """
CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;
CREATE TABLE vector_stores (name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, dimensions INTEGER)
"""

_MIN_EXTENSION = (0, 8)
"""The first version whose index goes on searching until it has `k` documents that match a filter."""
_MAX_INDEXED_DIMENSIONS, _MAX_HALF_INDEXED_DIMENSIONS = 2000, 4000
_EF_SEARCH = 100
"""Candidates that a search keeps; pgvector's default of 40 finds fewer of the nearest documents."""


def collection_tables(table: str, dimensions: int) -> list[Composed]:
    """Return the statements that create a store's table and its indexes.

    Args:
        table: The table's name.
        dimensions: The length of a vector.
    """
    from psycopg.sql import SQL, Identifier, Literal

    name = Identifier(table)
    statements = [
        SQL(
            'CREATE TABLE {} (id TEXT COLLATE "C" PRIMARY KEY, text TEXT NOT NULL, metadata JSONB NOT NULL,'
            " expires DOUBLE PRECISION, vector vector({}) NOT NULL)"
        ).format(name, Literal(dimensions)),
        SQL("CREATE INDEX ON {} USING gin (metadata jsonb_path_ops)").format(name),
        SQL("CREATE INDEX ON {} (expires) WHERE expires IS NOT NULL").format(name),
    ]
    # All vectors have length 1, or 0: then the inner product is the cosine, also of a vector of zeros.
    if dimensions <= _MAX_INDEXED_DIMENSIONS:
        statements.append(SQL("CREATE INDEX ON {} USING hnsw (vector vector_ip_ops)").format(name))
    elif dimensions <= _MAX_HALF_INDEXED_DIMENSIONS:
        indexed = SQL("((vector::halfvec({})) halfvec_ip_ops)").format(Literal(dimensions))
        statements.append(SQL("CREATE INDEX ON {} USING hnsw {}").format(name, indexed))
    return statements


def distance_expression(dimensions: int) -> str:
    """Return the SQL of the distance between the columns `vector` and `query`, in the form that the index knows."""
    if _MAX_INDEXED_DIMENSIONS < dimensions <= _MAX_HALF_INDEXED_DIMENSIONS:
        return f"vector::halfvec({dimensions}) <#> query::halfvec({dimensions})"
    return "vector <#> query"


def prepare_connection(connection: Connection[Any]) -> None:
    """Make the type `vector` known to a connection, and set how it searches.

    Raises:
        ConfigurationError: If the database has no pgvector, or an old one.
    """
    from pgvector.psycopg import register_vector

    query = "SELECT extversion, quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace"
    row = connection.execute(query + " WHERE extname = 'vector'").fetchone()
    if row is None:
        raise ConfigurationError(
            "the database has no extension `vector` (pgvector).", hint="As its owner, run: CREATE EXTENSION vector"
        )
    version = tuple(int(part) for part in re.findall(r"\d+", row[0])[:2])
    if version < _MIN_EXTENSION:
        raise ConfigurationError(
            f"the extension `vector` (pgvector) has version {row[0]}; 0.8 or newer is needed.",
            hint="Install a newer pgvector and run: ALTER EXTENSION vector UPDATE",
        )
    # The type may be in any schema.
    connection.execute(
        "SELECT set_config('search_path', current_setting('search_path') || ', ' || %s, false),"
        " set_config('hnsw.iterative_scan', 'strict_order', false), set_config('hnsw.ef_search', %s, false)",
        (row[1], str(_EF_SEARCH)),
    )
    register_vector(connection)

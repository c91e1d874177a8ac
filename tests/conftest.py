"""Shared by all tests: no network, Hypothesis without deadlines, inputs for the template `adventure`."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A deadline per example fails on a busy machine; in CI the same examples run each time.
settings.register_profile("taleward", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("taleward")

VALUES = {
    "setting": "enchanted forest",
    "character": "brave adventurer",
    "mysterious_object": "glowing map",
    "magical_properties": "the power to show hidden places",
    "action": "follow the map",
    "outcome": "a new friendship",
}


@pytest.fixture(autouse=True)
def own_mlflow_store() -> None:
    """Forget the store that an earlier test, or a page of the docs, set for the process."""
    if (mlflow := sys.modules.get("mlflow")) is not None and mlflow.is_tracking_uri_set():
        mlflow.set_tracking_uri(None)


@pytest.fixture
def values() -> dict[str, str]:
    return dict(VALUES)


@pytest.fixture(scope="session")
def smollm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TALEWARD_CACHE for tests with SmolLM2, which takes half a minute to convert."""
    return tmp_path_factory.mktemp("smollm-cache")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A Postgres server with pgvector, started for the first test that asks for it."""
    from tests.helpers.postgres import running_server

    with running_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Any) -> str:
    """The URL of a Postgres database, which the tests share: give each its own schema or collection."""
    return str(postgres_server.get_uri()).replace("postgres:@", "postgres@")


@pytest.fixture
def postgres_database(postgres_url: str) -> str:
    """The URL of a Postgres database of the test's own."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy".encode())
    return postgres_url.replace("/postgres?", f"/{name}?")


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path

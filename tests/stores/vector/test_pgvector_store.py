"""The pgvector store conforms to the contract, on a real Postgres server."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from taleward.stores.vector.pgvector_store import PgvectorStore
from taleward.testing import StoreConformance

pytestmark = pytest.mark.server


def collection_for(folder: Path) -> str:
    return "c" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]


class TestPgvector(StoreConformance):
    @pytest.fixture(autouse=True)
    def use_server(self, postgres_url: str) -> None:
        self.url = postgres_url

    def open(self, folder: Path, embeddings: Any, **options: Any) -> PgvectorStore:
        return PgvectorStore(embeddings, self.url, collection=collection_for(folder), **options)

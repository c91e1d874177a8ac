"""A SIGKILL at any moment loses nothing that a store had saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.testing import kill_store


@pytest.mark.parametrize(("kind", "kills"), [("cache", 8), ("faiss", 8), ("chroma", 4)])
def test_a_killed_store_loses_nothing_it_saved(tmp_path: Path, kind: str, kills: int) -> None:
    report = kill_store(kind, tmp_path, kills=kills)
    assert report.committed >= kills
    assert (report.lost, report.unreadable) == (0, 0)


@pytest.mark.server
def test_a_killed_writer_loses_nothing_in_postgres(postgres_database: str) -> None:
    report = kill_store("pgvector", postgres_database, kills=2)
    assert report.committed >= 2
    assert (report.lost, report.unreadable) == (0, 0)

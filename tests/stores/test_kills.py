"""SIGKILL at any moment loses nothing that a store said it had kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.testing.kill_store import kill_store


@pytest.mark.parametrize(("kind", "kills"), [("cache", 8), ("faiss", 8), ("chroma", 4)])
def test_a_killed_store_keeps_what_it_promised(tmp_path: Path, kind: str, kills: int) -> None:
    report = kill_store(kind, tmp_path, kills=kills)
    assert report.committed >= kills
    assert (report.lost, report.unreadable) == (0, 0)

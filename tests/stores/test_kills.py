"""SIGKILL at any moment loses nothing that a store said it had kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.testing.kills import kill_store


@pytest.mark.parametrize("kind", ["cache", "faiss"])
def test_a_killed_store_keeps_what_it_promised(tmp_path: Path, kind: str) -> None:
    report = kill_store(kind, tmp_path, kills=10)
    assert report.committed >= 10
    assert (report.lost, report.unreadable) == (0, 0)

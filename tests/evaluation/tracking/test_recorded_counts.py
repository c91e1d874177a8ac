"""Counts of the tales of all recorders in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.evaluation.tracking.tale_recorder import MlflowRecorder, default_tracking_uri
from taleward.evaluation.tracking.total_outcome_counts import guard_counts
from taleward.moderation.guard.guard import Guard
from taleward.testing import FakeJudge, FakeWriter

pytestmark = pytest.mark.filterwarnings("default")


def test_counts_of_several_recorders_are_added_up(tmp_path: Path) -> None:
    assert guard_counts(tmp_path) == {}
    for text in ("A calm day.", "A bad day."):
        recorder = MlflowRecorder(default_tracking_uri(tmp_path))
        Guard(FakeWriter(text), FakeJudge(), attempts=1, recorder=recorder).invoke({"about": "a day"})
    counts = guard_counts(tmp_path)
    assert (counts["tales"], counts["released"], counts["refused"], counts["refused/failed"]) == (2.0, 1.0, 1.0, 1.0)

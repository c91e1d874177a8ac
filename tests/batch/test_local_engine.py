"""The engine `local`: processes that die, hang, print, and are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.batch_jobs import kill_batches
from taleward.batch import BatchResult, FunctionTask, JudgeTask, run_batch
from taleward.batch.engines.frames import FrameReader, frame
from taleward.core.errors import ConfigurationError


def run_local(folder: Path, function: str, texts: list[str], **options: Any) -> BatchResult:
    rows = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    task = FunctionTask(function=f"tests.helpers.batch_functions:{function}")
    return run_batch(task, rows, folder, engine="local", workers=2, chunk=1, **options)


def results(result: BatchResult) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for table in result.tables() for row in table.to_pylist()}


def test_workers_share_the_cores_and_what_they_print_is_no_message(tmp_path: Path) -> None:
    result = run_local(tmp_path, "print_and_sleep", ["fox"] * 6)
    assert result.outcomes == {"done": 6}
    assert all(int(row["text"]) >= 1 for row in results(result).values())


def test_the_chunk_of_a_worker_that_dies_runs_again(tmp_path: Path) -> None:
    (tmp_path / "mark").touch()
    result = run_local(tmp_path / "out", "die_once", ["fox", str(tmp_path / "mark"), "bear"])
    assert result.outcomes == {"done": 3}


def test_a_hung_chunk_is_ended_and_its_rows_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taleward.batch.schedule.MAX_HANGS", 1)  # saves the time of the second one
    result = run_local(tmp_path, "die_or_hang", ["fox", "hang", "bear"], chunk_timeout_s=5.0)
    assert result.outcomes == {"done": 2, "error": 1}
    assert results(result)["1"]["error_type"] == "DeadlineExceeded"
    assert results(result)["1"]["error"] == "the chunk took longer than 5 s; it ran 1 times."


def test_models_that_cannot_be_loaded_end_the_batch_with_their_own_error(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": "fox"} for n in range(3)]
    with pytest.raises(ConfigurationError, match="a worker cannot go on: UnknownName: unknown judge 'lexikon'"):
        run_batch(JudgeTask(judge=("lexikon",)), rows, tmp_path, workers=2, chunk=1)


@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_messages_arrive_whole_however_they_are_cut(pieces: int) -> None:
    sent = [({"number": n}, bytes(range(n))) for n in range(40)]
    stream = b"".join(frame(*message) for message in sent)
    reader = FrameReader()
    cuts = range(0, len(stream), pieces)
    assert [message for cut in cuts for message in reader.feed(stream[cut : cut + pieces])] == sent


def test_kills_at_random_moments_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    killed = kill_batches(tmp_path, 5)
    assert killed.kills == 5
    assert killed[2:] == (0, 0, 0, 0, 0), killed

"""The engine `local`: processes that die, hang, print, and are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.batch_jobs import kill_batches
from taleward.batch import BatchResult, FunctionTask, JudgeTask, run_batch
from taleward.batch.chunks import Chunk, encode_chunk
from taleward.batch.engines.base import ChunkDone, EngineReport, WorkerReady
from taleward.batch.engines.frames import FrameReader, frame
from taleward.batch.engines.local import LocalEngine
from taleward.batch.sources import open_source
from taleward.batch.worker import WorkerSpec
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict


def run_local(folder: Path, function: str, texts: list[str], **options: Any) -> BatchResult:
    rows = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    task = FunctionTask(function=f"tests.helpers.batch_functions:{function}")
    return run_batch(task, rows, folder, engine="local", workers=2, chunk=1, **options)


def next_report(engine: LocalEngine) -> EngineReport:
    while not (reports := engine.wait(1.0)):
        pass
    [report] = reports
    return report


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


def test_a_worker_that_hangs_is_ended_and_another_one_takes_its_place(tmp_path: Path) -> None:
    # When that happens is the scheduler's business, whose tests need no waiting.
    (tmp_path / "parts").mkdir()
    settings = FrozenDict({"function": "tests.helpers.batch_functions:die_or_hang"})
    rows = [{"id": "0", "text": "hang"}, {"id": "1", "text": "fox"}]
    [(_, hanging), (_, fine)] = open_source(rows).chunks(1, [0, 1])
    engine = LocalEngine()
    try:
        engine.start(WorkerSpec(task="function", settings=settings, out=str(tmp_path)), 1)
        assert next_report(engine) == WorkerReady(0)
        engine.submit(0, Chunk(0, encode_chunk(hanging)))
        assert engine.wait(0.2) == []
        [before] = engine.process_ids
        engine.restart(0)
        assert next_report(engine) == WorkerReady(0)
        assert engine.process_ids != [before]
        engine.submit(0, Chunk(1, encode_chunk(fine)))
        done = next_report(engine)
        assert isinstance(done, ChunkDone)
        assert done.summary.outcomes == {"done": 1}
    finally:
        engine.close()


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

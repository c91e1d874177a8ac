"""Batches: overhead, scaling, kills, memory, reruns, and 100 million tales on paper: `python -m benchmarks.batch`.

Overhead is CPU time, so that other work on the machine does not count. `scaling` needs two free cores and runs only
without `--quick`. What runs on Ray adds half a minute, if Ray is installed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.batch_jobs import kill_batches, shout, slow_shout, write_requests
from benchmarks.table import Row, Size, is_installed, pick, run

_TALES = 100_000_000
_GPUS = 64
_TALES_PER_GPU_SECOND = 20.0  # a model of 8 B parameters with vLLM: 6,000 tokens a second, 300 a tale
_REQUEST_S = 0.05  # of an object store
_KEYS_PER_LISTING = 1000
_USD_PER_PUT = 5e-6
_SUMMARY_BYTES = 150

# Run in a process of its own: `SOURCE OUT CHUNK`; prints seconds of the call and the peak of its memory in MB.
_TRIVIAL = """
import resource, sys, time
started = time.perf_counter()
from taleward.batch import FunctionTask, run_batch
task = FunctionTask(function="benchmarks.batch_jobs:shout")
run_batch(task, sys.argv[1], sys.argv[2], engine="inline", chunk=int(sys.argv[3]), progress=False)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measure(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    with tempfile.TemporaryDirectory() as folder:
        yield from overhead(Path(folder), size)
    with tempfile.TemporaryDirectory() as folder:
        yield from memory(Path(folder), size)
    with tempfile.TemporaryDirectory() as folder:
        yield from reruns(Path(folder), size)
    with tempfile.TemporaryDirectory() as folder:
        yield from kills(Path(folder), size)
    if size != "smoke" and is_installed("ray", "ray"):
        with tempfile.TemporaryDirectory() as folder:
            yield from on_ray(Path(folder), size)
    if size == "full":
        with tempfile.TemporaryDirectory() as folder:
            yield from scaling(Path(folder))
    yield from on_paper()


def overhead(folder: Path, size: Size) -> Iterator[Row]:
    """The CPU time of a row in a batch against a plain loop over the same rows, in turns."""
    import pyarrow.parquet

    import taleward as tw
    from taleward.batch import FunctionTask, JudgeTask, run_batch
    from taleward.batch.tasks import BatchTask

    judge = tw.judge("embedded:judge")
    judge.invoke("A calm day by the sea.")
    cases: tuple[tuple[str, BatchTask, int, bool], ...] = (
        ("embedded judge", JudgeTask(), pick(size, full=2000, quick=600, smoke=4), True),
        (
            "a function that costs nothing",
            FunctionTask(function="benchmarks.batch_jobs:shout"),
            pick(size, full=50_000, quick=20_000, smoke=40),
            False,
        ),
    )
    for name, task, rows, has_goal in cases:
        source = write_requests(folder / f"{task.name}.parquet", rows)
        loops, batches = [], []
        for repeat in range(pick(size, full=5, quick=3, smoke=1)):
            started_s = time.process_time()
            for row in pyarrow.parquet.read_table(source).to_pylist():
                if has_goal:
                    judge.invoke(row["text"])
                else:
                    shout(row)
            loops.append(time.process_time() - started_s)
            started_s = time.process_time()
            run_batch(task, source, folder / f"{task.name}-{repeat}", engine="inline", progress=False)
            batches.append(time.process_time() - started_s)
        loop_ms, batch_ms = (1000 * statistics.median(times) / rows for times in (loops, batches))
        ratio = loop_ms / batch_ms
        goal = "at least 0.95" if has_goal else ""
        met = ratio >= 0.95 or not has_goal
        yield Row(f"CPU of a row: {name}", "ms", batch_ms, loop_ms, "plain loop", ratio, goal, met)


def memory(folder: Path, size: Size) -> Iterator[Row]:
    """The peak of memory with few and with many rows."""
    few, many = pick(size, full=(10_000, 1_000_000), quick=(10_000, 100_000), smoke=(100, 200))
    peaks = []
    for rows in (few, many):
        source = write_requests(folder / f"{rows}.parquet", rows)
        peaks.append(_run_trivial(source, folder / f"out-{rows}", 1000)[1])
    ratio = peaks[0] / peaks[1]
    metric = f"peak memory with {many:,} rows"
    yield Row(metric, "MB", peaks[1], peaks[0], f"with {few:,} rows", ratio, "at least 0.85", ratio >= 0.85)


def reruns(folder: Path, size: Size) -> Iterator[Row]:
    """A call in a new process when all chunks are finished, imports included."""
    chunks = pick(size, full=10_000, quick=2_000, smoke=4)
    source = write_requests(folder / "requests.parquet", 5 * chunks)
    _run_trivial(source, folder / "out", 5)
    seconds = statistics.median(_run_trivial(source, folder / "out", 5)[0] for _ in range(3))
    goal = "at most 2 s"
    yield Row(f"rerun with {chunks:,} finished chunks", "s", seconds, 2.0, goal, 2.0 / seconds, goal, seconds <= 2.0)


def kills(folder: Path, size: Size) -> Iterator[Row]:
    """SIGKILL to drivers and workers at random moments."""
    killed = kill_batches(folder, pick(size, full=100, quick=4, smoke=1))
    wrong = killed.lost + killed.twice + killed.errors + killed.temporary + killed.orphans
    metric = f"rows lost, twice or failed, files and workers left after {killed.kills} kills, {killed.rows:,} rows"
    yield Row(metric, "number", float(wrong), goal="0", met=wrong == 0)


def on_ray(folder: Path, size: Size) -> Iterator[Row]:
    """One actor against a plain loop, from the first chunk to the last; and SIGKILL to drivers, actors and raylets."""
    import pyarrow.parquet

    from taleward.batch import FunctionTask, run_batch

    chunk = 200
    rows = chunk * pick(size, full=50, quick=4, smoke=2)
    source = write_requests(folder / "requests.parquet", rows)
    table = pyarrow.parquet.read_table(source).to_pylist()
    loops = []
    for turn in range(2):
        started_s = time.perf_counter()
        for row in table:
            slow_shout(row)
        loops.append(time.perf_counter() - started_s)
        if turn == 0:
            out = folder / "out"
            task = FunctionTask(function="benchmarks.batch_jobs:slow_shout")
            run_batch(task, source, out, engine="ray", workers=1, chunk=chunk, progress=False)
    loop_ms = 1000 * statistics.median(loops) / rows
    times = sorted(file.stat().st_mtime for file in (out / "parts").iterdir())
    batch_ms = 1000 * statistics.median(later - earlier for earlier, later in pairwise(times)) / chunk
    ratio = loop_ms / batch_ms
    goal = "at least 0.87"
    yield Row(
        "time of a row of 4 ms on Ray, one actor", "ms", batch_ms, loop_ms, "plain loop", ratio, goal, ratio >= 0.87
    )
    killed = kill_batches(folder / "kills", pick(size, full=100, quick=2, smoke=1), engine="ray")
    wrong = killed.lost + killed.twice + killed.errors + killed.temporary + killed.orphans
    metric = f"Ray: rows lost, twice or failed, files and actors left after {killed.kills} kills, {killed.rows:,} rows"
    yield Row(metric, "number", float(wrong), goal="0", met=wrong == 0)


def scaling(folder: Path) -> Iterator[Row]:
    """Rows a second of two workers against one, from the first chunk to the last."""
    from taleward.batch import JudgeTask, run_batch
    from taleward.batch.engines.local import LocalEngine

    source = write_requests(folder / "requests.parquet", 6_000)
    rates = []
    for workers in (1, 2):
        out = folder / f"out-{workers}"
        run_batch(JudgeTask(), source, out, engine=LocalEngine(), workers=workers, chunk=50, progress=False)
        times = sorted(file.stat().st_mtime for file in (out / "parts").iterdir())
        # The slowest starter decides when all work: leave out the first fifth.
        steady = times[len(times) // 5 :]
        rates.append(50 * sum(1 for _ in pairwise(steady)) / (steady[-1] - steady[0]))
    ratio = rates[1] / rates[0]
    yield Row("rows a second, 2 workers", "rows/s", rates[1], rates[0], "1 worker", ratio, "at least 1.7", ratio >= 1.7)


def on_paper() -> Iterator[Row]:
    """100 million tales on 64 GPUs with an object store: what the ledger costs."""
    for chunk in (200, 2000):
        chunks = _TALES // chunk
        listing_s = chunks / _KEYS_PER_LISTING * _REQUEST_S
        name = f"on paper, chunks of {chunk:,}"
        yield Row(f"{name}: files", "files", float(chunks))
        yield Row(f"{name}: time of a chunk", "s", chunk / _TALES_PER_GPU_SECOND)
        yield Row(f"{name}: commits", "puts/s", _GPUS * _TALES_PER_GPU_SECOND / chunk)
        yield Row(f"{name}: all puts", "USD", chunks * _USD_PER_PUT)
        yield Row(f"{name}: listing before a rerun", "s", listing_s)
        yield Row(f"{name}: saved counts", "MB", chunks * _SUMMARY_BYTES / 1e6)
        yield Row(f"{name}: counts from the chunks' ends, 16 at a time", "s", chunks * _REQUEST_S / 16)
        yield Row(f"{name}: work lost with a GPU, at most", "s", 2 * chunk / _TALES_PER_GPU_SECOND)
    yield Row("on paper: all tales", "h", _TALES / _GPUS / _TALES_PER_GPU_SECOND / 3600)


def _run_trivial(source: Path, out: Path, chunk: int) -> tuple[float, float]:
    command = [sys.executable, "-c", _TRIVIAL, str(source), str(out), str(chunk)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    return run("batch", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())

"""What `benchmarks.batch` and the tests run: requests, functions, and batches that are killed again and again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_SENTENCES = (
    "A calm day by the sea.",
    "The fox ate soup with a friend.",
    "They found a shiny key on the roof.",
    "Rosa laughed, and the boat went home.",
    "At night the stars came out, one after another.",
)
_ROW_S = 0.004
_JOB_ROWS = 400
_JOB_CHUNK = 10
_DEATH_S = 10.0


def write_requests(file: Path, rows: int) -> Path:
    """Write a Parquet file with an id and a text of two sentences in each row."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([("id", pyarrow.string()), ("text", pyarrow.string())])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, rows, 50_000):
            numbers = range(start, min(start + 50_000, rows))
            texts = [f"{_SENTENCES[n % 5]} It was day {n}. {_SENTENCES[n // 5 % 5]}" for n in numbers]
            writer.write_table(pyarrow.table([[f"row-{n:09d}" for n in numbers], texts], schema=schema))
    return file


def shout(values: Mapping[str, Any]) -> str:
    """Return a text in capitals: a task that costs nothing."""
    return str(values["text"]).upper()


def slow_shout(values: Mapping[str, Any]) -> str:
    """Return a text in capitals after 4 ms, in which the process can be killed."""
    time.sleep(_ROW_S)
    return shout(values)


class KilledBatches(NamedTuple):
    """What was left of batches that were killed.

    Attributes:
        kills: How often a process was killed.
        rows: The rows of all batches.
        lost: Rows without a result.
        twice: Rows with more than one result.
        errors: Rows with an error.
        temporary: Temporary files that were left.
        orphans: Workers that lived on after their driver.
    """

    kills: int
    rows: int
    lost: int
    twice: int
    errors: int
    temporary: int
    orphans: int


def kill_batches(folder: Path, kills: int, *, seed: int = 0, engine: str = "local") -> KilledBatches:
    """Kill processes of batches with SIGKILL at random moments, run them to their end, and count the rows.

    The victims are drivers, workers and raylets.

    Args:
        folder: An empty folder.
        kills: How often to kill.
        seed: Seed of the moments and the victims.
        engine: The engine of the batches.
    """
    folder.mkdir(exist_ok=True)
    rng = random.Random(seed)
    source = write_requests(folder / "requests.parquet", _JOB_ROWS)
    orphans = count = jobs = 0
    lost = twice = errors = temporary = 0
    while count < kills:
        out = folder / f"out-{jobs}"
        jobs += 1
        while True:
            driver = _start_driver(source, out, engine)
            while driver.poll() is None and count < kills:
                _wait_for_a_moment(driver, out, rng)
                if driver.poll() is not None:
                    break
                workers, others = _processes(driver.pid)
                victims = [*rng.sample(workers, min(1, len(workers))), *others, driver.pid]
                victim = rng.choice(victims)
                if victim != driver.pid:
                    _kill(victim)
                else:
                    driver.kill()
                    driver.wait()
                    orphans += _wait_for_death(workers)
                count += 1
            if driver.wait() == 0:
                break
        ids, failed = _read_ids(out)
        lost += len({f"row-{n:09d}" for n in range(_JOB_ROWS)} - set(ids))
        twice += len(ids) - len(set(ids))
        errors += failed
        temporary += sum(file.name.endswith(".tmp") for file in out.rglob(".*"))
    return KilledBatches(count, jobs * _JOB_ROWS, lost, twice, errors, temporary, orphans)


def _start_driver(source: Path, out: Path, engine: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.batch_jobs", str(source), str(out), engine]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait_for_a_moment(driver: subprocess.Popen[bytes], out: Path, rng: random.Random) -> None:
    """Wait for a random time, most often until a chunk was finished meanwhile."""
    if rng.random() < 0.7:
        before = len(list(out.glob("parts/*.parquet")))
        while driver.poll() is None and len(list(out.glob("parts/*.parquet"))) <= before:
            time.sleep(0.005)
    time.sleep(rng.uniform(0.0, 0.1))


def _processes(driver: int) -> tuple[list[int], list[int]]:
    """Return the workers of a driver, and the raylet, if it has one."""
    workers, others = [], []
    for process_id in child_processes(driver):
        try:
            command = Path(f"/proc/{process_id}/cmdline").read_bytes()
        except OSError:  # it is gone
            continue
        if b"local_worker" in command:
            workers.append(process_id)
        elif command.partition(b"\0")[0].endswith(b"/raylet"):
            others.append(process_id)
            workers += [child for child in child_processes(process_id) if is_ray_actor(child)]
    return workers, others


def is_ray_actor(process_id: int) -> bool:
    """Whether a process is a worker of the engine `ray`."""
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes().startswith(b"ray::ChunkActor")
    except OSError:
        return False


def child_processes(process_id: int) -> list[int]:
    """Return the children of a process."""
    children: list[int] = []
    for file in Path(f"/proc/{process_id}/task").glob("*/children"):
        try:
            children += map(int, file.read_text().split())
        except OSError:  # the thread is gone
            continue
    return children


def _kill(process_id: int) -> None:
    try:
        os.kill(process_id, signal.SIGKILL)
    except ProcessLookupError:
        return


def _wait_for_death(processes: Sequence[int]) -> int:
    """Return how many of a killed driver's processes are alive after ten seconds."""
    deadline_s = time.monotonic() + _DEATH_S
    alive = list(processes)
    while alive and time.monotonic() < deadline_s:
        time.sleep(0.01)
        alive = [process for process in alive if _is_alive(process)]
    return len(alive)


def _is_alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _read_ids(out: Path) -> tuple[list[str], int]:
    """Return the ids of all results, and how many have an error."""
    from taleward.batch.ledger import Ledger

    ids: list[str] = []
    failed = 0
    for table in Ledger.open(out).tables():
        ids += table.column("id").to_pylist()
        failed += table.num_rows - table.column("error").null_count
    return ids, failed


def main(source: str, out: str, engine: str) -> None:
    """Run the batch that is killed."""
    from taleward.batch.run import run_batch
    from taleward.batch.tasks.function import FunctionTask

    task = FunctionTask(function="benchmarks.batch_jobs:slow_shout")
    result = run_batch(task, source, out, engine=engine, workers=2, chunk=_JOB_CHUNK, progress=False)
    print(json.dumps({"finished": result.finished}), file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The engine `ray` on real clusters: actors, machines and drivers that die, chunks that hang, wrong addresses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.batch_jobs import child_processes, is_ray_actor
from taleward.batch import BatchResult, FunctionTask, JudgeTask, Ledger, plan_batch, run_batch
from taleward.batch.engines import make_engine
from taleward.batch.engines.base import ChunkDone, EngineReport, WorkerReady, WorkerWaiting
from taleward.batch.engines.ray import RayEngine
from taleward.batch.engines.ray_cluster import _room
from taleward.batch.storage import BatchFolder
from taleward.core.errors import BackendError, ConfigurationError, MissingExtra
from tests.test_layout import ROOT

pytestmark = pytest.mark.server

WAIT_S = 120.0
# Ray takes 127.0.0.1 in an address for the machine's outer one.
LOOPBACK = "127.0.0.2"

DRIVER = """
import sys
from taleward.batch import FunctionTask, run_batch
task = FunctionTask(function="tests.helpers.batch_functions:tell_process")
rows = [{"id": str(n), "text": "0.1"} for n in range(80)]
run_batch(task, rows, sys.argv[1], engine="ray", workers=2, chunk=2, engine_options={"address": sys.argv[2]})
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster with one machine of two cores."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="tw-", dir="/tmp") as folder:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_MODE", "disabled")
        # As for machines that have failed in the worst way: nobody says so, and it is noticed soon.
        patch.setenv("RAY_health_check_period_ms", "1000")
        from ray.cluster_utils import Cluster

        options = {"num_cpus": 2, "include_dashboard": False, "node_ip_address": LOOPBACK}
        started = Cluster(initialize_head=True, head_node_args=options)
        yield started
        started.shutdown()


def run_ray(address: str, folder: Path, function: str, texts: list[str], **options: Any) -> BatchResult:
    rows = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    task = FunctionTask(function=f"tests.helpers.batch_functions:{function}")
    arguments = {"engine": "ray", "workers": 2, "chunk": 1, "engine_options": {"address": address}, **options}
    return run_batch(task, rows, folder, **arguments)


def rows_of(result: BatchResult) -> list[dict[str, Any]]:
    return [row for table in result.tables() for row in table.to_pylist()]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def parts(folder: Path) -> int:
    return len(list(folder.glob("parts/*.parquet")))


def test_actors_load_once_and_the_same_call_has_nothing_left(cluster: Any, tmp_path: Path) -> None:
    result = run_ray(cluster.address, tmp_path, "tell_process", ["0.02"] * 40, chunk=2)
    assert result.outcomes == {"done": 40}
    processes = {row["text"] for row in rows_of(result)}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes
    assert run_ray(cluster.address, tmp_path, "tell_process", ["0.02"] * 40, chunk=2).chunks_run == 0


def test_settings_go_to_the_actors_as_plain_data(cluster: Any, tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "A calm day."}, {"id": "b", "text": "The killer stabbed him."}]
    options = {"address": cluster.address, "num_cpus": 0.5}
    judged = JudgeTask(judge=("lexicon",), band="3-5")
    result = run_batch(judged, rows, tmp_path, engine="ray", workers=1, chunk=1, engine_options=options)
    assert result.outcomes == {"pass": 1, "fail": 1}


def test_a_chunk_whose_actor_dies_runs_again(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "mark").touch()
    result = run_ray(cluster.address, tmp_path / "out", "die_once", ["fox", str(tmp_path / "mark"), "owl", "bear"])
    assert result.outcomes == {"done": 4}


def test_an_actor_that_hangs_is_ended_and_another_one_takes_its_place(cluster: Any, tmp_path: Path) -> None:
    # When that happens is the scheduler's business, whose tests need no waiting.
    rows = [{"id": "0", "text": "hang"}, {"id": "1", "text": "fox"}]
    plan = plan_batch(FunctionTask(function="tests.helpers.batch_functions:die_or_hang"), rows, tmp_path, chunk=1)
    hanging, fine = plan.chunks([0, 1])
    engine = RayEngine(cluster.address)
    try:
        engine.start(plan.spec, 1)
        assert next_report(engine) == WorkerReady(0)
        engine.submit(0, hanging)
        assert engine.wait(0.2) == []
        engine.restart(0)
        assert next_report(engine) == WorkerReady(0)
        engine.submit(0, fine)
        done = next_report(engine)
        assert isinstance(done, ChunkDone)
        assert done.summary.outcomes == {"done": 1}
    finally:
        engine.close()
    assert parts(tmp_path) == 1


def next_report(engine: RayEngine) -> EngineReport:
    while not (reports := [report for report in engine.wait(1.0) if not isinstance(report, WorkerWaiting)]):
        pass
    [report] = reports
    return report


def test_a_machine_that_dies_costs_only_time(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2, node_ip_address=LOOPBACK)
    killed = []

    def kill() -> None:
        [raylet] = node.all_processes["raylet"]
        wait_for(lambda: parts(tmp_path) >= 4 and any(map(is_ray_actor, child_processes(raylet.process.pid))))
        cluster.remove_node(node, allow_graceful=False)
        killed.append(parts(tmp_path))

    killer = threading.Thread(target=kill)
    killer.start()
    result = run_ray(cluster.address, tmp_path, "tell_process", ["0.15"] * 80, workers=4, chunk=2)
    killer.join()
    assert killed[0] < 40
    assert result.outcomes == {"done": 80}
    assert sorted(int(row["id"]) for row in rows_of(result)) == list(range(80))


def test_after_a_driver_that_was_killed_nobody_writes_and_the_next_one_goes_on(cluster: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path), cluster.address]
    driver = subprocess.Popen(command, cwd=ROOT)
    wait_for(lambda: parts(tmp_path) >= 4)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    with BatchFolder(tmp_path).lock():  # waits for the actors
        finished = parts(tmp_path)
        time.sleep(0.5)
        assert parts(tmp_path) == finished < 40
    subprocess.run(command, cwd=ROOT, check=True)
    ids = [row["id"] for table in Ledger.open(tmp_path).tables() for row in table.to_pylist()]
    assert ids == [str(n) for n in range(80)]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_cluster_of_its_own_is_gone_afterwards(in_tmp: Path) -> None:
    pytest.importorskip("ray")
    (in_tmp / "rows.csv").write_text("id,text\n1,A calm day.\n2,The killer stabbed him.\n")
    command = ["batch", "rows.csv", "--out", "out", "--task", "judge", "--judge", "lexicon", "--engine", "ray"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="tw-", dir="/tmp") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "taleward", *command, "--workers", "1", "--json"],
            env={**environment, "TMPDIR": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["outcomes"] == {"pass": 1, "fail": 1}
        assert "ray" not in done.stderr.lower()
        assert not list(Path(folder).iterdir())
        wait_for(lambda: not processes_with(folder))


def processes_with(word: str) -> list[str]:
    """The processes whose command has a word in it."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it is gone
            found += [file.parent.name] if word.encode() in file.read_bytes() else []
    return found


def test_models_that_cannot_be_loaded_end_the_batch_with_their_own_error(cluster: Any, tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": "fox"} for n in range(3)]
    options = {"address": cluster.address}
    with pytest.raises(ConfigurationError, match="a worker cannot go on: UnknownName: unknown judge 'lexikon'"):
        run_batch(JudgeTask(judge=("lexikon",)), rows, tmp_path, engine="ray", workers=1, engine_options=options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "ray://me:secret@head:10001"}, "HOST:PORT or auto"),
        ({"num_gpus": 1.5}, "num_gpus must be a fraction of 1 or a whole number; got 1.5"),
        ({"num_cpus": -1}, "num_cpus must be"),
        ({"gpus": 1}, "the engine 'ray' cannot be made"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        make_engine("ray", **options)
    assert "secret" not in str(caught.value)


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taleward.batch.engines.ray.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        RayEngine()
    assert caught.value.hint == "Run: pip install 'taleward[ray]'"


def test_options_of_ray_are_refused_by_other_engines(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the engine 'local' takes no options here; got address"):
        run_ray("127.0.0.1:6379", tmp_path, "shout", ["fox"], engine="local")


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(BackendError, match=r"the Ray cluster at 127\.0\.0\.1:9 cannot be reached"):
        run_ray("127.0.0.1:9", tmp_path, "shout", ["fox"])


@pytest.mark.parametrize(("gpus", "share", "room"), [(2, 0.1, 20), (2, 0.6, 2), (2, 1, 2), (3, 2, 1), (0, 0.5, 0)])
def test_workers_for_which_gpus_have_room(gpus: int, share: float, room: int) -> None:
    assert _room(gpus, share) == room

"""Evaluation runs against mlflow.genai.evaluate: `python -m benchmarks.evaluation_runs`.

Rows per second, and rows stored, with fake models and three cheap metrics. MLflow is on SQLite, and each side has its
own process and store. `--quick` gives the peer fewer rows, because with its default settings each takes seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.table import Row, Size, pick, run

_GOAL_ROWS_PER_SECOND = 40.0
_UNLIMITED = {
    "MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT": "0",
    "MLFLOW_GENAI_EVAL_SCORER_RATE_LIMIT": "0",
    "MLFLOW_GENAI_EVAL_MAX_WORKERS": "4",
}


def measure(size: Size) -> Iterator[Row]:
    """Evaluate with Taleward, then with two settings of the peer."""
    count = pick(size, full=1000, quick=1000, smoke=2)
    peer_count = pick(size, full=200, quick=12, smoke=1)
    with tempfile.TemporaryDirectory() as folder:
        # Creating a store takes seconds, so the smoke run has a single one.
        folders = [folder] * 3 if size == "smoke" else [f"{folder}/{number}" for number in range(3)]
        ours = _run_child("ours", count, folders[0])
        peers = {"mlflow.genai.evaluate, defaults": _run_child("peer", peer_count, folders[1])}
        if size != "smoke":
            name = "mlflow.genai.evaluate, no rate limit, 4 workers"
            peers[name] = _run_child("peer", peer_count * 2, folders[2], _UNLIMITED)
        killed_rows = list(killed(count, folder))
    for name, peer in peers.items():
        speed, peer_speed = (result["requested"] / result["duration_s"] for result in (ours, peer))
        yield Row(
            f"rows evaluated and logged ({count:,} against {peer['requested']:,.0f})",
            "rows/s",
            speed,
            peer_speed,
            name,
            speed / peer_speed,
            f"at least {_GOAL_ROWS_PER_SECOND:g}",
            speed >= _GOAL_ROWS_PER_SECOND,
        )
    for name, peer in peers.items():
        share, peer_share = (result["stored"] / result["requested"] for result in (ours, peer))
        ratio = share / peer_share if peer_share else None
        yield Row("rows stored with all their scores", "share", share, peer_share, name, ratio, "1", share == 1)
    yield from killed_rows


def killed(count: int, folder: str) -> Iterator[Row]:
    """Kill an evaluation halfway, and start it again."""
    command = _child_command("killed", count, folder)
    first = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    second = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    result = json.loads(second.stdout.splitlines()[-1])
    is_complete = first.returncode == -signal.SIGKILL and result["stored"] == result["stored_once"] == count
    goal = f"{count:,}"
    metric = f"rows of {count:,} stored after kill -9 and a restart"
    yield Row(metric, "rows", result["stored"], goal=goal, met=is_complete)
    yield Row("of these stored exactly once", "rows", result["stored_once"], goal=goal, met=is_complete)
    yield Row("rows generated twice", "rows", result["generated_twice"])


def _child_command(side: str, count: int, folder: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "benchmarks.evaluation_runs", "--child", side, str(count), folder]


def _run_child(
    side: str, count: int, folder: str, environment: Mapping[str, str] = MappingProxyType({})
) -> dict[str, float]:
    """Run one side in its own process."""
    Path(folder).mkdir(exist_ok=True)
    process = subprocess.run(
        _child_command(side, count, folder),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    result: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return result


def _evaluate_with_taleward(count: int, folder: Path) -> dict[str, float]:
    import mlflow

    import taleward as tw

    tracking_uri = tw.evaluation.default_tracking_uri(folder)
    options: Any = {"tracking_uri": tracking_uri, "spool": folder / "spool"}
    data = [{"inputs": {"n": n}, "references": ["a tale"]} for n in range(count)]
    tw.evaluate(_write, data[:2], ["words"], **options)  # creates the store
    start = time.perf_counter()
    evaluation = tw.evaluate(_write, data, ["words", "characters", "latency"], **options)
    duration_s = time.perf_counter() - start
    traces = _traces(mlflow.MlflowClient(tracking_uri=tracking_uri), evaluation.run_id)
    stored = sum(len(t.data.spans[0].attributes["scores"]) == 3 for t in traces)
    return {"requested": count, "stored": stored, "duration_s": duration_s}


def _evaluate_and_be_killed(count: int, folder: Path) -> dict[str, float]:
    """Evaluate; the first time, the process kills itself halfway."""
    import mlflow

    import taleward as tw

    # One byte per generated row.
    log, marker = folder / "generated", folder / "killed"

    def write(inputs: Mapping[str, Any]) -> str:
        with log.open("a") as file:
            file.write("x")
        if not marker.exists() and log.stat().st_size >= count // 2:
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return _write(inputs)

    tracking_uri = tw.evaluation.default_tracking_uri(folder)
    data = [{"id": f"row {n}", "inputs": {"n": n}} for n in range(count)]
    evaluation = tw.evaluate(
        write,
        data,
        ["words", "characters", "latency"],
        tracking_uri=tracking_uri,
        spool=folder / "spool",
        name="killed",
    )
    traces = _traces(mlflow.MlflowClient(tracking_uri=tracking_uri), evaluation.run_id)
    rows = Counter(json.dumps(t.data.spans[0].inputs, sort_keys=True) for t in traces)
    stored_once = sum(times == 1 for times in rows.values())
    return {"stored": len(traces), "stored_once": stored_once, "generated_twice": log.stat().st_size - count}


def _evaluate_with_mlflow(count: int, folder: Path) -> dict[str, float]:
    import mlflow
    from mlflow.genai.scorers import scorer

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment("peer")

    def words(outputs: str) -> int:
        return len(outputs.split())

    def characters(outputs: str) -> int:
        return len(outputs)

    def begins(outputs: str) -> bool:
        return outputs.startswith("A")

    def predict(n: int) -> str:
        return _write({"n": n})

    data = [{"inputs": {"n": n}} for n in range(count)]
    scorers = [scorer(function) for function in (words, characters, begins)]
    start = time.perf_counter()
    evaluation = mlflow.genai.evaluate(data=data, predict_fn=predict, scorers=scorers)
    duration_s = time.perf_counter() - start
    traces = _traces(mlflow.MlflowClient(), evaluation.run_id)
    stored = sum(len({a.name for a in t.info.assessments}) == 3 for t in traces)
    return {"requested": count, "stored": stored, "duration_s": duration_s}


def _write(inputs: Mapping[str, Any]) -> str:
    return f"A tale of fox number {inputs['n']} " * 10


def _traces(client: Any, run_id: str | None) -> list[Any]:
    """Return all traces of a run."""
    experiment_id = client.get_run(run_id).info.experiment_id
    traces: list[Any] = []
    token = None
    while True:
        page = client.search_traces(locations=[experiment_id], run_id=run_id, max_results=500, page_token=token)
        traces += page
        token = page.token
        if not token:
            return traces


_SIDES = {"ours": _evaluate_with_taleward, "peer": _evaluate_with_mlflow, "killed": _evaluate_and_be_killed}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line, or one side of it in a child process."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--child"]:
        side, count, folder = arguments[1:]
        print(json.dumps(_SIDES[side](int(count), Path(folder))))
        return 0
    return run("evaluation_runs", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())

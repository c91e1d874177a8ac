"""Evaluation runs: rows a second and rows kept, with MLflow on SQLite, and mlflow.genai.evaluate beside it.

Fake models and three cheap metrics, each side in a process and a store of its own. `--quick` gives the peer fewer rows:
with its defaults it takes seconds for each.
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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.table import Row, run

GOAL = 40.0
_ROWS = 1000
_PEER_ROWS = {False: 200, True: 12}
_UNLIMITED = {
    "MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT": "0",
    "MLFLOW_GENAI_EVAL_SCORER_RATE_LIMIT": "0",
    "MLFLOW_GENAI_EVAL_MAX_WORKERS": "4",
}


def measure(quick: bool) -> Iterator[Row]:
    """Ours and the peer's two settings, one after the other."""
    ours = _child("ours", _ROWS, {})
    peers = [
        ("mlflow.genai.evaluate, defaults", _child("peer", _PEER_ROWS[quick], {})),
        ("mlflow.genai.evaluate, no rate limit, 4 workers", _child("peer", _PEER_ROWS[quick] * 2, _UNLIMITED)),
    ]
    for name, peer in peers:
        speed, other = (found["asked"] / found["seconds"] for found in (ours, peer))
        yield Row(
            f"rows evaluated and logged ({_ROWS:,} against {peer['asked']:,.0f})",
            "rows/s",
            speed,
            other,
            name,
            speed / other,
            f"at least {GOAL:g}",
            speed >= GOAL,
        )
    for name, peer in peers:
        share, other = (found["kept"] / found["asked"] for found in (ours, peer))
        yield Row(
            "rows that are in the store with all their scores",
            "share",
            share,
            other,
            name,
            share / other if other else None,
            "1",
            share == 1,
        )
    yield from killed(_ROWS)


def killed(rows: int) -> Iterator[Row]:
    """A run that is killed in its middle, and asked for again."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.evaluation_runs", "killed", str(rows), folder]
        first = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        again = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    found = json.loads(again.stdout.splitlines()[-1])
    whole = first.returncode == -signal.SIGKILL and found["kept"] == found["once"] == rows
    yield Row(f"rows of {rows:,} after kill -9 and a second start", "rows", found["kept"], None, "", None,
              f"{rows:,}", whole)  # fmt: skip
    yield Row("of these recorded once", "rows", found["once"], None, "", None, f"{rows:,}", whole)
    yield Row("rows told again", "rows", found["again"])


def _child(which: str, rows: int, settings: Mapping[str, str]) -> dict[str, float]:
    """Run one side in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.evaluation_runs", which, str(rows), folder]
        done = subprocess.run(
            command, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _ours(rows: int, folder: Path) -> dict[str, float]:
    import mlflow

    import taleward as tw
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    uri = default_tracking_uri(folder)
    data = [{"inputs": {"n": n}, "references": ["a tale"]} for n in range(rows)]
    tw.evaluate(_tell, data[:2], ["words"], tracking_uri=uri, spool=folder / "spool")  # makes the store
    begun = time.perf_counter()
    found = tw.evaluate(_tell, data, ["words", "characters", "latency"], tracking_uri=uri, spool=folder / "spool")
    seconds = time.perf_counter() - begun
    client = mlflow.MlflowClient(tracking_uri=uri)
    where = client.get_run(found.run_id).info.experiment_id
    traces = _all(client, where, found.run_id)
    kept = sum(len(t.data.spans[0].attributes["scores"]) == 3 for t in traces)
    return {"asked": rows, "kept": kept, "seconds": seconds}


def _killed(rows: int, folder: Path) -> dict[str, float]:
    """The run; it kills its own process at its middle, the first time."""
    import mlflow

    import taleward as tw
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    told, marker = folder / "told", folder / "killed"

    def tell(inputs: Mapping[str, Any]) -> str:
        with told.open("a") as file:
            file.write("x")
        if not marker.exists() and told.stat().st_size >= rows // 2:
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return _tell(inputs)

    uri = default_tracking_uri(folder)
    data = [{"id": f"row {n}", "inputs": {"n": n}} for n in range(rows)]
    found = tw.evaluate(
        tell, data, ["words", "characters", "latency"], tracking_uri=uri, spool=folder / "spool", name="killed"
    )
    client = mlflow.MlflowClient(tracking_uri=uri)
    traces = _all(client, client.get_run(found.run_id).info.experiment_id, found.run_id)
    names = Counter(json.dumps(t.data.spans[0].inputs, sort_keys=True) for t in traces)
    once = sum(count == 1 for count in names.values())
    return {"kept": len(traces), "once": once, "again": told.stat().st_size - rows}


def _peer(rows: int, folder: Path) -> dict[str, float]:
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
        return _tell({"n": n})

    begun = time.perf_counter()
    data = [{"inputs": {"n": n}} for n in range(rows)]
    scorers = [scorer(function) for function in (words, characters, begins)]
    found = mlflow.genai.evaluate(data=data, predict_fn=predict, scorers=scorers)
    seconds = time.perf_counter() - begun
    client = mlflow.MlflowClient()
    where = client.get_run(found.run_id).info.experiment_id
    traces = _all(client, where, found.run_id)
    kept = sum(len({a.name for a in t.info.assessments}) == 3 for t in traces)
    return {"asked": rows, "kept": kept, "seconds": seconds}


def _tell(inputs: Mapping[str, Any]) -> str:
    return f"A tale of fox number {inputs['n']} " * 10


def _all(client: Any, where: str, run_id: str | None) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = client.search_traces(locations=[where], run_id=run_id, max_results=500, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


if __name__ == "__main__":
    if sys.argv[1:2] in (["ours"], ["peer"], ["killed"]):
        side = {"ours": _ours, "peer": _peer, "killed": _killed}[sys.argv[1]]
        print(json.dumps(side(int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        run("evaluation_runs", measure)

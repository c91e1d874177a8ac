"""Evaluations with a real MLflow store: recorded, killed, cut off, uploaded later, and loaded again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

import taleward as tw
from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.evaluation.evaluator import evaluate
from taleward.evaluation.journal import journals
from taleward.evaluation.tracking.runs import load_evaluation, upload_pending
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.mean_metric import MeanOf, size

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")

ROWS: list[dict[str, Any]] = [{"id": f"row {n}", "inputs": {"who": "fox " * (n % 4)}} for n in range(12)]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


def tell(inputs: dict[str, str]) -> str:
    return f"A tale of {inputs['who']}<script>alert(1)</script>"


def load_run(uri: str, run_id: str) -> tuple[Any, list[Any]]:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.get_run(run_id)
    return run, list(client.search_traces(locations=[run.info.experiment_id], run_id=run_id, max_results=500))


def test_an_evaluation_is_one_mlflow_run_with_everything_in_it(uri: str, tmp_path: Path) -> None:
    import mlflow

    evaluation = evaluate(tell, ROWS, [size()], name="try", params={"prompt": "2"}, tracking_uri=uri, spool=tmp_path)
    assert evaluation.run_id is not None
    run, traces = load_run(uri, evaluation.run_id)
    score = evaluation.scores["size"]
    assert run.info.status == "FINISHED"
    # Rounded as people read them; MLflow groups them by what is before the slash.
    assert run.data.metrics == {
        "size": float(f"{score.value:.4g}"),
        "size/low": float(f"{score.low:.4g}"),
        "size/high": float(f"{score.high:.4g}"),
        "failed": 0,
    }
    assert score.value == sum(len(tell(r["inputs"])) for r in ROWS) / 12
    assert score.low < score.value < score.high  # type: ignore[operator]
    assert (run.data.params["system"], run.data.params["prompt"], run.data.params["samples"]) == ("tell", "2", "12")
    assert {t.info.tags["sample"] for t in traces} == {r["id"] for r in ROWS}
    [root] = next(t for t in traces if t.info.tags["sample"] == "row 3").data.spans
    assert (root.inputs, root.outputs) == (ROWS[3]["inputs"], tell(ROWS[3]["inputs"]))
    assert root.attributes["scores"] == {"size": len(root.outputs)}
    client = mlflow.MlflowClient(tracking_uri=uri)
    table = json.loads(Path(client.download_artifacts(evaluation.run_id, "samples.json")).read_text())
    assert table["columns"] == ["id", "inputs", "output", "size"]
    assert len(table["data"]) == 12
    page = Path(client.download_artifacts(evaluation.run_id, "report.html")).read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "")
    assert load_evaluation(evaluation.run_id, uri).scores == evaluation.scores
    assert not list(tmp_path.iterdir())  # the journal is gone once MLflow has everything


def test_tales_are_traced_with_their_verdicts(uri: str, tmp_path: Path) -> None:
    guard = tw.Guard(FakeWriter("It was bad.", "A good fox."), FakeJudge(), attempts=2)
    revised = MeanOf("revised", lambda s: len(s.tale.attempts) - 1 if s.tale else 0, higher_is_better=False)
    evaluation = evaluate(guard, ROWS[:1], [revised], tracking_uri=uri, spool=tmp_path)
    assert evaluation.params["judge.spec"] == "fake"
    assert evaluation.scores["revised"].value == 1
    assert evaluation.rows()[0]["released"] is True
    _, [trace] = load_run(uri, str(evaluation.run_id))
    assert sorted(s.name for s in trace.data.spans if s.span_type == "EVALUATOR") == ["judge", "judge"]
    assert trace.info.tags["tale_id"] == evaluation.samples[0].tale.id  # type: ignore[union-attr]


def test_a_judge_on_labeled_texts_gets_its_curves(uri: str, tmp_path: Path) -> None:
    import mlflow

    texts = [("fine", "pass"), ("bad", "fail"), ("so bad", "fail"), ("dull", "pass")]
    evaluation = evaluate(
        FakeJudge(),
        [{"output": t, "label": label} for t, label in texts],
        ["judge_pass_rate"],
        tracking_uri=uri,
        spool=tmp_path,
    )
    assert evaluation.scores["judge_pass_rate"].value == 0.5
    plots = mlflow.MlflowClient(tracking_uri=uri).list_artifacts(evaluation.run_id, "plots")
    assert {p.path for p in plots} == {
        f"plots/{name}.png" for name in ("precision-recall", "reliability", "shares", "categories")
    }


def test_failed_samples_are_reported_and_the_others_go_on(uri: str, tmp_path: Path) -> None:
    async def needs_somebody(inputs: dict[str, str]) -> str:
        if inputs["who"] == "":
            raise ValueError("nobody to tell of")
        return inputs["who"]

    evaluation = evaluate(RunnableLambda(needs_somebody), ROWS, [size()], tracking_uri=uri, spool=tmp_path)
    assert dict(evaluation.failed) == {f"row {n}": "ValueError: nobody to tell of" for n in (0, 4, 8)}
    score = evaluation.scores["size"]
    assert (len(evaluation.ids), score.n, score.left_out) == (12, 9, 3)
    assert load_run(uri, str(evaluation.run_id))[0].data.metrics["failed"] == 3
    with pytest.raises(ConfigurationError, match="all 3 samples failed; the first: ValueError: nobody"):
        evaluate(needs_somebody, [ROWS[0], ROWS[4], ROWS[8]], [size()], tracking_uri=uri, spool=tmp_path)


def test_given_outputs_are_measured_in_a_notebook(uri: str, tmp_path: Path) -> None:
    async def cell() -> Any:
        return evaluate(["ab", "abcd"], ROWS[:2], [size()], tracking_uri=uri, spool=tmp_path)

    assert asyncio.run(cell()).scores["size"].value == 3
    with pytest.raises(ConfigurationError, match="got 1 outputs for 2 samples"):
        evaluate(["ab"], ROWS[:2], [size()], tracking_uri=uri, spool=tmp_path)
    with pytest.raises(InvalidFile, match=r"duplicate id .row 0."):
        evaluate(["ab", "c"], [ROWS[0], ROWS[0]], [size()], tracking_uri=uri, spool=tmp_path)


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.helpers.mean_metric import size
from taleward.evaluation.evaluator import evaluate

def tell(inputs):
    with open(sys.argv[4], "a") as out:
        out.write(inputs["n"] + "\\n")
    time.sleep(0.002)
    return inputs["n"]

rows = [{"inputs": {"n": str(n)}} for n in range(150)]
options = {"name": "killed", "tracking_uri": sys.argv[2], "spool": Path(sys.argv[3]), "concurrency": 4}
evaluation = evaluate(tell, rows, [size()], **options)
print(evaluation.run_id)
"""


def test_a_killed_evaluation_continues_and_records_no_sample_twice(uri: str, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(Path(__file__).parents[2]), uri]
    command += [str(tmp_path / "spool"), str(calls)]
    with subprocess.Popen(command) as child:
        while not (calls.exists() and calls.read_text().count("\n") >= 40):
            assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
    before = calls.read_text().splitlines()
    assert 40 <= len(before) < 150
    resumed = subprocess.run(command, capture_output=True, text=True, check=True)
    after = calls.read_text().splitlines()
    assert set(after) == {str(n) for n in range(150)}
    # Only samples that were running when the process was killed run again: at most as many as run at once.
    assert len(after) - 150 <= 4
    _, traces = load_run(uri, resumed.stdout.strip())
    assert sorted(int(t.info.tags["sample"]) for t in traces) == list(range(1, 151))


def test_an_unreachable_store_gets_everything_later(tmp_path: Path) -> None:
    store, away = tmp_path / "mlflow.db", tmp_path / "away.db"
    uri, spool = f"sqlite:///{store}", tmp_path / "spool"
    assert evaluate(tell, ROWS, [size()], name="first", tracking_uri=uri, spool=spool).run_id

    calls = []

    def cut_off(inputs: dict[str, str]) -> str:
        calls.append(inputs)
        if len(calls) == 6:
            store.rename(away)
            store.write_bytes(b"this is not a database" * 100)
        return tell(inputs)

    evaluation = evaluate(cut_off, ROWS, [size()], name="cut off", tracking_uri=uri, spool=spool, concurrency=1)
    assert evaluation.run_id is None
    assert evaluation.undelivered is not None
    assert len(evaluation.samples) == 12
    assert [j.plan["name"] for j in journals(spool)] == ["cut off"]
    assert upload_pending(spool)[0].undelivered is not None
    away.rename(store)
    [uploaded] = upload_pending(spool)
    run, traces = load_run(uri, str(uploaded.run_id))
    assert (run.info.status, run.info.run_name, len(traces)) == ("FINISHED", "cut off", 12)
    assert run.data.metrics["size"] == evaluation.scores["size"].value
    assert journals(spool) == []


def test_uploading_twice_makes_one_run(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from taleward.evaluation.tracking import runs as run_store

    def fail(*_: Any) -> None:
        raise ConnectionError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(run_store, "_check", fail)  # everything is written, but the confirmation is lost
        assert evaluate(tell, ROWS, [size()], name="twice", tracking_uri=uri, spool=tmp_path).run_id is None
    [uploaded] = upload_pending(tmp_path)
    _, traces = load_run(uri, str(uploaded.run_id))
    assert len(traces) == 12
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("taleward").experiment_id
    assert len(client.search_runs([experiment], "attributes.run_name = 'twice'")) == 1
    assert len(client.get_metric_history(uploaded.run_id, "size")) == 1

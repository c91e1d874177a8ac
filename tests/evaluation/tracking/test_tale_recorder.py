"""Tales recorded in a real MLflow store, and in one that is damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from taleward.chains.story import StoryChain
from taleward.core.events import DoneEvent
from taleward.core.tale import Tale
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder, default_tracking_uri
from taleward.moderation.guard.guard import Guard
from taleward.testing import FakeJudge, FakeWriter

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return default_tracking_uri(tmp_path_factory.mktemp("project") / "a folder" / ".taleward")


def record_tale(uri: str, *drafts: str) -> Tale:
    guard = Guard(FakeWriter(*drafts), FakeJudge(), attempts=2, recorder=MlflowRecorder(uri))
    return guard.invoke({"setting": "forest"})


def test_a_tale_is_a_trace_with_attempts_verdicts_and_lineage(uri: str) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    tale = record_tale(uri, "a bad draft", "a good draft")
    assert mlflow.get_tracking_uri() == before
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("taleward")
    assert experiment is not None
    assert "a%20folder/.taleward/artifacts" in experiment.artifact_location
    [trace] = client.search_traces(locations=[experiment.experiment_id], filter_string=f"tags.tale_id = '{tale.id}'")
    spans = {span.name: span for span in trace.data.spans}
    assert set(spans) == {"tale", "attempt 1", "attempt 2", "judge"} | ({"write"} & set(spans))
    root = spans["tale"]
    assert root.inputs == {"setting": "forest"}
    assert root.outputs["text"] == "a good draft"
    assert root.attributes["lineage"]["judge"] == "fake"
    judgments = [(span.inputs, span.outputs["outcome"]) for span in trace.data.spans if span.name == "judge"]
    assert sorted(judgments) == [("a bad draft", "fail"), ("a good draft", "pass")]
    assert trace.info.tags["released"] == "True"


def test_token_counts_are_where_mlflow_expects_them(uri: str) -> None:
    import mlflow

    writer = StoryChain("embedded:storyteller-mini", seed=1, max_tokens=8)
    values = {name: variable.example for name, variable in writer.template.variables.items()}
    tale = Guard(writer, FakeJudge(), recorder=MlflowRecorder(uri)).invoke(values)
    client = mlflow.MlflowClient(uri)
    experiment_id = client.get_experiment_by_name("taleward").experiment_id
    [trace] = client.search_traces(locations=[experiment_id], filter_string=f"tags.tale_id = '{tale.id}'")
    assert trace.info.token_usage["output_tokens"] == tale.attempts[0].calls[0].output_tokens == 8


def test_a_refused_tale_is_recorded_too(uri: str) -> None:
    import mlflow

    tale = record_tale(uri, "a bad draft")
    assert not tale.released
    client = mlflow.MlflowClient(uri)
    experiment_id = client.get_experiment_by_name("taleward").experiment_id
    [trace] = client.search_traces(locations=[experiment_id], filter_string=f"tags.tale_id = '{tale.id}'")
    assert trace.info.tags["released"] == "False"
    [root] = [span for span in trace.data.spans if span.name == "tale"]
    assert root.outputs["text"] is None
    assert root.outputs["refusal"]["reason"] == "failed"


def test_a_damaged_store_does_not_lose_the_tale(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tmp_path / "mlflow.db"
    broken.write_bytes(b"this is not a database" * 100)
    assert record_tale(f"sqlite:///{broken}", "a good draft").text == "a good draft"
    assert "was not recorded" in caplog.text
    with closing(sqlite3.connect(broken)) as db, pytest.raises(sqlite3.DatabaseError):
        db.execute("select 1 from sqlite_master")


def test_the_trace_of_a_streamed_tale_has_the_decision_on_each_sentence(uri: str) -> None:
    import mlflow

    writer = FakeWriter(["A fox ran. It was bad. "], ["It slept."])
    guard = Guard(writer, FakeJudge(), recorder=MlflowRecorder(uri))
    *_, done = guard.stream({})
    assert isinstance(done, DoneEvent)
    client = mlflow.MlflowClient(uri)
    experiment_id = client.get_experiment_by_name("taleward").experiment_id
    [trace] = client.search_traces(locations=[experiment_id], filter_string=f"tags.tale_id = '{done.tale.id}'")
    by_id = {span.span_id: span for span in trace.data.spans}
    hold_spans = [span for span in trace.data.spans if span.name.startswith("hold")]
    assert [(by_id[s.parent_id].name, s.inputs, s.outputs["outcome"], s.outputs["categories"]) for s in hold_spans] == [
        ("attempt 1", "A fox ran. ", "pass", []),
        ("attempt 1", "It was bad. ", "fail", ["violence"]),
        ("attempt 2", "It slept.", "pass", []),
    ]
    assert all(span.outputs["held_s"] >= 0 for span in hold_spans)


def test_a_recorder_counts_its_tales(uri: str) -> None:
    import mlflow

    recorder = MlflowRecorder(uri)
    for drafts in (["good"], ["bad", "good"], ["bad"]):
        Guard(FakeWriter(*drafts), FakeJudge(), attempts=2, recorder=recorder).invoke({})
    client = mlflow.MlflowClient(uri)
    experiment_id = client.get_experiment_by_name("taleward").experiment_id
    run = client.search_runs([experiment_id], order_by=["start_time DESC"])[0]
    assert run.info.run_name == "guard"
    assert run.data.metrics == {
        "tales": 3,
        "released": 2,
        "closed": 0,
        "revised": 1,
        "refused": 1,
        "refused/failed": 1,
        "turned_down": 3,
        "turned_down/violence": 3,
    }


def test_no_run_is_left_running(uri: str) -> None:
    import mlflow

    recorder = MlflowRecorder(uri, "ended runs")
    client = mlflow.MlflowClient(uri)
    ends = []
    for _ in range(2):
        Guard(FakeWriter("good"), FakeJudge(), recorder=recorder).invoke({})
        [run] = client.search_runs([client.get_experiment_by_name("ended runs").experiment_id])
        assert run.info.status == "FINISHED"
        ends.append(run.info.end_time)
    assert ends[0] < ends[1]
    assert run.data.metrics["tales"] == 2


def test_the_end_of_a_run_prints_nothing(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    # MLflow prints links for servers only, so let it take this store for one.
    module = "mlflow.tracking._tracking_service.client"
    monkeypatch.setattr(f"{module}.RestStore", object)
    monkeypatch.setattr(f"{module}.get_workspace_url", lambda: "http://localhost")
    monkeypatch.delenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", raising=False)
    Guard(FakeWriter("good"), FakeJudge(), recorder=MlflowRecorder(uri, "no links")).invoke({})
    assert capsys.readouterr().out == ""
    client = mlflow.MlflowClient(uri)
    [run] = client.search_runs([client.get_experiment_by_name("no links").experiment_id])
    assert run.info.status == "FINISHED"
    client.set_terminated(run.info.run_id)
    assert "View run" in capsys.readouterr().out  # what other code of the app prints stays


def test_a_run_ends_even_if_its_counts_cannot_be_stored(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    def fail(*_: object) -> None:
        msg = "disk full"
        raise OSError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_batch", fail)
        Guard(FakeWriter("good"), FakeJudge(), recorder=MlflowRecorder(uri, "failed counts")).invoke({})
    client = mlflow.MlflowClient(uri)
    [run] = client.search_runs([client.get_experiment_by_name("failed counts").experiment_id])
    assert run.info.status == "FINISHED"

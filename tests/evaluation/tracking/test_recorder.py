"""Tales in a real MLflow store, and what happens when there is none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from taleward.chains.story import StoryChain
from taleward.core.events import DoneEvent
from taleward.core.tale import Tale
from taleward.evaluation.tracking.recorder import MlflowRecorder, default_tracking_uri
from taleward.moderation.guard.guard import Guard
from tests.helpers.fakes import FakeJudge, Teller, Writer

# MLflow's own code warns on import and when its store is first made.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return default_tracking_uri(tmp_path_factory.mktemp("project") / "a folder" / ".taleward")


def told(uri: str, *drafts: str) -> Tale:
    guard = Guard(Writer(*drafts).runnable(), FakeJudge(), attempts=2, recorder=MlflowRecorder(uri))
    return guard.invoke({"setting": "forest"})


def test_a_tale_is_a_trace_with_attempts_verdicts_and_lineage(uri: str) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    tale = told(uri, "a bad draft", "a good draft")
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
    judged = [(span.inputs, span.outputs["outcome"]) for span in trace.data.spans if span.name == "judge"]
    assert sorted(judged) == [("a bad draft", "fail"), ("a good draft", "pass")]
    assert trace.info.tags["released"] == "True"


def test_tokens_are_counted_where_mlflow_counts_them(uri: str) -> None:
    import mlflow

    writer = StoryChain("embedded:storyteller", seed=1, max_tokens=8)
    values = {name: variable.example for name, variable in writer.template.variables.items()}
    tale = Guard(writer, FakeJudge(), recorder=MlflowRecorder(uri)).invoke(values)
    client = mlflow.MlflowClient(uri)
    where = client.get_experiment_by_name("taleward").experiment_id
    [trace] = client.search_traces(locations=[where], filter_string=f"tags.tale_id = '{tale.id}'")
    assert trace.info.token_usage["output_tokens"] == tale.attempts[0].calls[0].output_tokens == 8


def test_a_refused_tale_is_recorded_too(uri: str) -> None:
    import mlflow

    tale = told(uri, "a bad draft")
    assert not tale.released
    client = mlflow.MlflowClient(uri)
    where = client.get_experiment_by_name("taleward").experiment_id
    [trace] = client.search_traces(locations=[where], filter_string=f"tags.tale_id = '{tale.id}'")
    assert trace.info.tags["released"] == "False"
    [root] = [span for span in trace.data.spans if span.name == "tale"]
    assert root.outputs["text"] is None
    assert root.outputs["refusal"]["reason"] == "failed"


def test_a_store_that_cannot_be_reached_does_not_take_the_tale(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "mlflow.db"
    broken.write_bytes(b"this is no database" * 100)
    assert told(f"sqlite:///{broken}", "a good draft").text == "a good draft"
    assert "was not recorded" in caplog.text
    with closing(sqlite3.connect(broken)) as db, pytest.raises(sqlite3.DatabaseError):
        db.execute("select 1 from sqlite_master")


def test_a_streamed_tale_shows_what_was_held_and_why(uri: str) -> None:
    import mlflow

    teller = Teller(["A fox ran. It was bad. "], ["It slept."])
    guard = Guard(teller, FakeJudge(), recorder=MlflowRecorder(uri))
    *_, done = guard.stream({})
    assert isinstance(done, DoneEvent)
    client = mlflow.MlflowClient(uri)
    where = client.get_experiment_by_name("taleward").experiment_id
    [trace] = client.search_traces(locations=[where], filter_string=f"tags.tale_id = '{done.tale.id}'")
    by_id = {span.span_id: span for span in trace.data.spans}
    held = [span for span in trace.data.spans if span.name.startswith("hold")]
    assert [(by_id[s.parent_id].name, s.inputs, s.outputs["outcome"], s.outputs["categories"]) for s in held] == [
        ("attempt 1", "A fox ran. ", "pass", []),
        ("attempt 1", "It was bad. ", "fail", ["violence"]),
        ("attempt 2", "It slept.", "pass", []),
    ]
    assert all(span.outputs["held_s"] >= 0 for span in held)


def test_a_recorder_counts_its_tales(uri: str) -> None:
    import mlflow

    recorder = MlflowRecorder(uri)
    for drafts in (["good"], ["bad", "good"], ["bad"]):
        Guard(Writer(*drafts).runnable(), FakeJudge(), attempts=2, recorder=recorder).invoke({})
    client = mlflow.MlflowClient(uri)
    where = client.get_experiment_by_name("taleward").experiment_id
    run = client.search_runs([where], order_by=["start_time DESC"])[0]
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

"""MLflow on Postgres: tales and feedback come back, and no message shows the password."""

from __future__ import annotations

import traceback

import pytest

from taleward.core.errors import TalewardError
from taleward.evaluation.feedback.mlflow_store import FeedbackStore
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
from taleward.moderation.guard.guard import Guard
from taleward.testing import FakeJudge, FakeWriter

# MLflow's own code warns on import and when it creates its store.
pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("default")]

PASSWORD = "hunter2-and-more"


@pytest.fixture
def uri(postgres_database: str) -> str:
    # The server trusts everyone on its socket, so any password is right.
    return postgres_database.replace("postgresql://postgres@", f"postgresql+psycopg://postgres:{PASSWORD}@")


def test_tales_and_feedback_are_stored(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    import mlflow

    guard = Guard(FakeWriter("a bad draft", "a good draft"), FakeJudge(), attempts=2, recorder=MlflowRecorder(uri))
    tale = guard.invoke({"setting": "forest"})
    assert tale.text == "a good draft"
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("taleward")
    [trace] = client.search_traces(locations=[experiment.experiment_id], filter_string=f"tags.tale_id = '{tale.id}'")
    [root] = [span for span in trace.data.spans if span.name == "tale"]
    assert root.inputs == {"setting": "forest"}
    assert root.outputs["text"] == "a good draft"
    [run] = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["released"] == 1

    store = FeedbackStore(uri)
    store.record(tale.id, person="anna", rating=2, kid_friendly=False, categories=["frightening"])
    store.record(tale.id, person="anna", rating=4)
    [feedback] = FeedbackStore(uri).read(tale.id)
    assert (feedback.person, feedback.rating, feedback.kid_friendly) == ("anna", 4, False)
    assert feedback.categories == ("frightening",)

    with pytest.raises(TalewardError, match="unknown tale") as caught:
        store.read("nobody")
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)) + caplog.text

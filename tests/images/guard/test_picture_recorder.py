"""Guarded pictures in MLflow: traces, assessments and artifacts; refused pictures only if they are wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taleward.core.verdict import Finding
from taleward.evaluation.feedback.mlflow_store import FeedbackStore, record_feedback
from taleward.evaluation.tracking.tale_recorder import default_tracking_uri
from taleward.images.guard.image_guard import ImageGuard
from taleward.images.guard.picture_judge import PictureJudge
from taleward.images.guard.picture_recorder import MlflowPictureRecorder
from taleward.images.picture import Picture
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge
from tests.helpers.image_models import NoiseModel

pytest.importorskip("mlflow")


class Picky(PictureJudge):
    """Fails the first picture."""

    calls = 0

    def assess(self, picture: Picture) -> Assessment:
        self.calls += 1
        return Assessment(findings=(Finding(category="frightening", severity="severe"),) if self.calls == 1 else ())


def test_a_result_is_a_trace_with_its_pictures_as_artifacts(tmp_path: Path) -> None:
    import mlflow

    uri = default_tracking_uri(tmp_path)
    recorder = MlflowPictureRecorder(uri, keep_refused=True)
    guard = ImageGuard(NoiseModel(), FakeJudge(), picture_judges=[Picky("picky")], fallback=None, recorder=recorder)
    result = guard.invoke("a fox", seed=3)
    assert len(result.attempts) == 2
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("taleward")
    [run] = client.search_runs([experiment.experiment_id])
    folder = Path(client.download_artifacts(run.info.run_id, f"pictures/{result.id}", str(tmp_path)))
    assert {path.name for path in folder.iterdir()} == {"1.png", "refused-1-1.png", "result.json"}
    assert Picture.open(folder / "1.png").width == result.picture.width
    stored = json.loads((folder / "result.json").read_text())
    assert "data" not in stored["released_pictures"][0]
    [trace] = client.search_traces(locations=[experiment.experiment_id])
    assert trace.info.tags["tale_id"] == result.id
    names = [span.name for span in trace.data.spans]
    assert {"judge prompt", "attempt 1 (model)", "attempt 2 (model)"} <= set(names)
    assert any(a.name == "verdict" and a.value == "pass" for a in trace.info.assessments)


def test_people_give_feedback_on_pictures_as_on_tales(tmp_path: Path) -> None:
    uri = default_tracking_uri(tmp_path)
    options = {"picture_judges": ["picture-checks"], "fallback": None}
    guard = ImageGuard(NoiseModel(), FakeJudge(), recorder=MlflowPictureRecorder(uri), **options)  # type: ignore[arg-type]
    result = guard.invoke("a fox", seed=3)
    record_feedback(result.id, person="a parent", rating=5, tracking_uri=uri)
    [feedback] = FeedbackStore(uri).read(result.id)
    assert (feedback.person, feedback.rating) == ("a parent", 5)

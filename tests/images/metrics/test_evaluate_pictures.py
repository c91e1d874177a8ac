"""An evaluation of pictures with a real MLflow store: what is measured, recorded, resumed, compared and refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import taleward as tw
from taleward.core.errors import ConfigurationError, InvalidInputs, UnknownName
from taleward.evaluation.comparison import compare
from taleward.evaluation.result import Evaluation
from taleward.evaluation.tracking.runs import load_evaluation
from taleward.images.guard.image_guard import ImageGuard
from taleward.images.metrics import resolve_picture_metrics
from taleward.images.metrics.base import PictureSample
from taleward.images.metrics.evaluate import evaluate_pictures
from taleward.images.models.factory import image_model
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec
from taleward.testing import FakeJudge
from tests.helpers.image_models import NoiseModel

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own, on import
PROMPTS: tuple[PromptSpec | str, ...] = (
    "a fox asleep in a snowy forest",
    PromptSpec(subject="a zorblax and a boat on the sea", colors=("blue",), aspect_ratio="16:9"),
    "a girl with a red balloon",
    "a lion in the desert",
)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def real() -> Sequence[Picture]:
    pictures: tuple[Picture, ...] = image_model("collage", pixels=4096).invoke("a cat in a garden", n=12, seed=50)
    return pictures


@pytest.fixture(scope="module")
def evaluation(uri: str, real: Sequence[Picture], tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    metrics = ["prompt_coverage", "palette_match", "aspect_match", "variation_diversity", "copy_rate", "kid", "fid",
               "feature_recall", "latency", "cost"]  # fmt: skip
    return evaluate_pictures(
        image_model("collage", pixels=4096), PROMPTS, metrics, n=3, reference=real, resamples=40, tracking_uri=uri,
        spool=tmp_path_factory.mktemp("spool"), progress=False,
    )  # fmt: skip


def test_every_metric_has_a_value_and_an_interval(evaluation: Evaluation) -> None:
    scores = evaluation.scores
    for name, score in scores.items():
        assert score.value is not None, name
        assert score.low is not None
        assert score.high is not None
        assert score.low <= score.value <= score.high
    assert scores["prompt_coverage"].value == pytest.approx((1 + 1 / 2 + 1 + 1) / 4)
    assert (scores["palette_match"].value, scores["palette_match"].n) == (1, 1)
    assert scores["palette_match"].left_out == 3
    assert (scores["aspect_match"].value, scores["copy_rate"].value, scores["cost"].value) == (1, 0, 0)
    assert 0.02 < (scores["variation_diversity"].value or 0) < 0.5
    assert "features:random_convolutions" in scores["kid"].signature
    assert evaluation.metrics["fid"].values == (None,) * 4


def test_the_run_has_pictures_contact_sheet_table_and_plots(uri: str, evaluation: Evaluation) -> None:
    import mlflow

    assert evaluation.run_id is not None, evaluation.undelivered
    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.get_run(evaluation.run_id)
    assert run.data.params["model"] == "collage"
    assert {"kid", "kid/low", "kid/high", "prompt_coverage", "latency"} <= set(run.data.metrics)
    files = {artifact.path for artifact in client.list_artifacts(evaluation.run_id)}
    assert {"contact-sheet.png", "report.html", "samples.json", "plots", "pictures"} <= files
    plots = {artifact.path for artifact in client.list_artifacts(evaluation.run_id, "plots")}
    assert "plots/scores.png" in plots
    pictures = [artifact.path for artifact in client.list_artifacts(evaluation.run_id, "pictures")]
    assert len(pictures) == 12
    loaded = load_evaluation(evaluation.run_id, uri)
    assert loaded.scores["fid"] == evaluation.scores["fid"]


def test_two_models_are_compared_on_the_same_prompts(uri: str, evaluation: Evaluation, tmp_path: Path) -> None:
    metrics = resolve_picture_metrics(["prompt_coverage", "kid"], reference=evaluation.samples[0].pictures)  # type: ignore[attr-defined]
    runs = [
        evaluate_pictures(
            image_model("collage", pixels=4096), PROMPTS, metrics, n=2, name=name, params={"which": name},
            resamples=10, tracking_uri=uri, spool=tmp_path, progress=False,
        )
        for name in ("first", "second")
    ]  # fmt: skip
    result = compare(runs, metrics=metrics)
    assert all(pair.test.difference == pytest.approx(0, abs=1e-9) for pair in result.metrics["kid"].pairs)


def detector(picture: Picture, things: Sequence[str]) -> list[float]:
    return [0.9 if thing == "fox" else 0.1 for thing in things]


def run(model: Any, uri: str, spool: Path, metrics: Sequence[Any], **options: Any) -> Evaluation:
    options = {"n": 1, "resamples": 5, "progress": False, **options}
    return evaluate_pictures(model, PROMPTS, metrics, tracking_uri=uri, spool=spool, **options)


def test_a_detector_says_what_is_in_the_pictures_of_other_models(uri: str, tmp_path: Path) -> None:
    evaluation = run(NoiseModel(), uri, tmp_path, ["prompt_coverage"], detector=detector)
    assert list(evaluation.metrics["prompt_coverage"].values) == [1, 0, 0, 0]
    assert "detector:detector|threshold:0.5" in evaluation.scores["prompt_coverage"].signature


def test_without_a_detector_the_first_picture_of_such_a_model_ends_the_evaluation(uri: str, tmp_path: Path) -> None:
    model = NoiseModel()
    with pytest.raises(ConfigurationError) as error:
        run(model, uri, tmp_path, ["prompt_coverage"])
    assert "noise does not say what is in it" in str(error.value)
    assert len(model.drawn) == 1


def test_refusals_of_a_guard_have_no_pictures(uri: str, tmp_path: Path) -> None:
    judge = FakeJudge(["pass", "pass", "pass", "fail"])
    guard = ImageGuard(NoiseModel(), judge, picture_judges=["picture-checks"], fallback=None)
    metrics = ["release_rate", "aspect_match", "judge_pass_rate", "latency"]
    evaluation = run(guard, uri, tmp_path, metrics)
    assert list(evaluation.metrics["release_rate"].values) == [1, 1, 1, 0]
    assert evaluation.scores["aspect_match"].left_out == 1
    assert evaluation.params["judge"] == judge.spec
    refused = evaluation.samples[-1]
    assert isinstance(refused, PictureSample)
    assert (refused.pictures, refused.output) == ((), None)


def test_an_interrupted_evaluation_goes_on_without_drawing_again(uri: str, tmp_path: Path) -> None:
    class Interrupted(NoiseModel):
        def check_request(self, request: Any) -> None:
            if self.drawn and len(self.drawn) == 2:
                raise KeyboardInterrupt
            super().check_request(request)

    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(), uri, tmp_path, ["aspect_match"], name="resumed", params={"system": "same"})
    model = NoiseModel()
    evaluation = run(model, uri, tmp_path, ["aspect_match"], name="resumed", params={"system": "same"})
    assert len(model.drawn) == 2
    assert [len(sample.pictures) for sample in evaluation.samples] == [1] * 4  # type: ignore[attr-defined]


def test_size_is_measured_if_one_was_asked_for(uri: str, tmp_path: Path) -> None:
    evaluation = run(NoiseModel(), uri, tmp_path, ["size_match", "aspect_match"], size=(64, 32))
    assert (evaluation.scores["size_match"].value, evaluation.scores["aspect_match"].value) == (1, 1)


@pytest.mark.parametrize(
    ("specs", "options", "error", "message"),
    [
        ([], {}, ConfigurationError, "at least one prompt"),
        ("a fox", {}, ConfigurationError, "list of prompts"),
        ([3], {}, ConfigurationError, "expected a PromptSpec or text"),
        (["a fox"], {"metrics": ["fid"]}, ConfigurationError, "compares with real pictures"),
        (["a fox"], {"metrics": ["clip"]}, UnknownName, "prompt_coverage"),
        (["a fox"], {"metrics": []}, ConfigurationError, "one or more metrics"),
        (["a fox"], {"n": 0}, ConfigurationError, "n must be 1 or more"),
        (["a fox"], {"size": (33, 64)}, InvalidInputs, "multiples of 8"),
    ],
)
def test_bad_input_is_refused_before_anything_is_drawn(
    specs: Any, options: dict[str, Any], error: type[Exception], message: str, uri: str, tmp_path: Path
) -> None:
    model = NoiseModel()
    with pytest.raises((error, ConfigurationError), match="(?s)" + message):
        evaluate_pictures(model, specs, tracking_uri=uri, spool=tmp_path, **{"metrics": ["cost"], **options})
    assert model.drawn == []


def test_text_evaluations_say_that_picture_metrics_are_for_pictures(uri: str, tmp_path: Path) -> None:
    [metric] = resolve_picture_metrics(["aspect_match"])
    with pytest.raises(ConfigurationError, match="evaluate_pictures"):
        tw.evaluate(lambda inputs: "text", [{"inputs": {"a": "b"}}], [metric], tracking_uri=uri, spool=tmp_path)

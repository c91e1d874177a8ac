"""A review queue in a real MLflow store, and the commands that fill and read it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import taleward as tw
from taleward.cli.app import app
from taleward.core.errors import BackendError, ConfigurationError, UnknownName
from taleward.evaluation.feedback.mlflow_store import FeedbackStore
from taleward.evaluation.feedback.review_queue import ReviewQueue
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")

STORIES = {"A fox met a wolf in the dark wood.": 0.45, "Bread rises slowly inside warm ovens.": 0.2}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


@pytest.fixture
def tales(uri: str, request: pytest.FixtureRequest) -> list[tw.Tale]:
    recorder = MlflowRecorder(uri, request.node.name)
    return [
        tw.Guard(FakeWriter(text), FakeJudge(Assessment(scores={"violence": score})), recorder=recorder).invoke({})
        for text, score in STORIES.items()
    ]


@pytest.fixture
def queue(uri: str, tales: list[tw.Tale], request: pytest.FixtureRequest) -> ReviewQueue:
    return ReviewQueue(uri, request.node.name)


def traces(queue: ReviewQueue, tales: list[tw.Tale]) -> list[str]:
    return [queue.feedback.tale(tale.id).trace_id for tale in tales]


def test_a_queue_asks_the_questions_of_feedback_and_notices_the_answers(
    queue: ReviewQueue, tales: list[tw.Tale]
) -> None:
    first, second = traces(queue, tales)
    assert queue.trace_ids() == []
    assert queue.push([first, second, first], reviewers=["anna"]) == 2
    assert queue.push([first]) == 0
    [stored] = queue._store.list_review_queues(queue._experiment_id)
    asked = {queue._store.get_label_schema(schema_id).name for schema_id in stored.schema_ids}
    assert {"kid_friendly", "makes_sense", "categories", "for_training"} <= asked
    assert (stored.name, stored.users) == ("taleward", ["anna"])
    assert queue.pull().pending == 2
    queue.feedback.record(tales[0].id, person="anna", kid_friendly=False)
    queue.feedback.record(tales[1].id, person="anna", rating=3)  # not yet the question that counts
    progress = queue.pull()
    assert (progress.reviewed, progress.pending, progress.declined, progress.erased) == (1, 1, 0, 0)
    assert progress.reviewed_tales == (tales[0].id,)
    assert {f.tale_id for f in progress.feedback} == {tale.id for tale in tales}
    items = {item.item_id: item for item in queue._items()}
    assert (items[first].status, items[first].completed_by) == ("complete", "anna")
    assert items[second].status == "pending"
    assert queue.pull() == progress


def test_a_declined_and_an_erased_tale_are_counted_apart(queue: ReviewQueue, tales: list[tw.Tale]) -> None:
    queue.push([*traces(queue, tales), "tr-" + "0" * 32])
    [stored] = queue._store.list_review_queues(queue._experiment_id)
    queue._store.set_review_queue_item_status(
        stored.queue_id, item_id=traces(queue, tales)[0], status="declined", completed_by="anna"
    )
    progress = queue.pull()
    assert (progress.pending, progress.declined, progress.erased) == (1, 1, 1)


def test_a_disputed_tale_waits_for_another_answer(queue: ReviewQueue, tales: list[tw.Tale]) -> None:
    queue.feedback.record(tales[0].id, person="anna", kid_friendly=False)
    time.sleep(0.002)  # MLflow counts milliseconds
    queue.push(traces(queue, tales)[:1])
    assert (queue.pull().pending, queue.pull().reviewed) == (1, 0)
    queue.feedback.record(tales[0].id, person="ben", kid_friendly=True)
    assert (queue.pull().pending, queue.pull().reviewed) == (0, 1)


def test_a_queue_that_nobody_pushed_to_is_named(queue: ReviewQueue) -> None:
    with pytest.raises(UnknownName, match="unknown review queue 'taleward'") as caught:
        queue.pull()
    assert "review push" in str(caught.value.hint)


def test_an_item_that_mlflow_lost_is_an_error(
    queue: ReviewQueue, tales: list[tw.Tale], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue._store, "add_items_to_review_queue", lambda *args, **options: [])
    with pytest.raises(BackendError, match="did not store 2 of 2 tales in the queue 'taleward'"):
        queue.push(traces(queue, tales))


def test_tales_are_pushed_and_their_labels_pulled_in_the_terminal(
    uri: str, tales: list[tw.Tale], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pytest.importorskip("tokenizers", reason="the extra local is not installed")
    pytest.importorskip("sklearn", reason="the extra calibration is not installed")
    options = ["--tracking-uri", uri, "--experiment", request.node.name]

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["review", *arguments, *options], catch_exceptions=False)

    pushed = run("push", "1")
    assert pushed.exit_code == 0
    assert pushed.stdout.split()[:2] == [tales[0].id, "uncertain"]
    assert run("push", "5").stdout.split()[0] == tales[1].id  # what is in the queue is not sent again
    assert run("push", "5").stdout == ""
    store = FeedbackStore(uri, request.node.name)
    store.record(tales[0].id, person="anna", kid_friendly=False, categories=["frightening"], for_training=True,
                 requested_by_child=False)  # fmt: skip
    store.record(tales[1].id, person="anna", kid_friendly=True)
    pulled = run("pull", "--out", str(tmp_path / "labels.jsonl"))
    assert pulled.exit_code == 0
    assert pulled.stdout == "tales: 2 reviewed, 0 left, 0 declined; people: 1\n"
    assert "skipped 1: nobody gave their feedback for training" in pulled.stderr
    [label] = map(json.loads, (tmp_path / "labels.jsonl").read_text().splitlines())
    tune = ["tune", "judge", "--from-feedback", "--out", str(tmp_path / "tuned"), *options]
    with pytest.raises(ConfigurationError, match="6-8 is left out: 1 harmful and 0 harmless texts"):
        CliRunner().invoke(app, tune, catch_exceptions=False)
    text = next(iter(STORIES))
    assert label == {"text": text, "label": True, "categories": ["frightening"], "band": "6-8"}

"""What people say of tales, in a real MLflow store, by every way there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import taleward as tw
from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.evaluation.feedback.export import feedback_rows, labeled_rows, preference_pairs, write_rows
from taleward.evaluation.feedback.feedback import Feedback, MarkedSpan
from taleward.evaluation.feedback.store import FeedbackStore
from taleward.evaluation.tracking.recorder import MlflowRecorder
from taleward.moderation.calibration.labeled_data import Columns, load_labeled
from taleward.moderation.judges.base import Assessment
from tests.helpers.fakes import FakeJudge, Writer

# MLflow's own code warns on import and when its store is first made.
pytestmark = pytest.mark.filterwarnings("default")

TEXT = "A fox met a wolf 🐺 in the dark wood."


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


@pytest.fixture
def store(uri: str, request: pytest.FixtureRequest) -> FeedbackStore:
    return FeedbackStore(uri, request.node.name)


def tell(store: FeedbackStore, experiment: str, *drafts: str, score: float | None = None, **inputs: str) -> tw.Tale:
    judge = FakeJudge(None if score is None else lambda _: Assessment(scores={"violence": score}))
    recorder = MlflowRecorder(store.tracking_uri, experiment)
    writer = Writer(*(drafts or (TEXT,))).runnable()
    return tw.Guard(writer, judge, recorder=recorder, keep_drafts=True).invoke(inputs)


def typed(uri: str, experiment: str, person: str, *answers: str) -> Any:
    command = ["feedback", "--tracking-uri", uri, "--experiment", experiment, "--person", person]
    return CliRunner().invoke(app, command, input="".join(f"{a}\n" for a in answers))


def by_hand(uri: str, trace_id: str, person: str, monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    """What MLflow's own pages send when a person adds assessments there."""
    from mlflow.server import app as pages, handlers

    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", uri)
    monkeypatch.setattr(handlers, "_tracking_store", None)
    for name, value in answers.items():
        source = {"source_type": "HUMAN", "source_id": person}
        body = {"assessment": {"assessment_name": name, "feedback": {"value": value}, "source": source}}
        address = f"/api/3.0/mlflow/traces/{trace_id}/assessments"
        done = pages.test_client().post(address, json=body, headers={"Host": "localhost"})
        assert done.status_code == 200, done.text


def test_all_ways_to_say_it_read_back_the_same(
    store: FeedbackStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taleward.evaluation.feedback.widget import FeedbackWidget

    here = request.node.name
    tale = tell(store, here)
    store.record(
        tale.id,
        person="python",
        rating=2,
        kid_friendly=False,
        categories=["frightening"],
        spans=[MarkedSpan(start=12, end=18, category="frightening")],
        comment="too dark",
    )
    page = FeedbackWidget(tale.id, person="widget", store=store)
    assert (page.text, page.band, page.status) == (TEXT, "6-8", "")
    page.spans = [{"start": 12, "end": 18, "category": "frightening"}]
    page.rating, page.kid_friendly, page.comment = 2, "no", "too dark"
    page.saves += 1
    assert page.status == "saved"
    done = typed(store.tracking_uri, here, "terminal", "2", "frightening", "wolf 🐺 = frightening", "too dark", "n")
    assert done.exit_code == 0, done.output
    said = {"rating": "2", "kid_friendly": "no", "categories": "frightening", "comment": "too dark"}
    by_hand(store.tracking_uri, store.tale(tale.id).trace_id, "pages", monkeypatch, spans="12-18 frightening", **said)
    read = store.read(tale.id)
    assert [f.person for f in read] == ["pages", "python", "terminal", "widget"]
    assert len({f.model_copy(update={"person": "", "at": read[0].at}) for f in read}) == 1
    assert read[0].spans is not None
    assert TEXT[slice(read[0].spans[0].start, read[0].spans[0].end)] == "wolf 🐺"


def test_a_change_of_mind_keeps_history_until_it_is_erased(
    store: FeedbackStore, request: pytest.FixtureRequest
) -> None:
    tale = tell(store, request.node.name)
    store.record(tale.id, person="anna", rating=2, kid_friendly=False)
    store.record(tale.id, person="ben", rating=5)
    assert store.record(tale.id, person="anna", rating=4).rating == 4
    store.withdraw(tale.id, person="anna", fields=["kid_friendly"])
    [anna, ben] = store.read(tale.id)
    assert (anna.rating, anna.kid_friendly, ben.rating) == (4, None, 5)
    anna_said = [(c.field, c.value, c.holds) for c in store.history(tale.id) if c.person == "anna"]
    assert sorted(anna_said, key=str) == [
        ("kid_friendly", False, False),
        ("kid_friendly", None, True),
        ("rating", 2, False),
        ("rating", 4, True),
    ]
    assert store.erase(tale.id, person="anna") == 4
    assert [f.person for f in store.read(tale.id)] == ["ben"]
    assert [c.person for c in store.history(tale.id)] == ["ben"]


def test_what_cannot_be_meant_is_refused_and_nothing_is_kept(
    store: FeedbackStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tale = tell(store, request.node.name)
    invalid: tuple[tuple[dict[str, Any], str], ...] = (
        ({"rating": 6}, r"rating: got 6; taken: 1, 2, 3, 4, 5"),
        ({"rating": 3, "spans": ["a bear"]}, "the tale does not say 'a bear'"),
        ({"rating": 3, "spans": [MarkedSpan(start=0, end=999)]}, "ends behind the tale's 36 characters"),
    )
    for options, message in invalid:
        with pytest.raises(ConfigurationError, match=message):
            store.record(tale.id, person="anna", **options)
    with pytest.raises(UnknownName, match="Did you mean 'frightening'"):
        store.record(tale.id, person="anna", rating=3, categories=["frightning"])
    with pytest.raises(UnknownName, match="unknown tale 'nonsense'"):
        store.record("nonsense", person="anna", rating=3)
    assert store.read(tale.id) == []
    by_hand(store.tracking_uri, store.tale(tale.id).trace_id, "pages", monkeypatch, rating="great", comment="fine")
    [said] = store.read(tale.id)
    assert (said.rating, said.comment, dict(said.unread)) == (None, "fine", {"rating": "great"})


def test_the_queue_begins_with_what_the_judge_was_least_sure_of_and_goes_on_where_it_was(
    store: FeedbackStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = request.node.name
    sure, unsure, other = (tell(store, here, score=s) for s in (0.01, 0.4, 0.2))
    assert store.queue("anna") == [unsure.id, other.id, sure.id]
    store.record(unsure.id, person="ben", kid_friendly=True)
    assert store.queue("anna") == [other.id, sure.id, unsure.id]
    answers = iter(["3", ""])

    def ask(_: str) -> str:
        if (answer := next(answers, None)) is None:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr("builtins.input", ask)
    done = typed(store.tracking_uri, here, "anna")
    assert done.exit_code == 0
    assert "0 reviewed, 3 left" in done.output
    [kept] = store.read(other.id)
    assert (kept.person, kept.rating, kept.reviewed) == ("anna", 3, False)
    monkeypatch.undo()
    done = typed(store.tracking_uri, here, "anna", "", "", "", "", "maybe", "y")
    assert "taken: y, n" in done.output
    assert "1 reviewed, 2 left" in done.output
    assert store.queue("anna") == [sure.id, unsure.id]


def test_exports_feed_calibration_and_training(
    store: FeedbackStore, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    import pyarrow.parquet

    here = request.node.name
    liked = tell(store, here, "It was bad.", "A kind fox.", seed="1")
    disliked = tell(store, here, "A cruel fox.", seed="1")
    store.record(liked.id, person="anna", kid_friendly=True, rating=5)
    store.record(disliked.id, person="anna", kid_friendly=False, categories=["violence"])
    store.record(disliked.id, person="ben", kid_friendly=True)
    file = tmp_path / "labelled.jsonl"
    assert write_rows(labeled_rows(store), file) == 2
    rows = load_labeled(file, Columns(category="categories")).rows
    # One of two finds it harmful: it counts as harmful.
    assert [(r.text, r.harmful, r.categories) for r in rows] == [
        ("A kind fox.", False, ()),
        ("A cruel fox.", True, ("violence",)),
    ]
    pairs = preference_pairs(store)
    assert sorted((p["by"], p["chosen"], p["rejected"]) for p in pairs) == [
        ("judge", "A kind fox.", "It was bad."),
        ("people", "A kind fox.", "A cruel fox."),
    ]
    held = feedback_rows(store)
    assert write_rows(held, tmp_path / "all.parquet") == 3
    assert pyarrow.parquet.read_table(tmp_path / "all.parquet").to_pylist()[0]["text"] == "A kind fox."
    assert [Feedback.model_validate({k: v for k, v in r.items() if k not in ("text", "spans")}) for r in held]


def test_agreement_of_judge_and_people(store: FeedbackStore, request: pytest.FixtureRequest) -> None:
    here = request.node.name
    for draft, friendly in (("bad", False), ("bad", False), ("good", True), ("good", True), ("good", False)):
        store.record(tell(store, here, draft).id, person="anna", kid_friendly=friendly)
    [found] = tw.evaluation.judge_agreement(store, by="all")
    assert (found.tales, found.answers, found.agreed, found.let_through) == (5, 5, 0.8, 1 / 3)
    # By hand: agreed 0.8; by chance 3/5 * 2/5 + 2/5 * 3/5 = 0.48; (0.8 - 0.48) / (1 - 0.48).
    assert found.kappa.value == pytest.approx(0.32 / 0.52)
    assert found.kappa.low <= found.kappa.value <= found.kappa.high  # type: ignore[operator]
    # Of 10 ratings in pairs 2 differ; 5 are of each class.
    assert found.alpha.value == pytest.approx(1 - (2 / 10) / (2 * 5 * 5 / (10 * 9)))
    done = CliRunner().invoke(
        app, ["feedback", "agreement", "--tracking-uri", store.tracking_uri, "--experiment", here]
    )
    assert "80%" in done.output, done.output

"""People's feedback on tales in a real MLflow store, from Python, the terminal, a notebook and MLflow's UI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import taleward as tw
from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.evaluation.feedback.export import feedback_rows, labeled_rows, write_rows
from taleward.evaluation.feedback.feedback import FIELDS, Feedback, MarkedSpan
from taleward.evaluation.feedback.mlflow_store import FeedbackStore
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
from taleward.moderation.calibration.labeled_texts import Columns, load_labeled
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter

# MLflow's own code warns on import and when it creates its store.
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
    writer = FakeWriter(*(drafts or (TEXT,)))
    return tw.Guard(writer, judge, recorder=recorder, keep_drafts=True).invoke(inputs)


def mlflow_store(store: FeedbackStore) -> Any:
    from mlflow.tracing.client import TracingClient

    return TracingClient(store.tracking_uri).store


def review_in_terminal(uri: str, experiment: str, person: str, *answers: str, options: tuple[str, ...] = ()) -> Any:
    command = ["feedback", "--tracking-uri", uri, "--experiment", experiment, "--person", person, *options]
    return CliRunner().invoke(app, command, input="".join(f"{a}\n" for a in answers))


def enter_in_mlflow(
    uri: str, trace_id: str, person: str, monkeypatch: pytest.MonkeyPatch, rationale: str = "", **answers: Any
) -> None:
    """Send what MLflow's UI sends when a person adds assessments."""
    from mlflow.server import app as mlflow_app, handlers

    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", uri)
    monkeypatch.setattr(handlers, "_tracking_store", None)
    for name, value in answers.items():
        source = {"source_type": "HUMAN", "source_id": person}
        body = {"assessment": {"assessment_name": name, "feedback": {"value": value}, "source": source}}
        body["assessment"] |= {"rationale": rationale} if rationale else {}
        path = f"/api/3.0/mlflow/traces/{trace_id}/assessments"
        response = mlflow_app.test_client().post(path, json=body, headers={"Host": "localhost"})
        assert response.status_code == 200, response.text


def test_feedback_is_the_same_however_it_was_given(
    store: FeedbackStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taleward.evaluation.feedback.widget import FeedbackWidget

    experiment = request.node.name
    tale = tell(store, experiment)
    store.record(
        tale.id,
        person="python",
        rating=2,
        kid_friendly=False,
        makes_sense=True,
        categories=["frightening"],
        spans=[MarkedSpan(start=12, end=18, category="frightening")],
        comment="too dark",
        for_training=True,
        requested_by_child=False,
    )
    widget = FeedbackWidget(tale.id, person="widget", store=store, for_training=True, requested_by_child=False)
    assert (widget.text, widget.band, widget.status) == (TEXT, "6-8", "")
    widget.spans = [{"start": 12, "end": 18, "category": "frightening"}]
    widget.rating, widget.kid_friendly, widget.makes_sense, widget.comment = 2, "no", "yes", "too dark"
    widget.save_clicks += 1
    assert widget.status == "saved"
    answers = ("2", "frightening", "wolf 🐺 = frightening", "too dark", "y", "n")
    options = ("--for-training", "--requested-by-adult")
    result = review_in_terminal(store.tracking_uri, experiment, "terminal", *answers, options=options)
    assert result.exit_code == 0, result.output
    fields = {
        "rating": "2",
        "kid_friendly": "no",
        "makes_sense": "yes",
        "categories": "frightening",
        "comment": "too dark",
        "for_training": "yes",
        "requested_by_child": "no",
    }
    enter_in_mlflow(
        store.tracking_uri, store.tale(tale.id).trace_id, "mlflow", monkeypatch, spans="12-18 frightening", **fields
    )
    feedback = store.read(tale.id)
    assert [f.person for f in feedback] == ["mlflow", "python", "terminal", "widget"]
    assert len({f.model_copy(update={"person": "", "at": feedback[0].at}) for f in feedback}) == 1
    assert feedback[0].spans is not None
    assert TEXT[slice(feedback[0].spans[0].start, feedback[0].spans[0].end)] == "wolf 🐺"


def test_a_changed_answer_stays_in_the_history_until_it_is_erased(
    store: FeedbackStore, request: pytest.FixtureRequest
) -> None:
    tale = tell(store, request.node.name)
    store.record(tale.id, person="anna", rating=2, kid_friendly=False)
    store.record(tale.id, person="ben", rating=5)
    assert store.record(tale.id, person="anna", rating=4).rating == 4
    store.withdraw(tale.id, person="anna", fields=["kid_friendly"])
    [anna, ben] = store.read(tale.id)
    assert (anna.rating, anna.kid_friendly, ben.rating) == (4, None, 5)
    by_anna = [(c.field, c.value, c.current) for c in store.history(tale.id) if c.person == "anna"]
    assert sorted(by_anna, key=str) == [
        ("kid_friendly", False, False),
        ("kid_friendly", None, True),
        ("rating", 2, False),
        ("rating", 4, True),
    ]
    assert store.erase(tale.id, person="anna") == 4
    assert [f.person for f in store.read(tale.id)] == ["ben"]
    assert [c.person for c in store.history(tale.id)] == ["ben"]


def test_invalid_answers_are_rejected_and_nothing_is_recorded(
    store: FeedbackStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tale = tell(store, request.node.name)
    invalid: tuple[tuple[dict[str, Any], str], ...] = (
        ({"rating": 6}, r"rating must be 1, 2, 3, 4 or 5; got 6"),
        ({"rating": 3, "for_training": "yes"}, "for_training must be True or False; got 'yes'"),
        ({"rating": 3, "correction": " "}, "correction must be the whole corrected text; got ' '"),
        ({"rating": 3, "spans": ["a bear"]}, "'a bear' does not occur in the tale"),
        ({"rating": 3, "spans": [MarkedSpan(start=0, end=999)]}, "0-999 is outside the tale, which has 36 characters"),
    )
    for answers, message in invalid:
        with pytest.raises(ConfigurationError, match=message):
            store.record(tale.id, person="anna", **answers)
    with pytest.raises(UnknownName, match="Did you mean 'frightening'"):
        store.record(tale.id, person="anna", rating=3, categories=["frightning"])
    with pytest.raises(UnknownName, match="unknown tale 'nonsense'"):
        store.record("nonsense", person="anna", rating=3)
    assert store.read(tale.id) == []
    enter_in_mlflow(
        store.tracking_uri, store.tale(tale.id).trace_id, "mlflow", monkeypatch, rating="great", comment="fine"
    )
    [feedback] = store.read(tale.id)
    assert (feedback.rating, feedback.comment, dict(feedback.unparsed)) == (None, "fine", {"rating": "great"})


def test_the_review_queue_starts_with_the_most_uncertain_verdict_and_continues_later(
    store: FeedbackStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = request.node.name
    certain, uncertain, other = (tell(store, experiment, score=s) for s in (0.01, 0.4, 0.2))
    assert store.queue("anna") == [uncertain.id, other.id, certain.id]
    store.record(uncertain.id, person="ben", kid_friendly=True)
    assert store.queue("anna") == [other.id, certain.id, uncertain.id]
    answers = iter(["3", ""])

    def ask(_: str) -> str:
        if (answer := next(answers, None)) is None:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr("builtins.input", ask)
    result = review_in_terminal(store.tracking_uri, experiment, "anna")
    assert result.exit_code == 0
    assert "0 reviewed, 3 left" in result.output
    [feedback] = store.read(other.id)
    assert (feedback.person, feedback.rating, feedback.reviewed) == ("anna", 3, False)
    monkeypatch.undo()
    result = review_in_terminal(store.tracking_uri, experiment, "anna", "", "", "", "", "", "maybe", "y")
    assert "must be y or n; got 'maybe'" in result.output
    assert "1 reviewed, 2 left" in result.output
    assert store.queue("anna") == [certain.id, uncertain.id]


def test_exports_feed_calibration_and_keep_everything(
    store: FeedbackStore, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    import pyarrow.parquet

    experiment = request.node.name
    liked = tell(store, experiment, "It was bad.", "A kind fox.", seed="1")
    disliked = tell(store, experiment, "A cruel fox.", seed="1")
    store.record(liked.id, person="anna", kid_friendly=True, rating=5)
    store.record(disliked.id, person="anna", kid_friendly=False, categories=["violence"])
    store.record(disliked.id, person="ben", kid_friendly=True)
    file = tmp_path / "labeled.jsonl"
    assert write_rows(labeled_rows(store), file) == 2
    rows = load_labeled(file, Columns(category="categories")).rows
    # One of two people finds it harmful, so it counts as harmful.
    assert [(r.text, r.harmful, r.categories) for r in rows] == [
        ("A kind fox.", False, ()),
        ("A cruel fox.", True, ("violence",)),
    ]
    rows_of_people = feedback_rows(store)
    assert write_rows(rows_of_people, tmp_path / "all.parquet") == 3
    assert pyarrow.parquet.read_table(tmp_path / "all.parquet").to_pylist()[0]["text"] == "A kind fox."
    for row in rows_of_people:
        assert Feedback.model_validate(
            {k: v for k, v in row.items() if k not in ("text", "spans", "rationales", "other")}
        )


def test_agreement_of_judge_and_people(store: FeedbackStore, request: pytest.FixtureRequest) -> None:
    experiment = request.node.name
    for draft, friendly in (("bad", False), ("bad", False), ("good", True), ("good", True), ("good", False)):
        store.record(tell(store, experiment, draft).id, person="anna", kid_friendly=friendly)
    [agreement] = tw.evaluation.judge_agreement(store, by="all")
    assert (agreement.tales, agreement.answers) == (5, 5)
    assert (agreement.agreement_rate, agreement.miss_rate) == (0.8, 1 / 3)
    # By hand: observed 0.8, by chance 3/5 * 2/5 + 2/5 * 3/5 = 0.48, so kappa = (0.8 - 0.48) / (1 - 0.48).
    assert agreement.kappa.value == pytest.approx(0.32 / 0.52)
    assert agreement.kappa.low <= agreement.kappa.value <= agreement.kappa.high  # type: ignore[operator]
    # Of the 10 ratings 5 are of each class, and 2 are in a pair that differs.
    assert agreement.alpha.value == pytest.approx(1 - (2 / 10) / (2 * 5 * 5 / (10 * 9)))
    command = ["feedback", "agreement", "--tracking-uri", store.tracking_uri, "--experiment", experiment]
    result = CliRunner().invoke(app, command)
    assert "80%" in result.output, result.output


def test_what_mlflows_form_saves_comes_back(
    store: FeedbackStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taleward.evaluation.tracking.label_schemas import ensure_label_schemas

    experiment = request.node.name
    tale = tell(store, experiment)
    recorded = store.tale(tale.id)
    ensure_label_schemas(store.tracking_uri, store._experiment_id)  # again, which changes nothing
    schemas = {s.name: s for s in mlflow_store(store).list_label_schemas(store._experiment_id) if not s.is_default}
    assert set(schemas) == set(FIELDS) - {"spans"}
    # What the form sends: a Boolean for the thumbs, a number, texts; and a reason beside the answer.
    uri, trace_id = store.tracking_uri, recorded.trace_id
    enter_in_mlflow(uri, trace_id, "anna", monkeypatch, rationale="the wolf is scary", kid_friendly=False)
    form: dict[str, Any] = {"makes_sense": True, "rating": 2.0, "categories": "frightening, scary", "comment": "hm"}
    enter_in_mlflow(uri, trace_id, "anna", monkeypatch, **form, Feedback="too short")
    [feedback] = store.read(tale.id)
    assert (feedback.kid_friendly, feedback.makes_sense, feedback.rating, feedback.comment) == (False, True, 2, "hm")
    assert feedback.categories == ("frightening", "scary")
    assert dict(feedback.rationales) == {"kid_friendly": "the wolf is scary"}
    assert dict(feedback.other) == {"Feedback": "too short"}
    command = ["feedback", "show", trace_id, "--history", "--tracking-uri", uri, "--experiment", experiment]
    monkeypatch.setattr("taleward.cli.output.feedback._stdout.width", 200)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    for line in ("Feedback: too short", "reason for kid_friendly: the wolf is scary", "has no category 'scary'"):
        assert line in result.output
    # An unknown category would stop the calibration.
    [row] = labeled_rows(store)
    assert row["categories"] == ["frightening"]
    [row] = feedback_rows(store)
    assert (row["rationales"], row["other"]) == (["kid_friendly: the wolf is scary"], ["Feedback: too short"])
    store.withdraw(tale.id, person="anna")
    assert store.read(tale.id) == []


def test_ids_of_traces_are_accepted_for_ids_of_tales(store: FeedbackStore, request: pytest.FixtureRequest) -> None:
    experiment = request.node.name
    tale, other = tell(store, experiment), tell(store, experiment)
    trace_id = store.tale(tale.id).trace_id
    feedback = store.record(trace_id, person="anna", rating=4)
    assert (feedback.tale_id, feedback.rating) == (tale.id, 4)
    assert store.read(trace_id) == store.read(tale.id) == [feedback]
    assert [c.tale_id for c in store.history(trace_id)] == [tale.id]
    assert store.read(other.id) == []
    store.withdraw(trace_id, person="anna")
    assert store.erase(trace_id, person="anna") == 2
    with pytest.raises(UnknownName, match="tr-0000"):
        store.read("tr-0000")


def test_a_tale_that_makes_no_sense_labels_nothing_for_a_judge(
    store: FeedbackStore, request: pytest.FixtureRequest
) -> None:
    experiment = request.node.name
    muddled, unfit = tell(store, experiment), tell(store, experiment)
    store.record(muddled.id, person="anna", makes_sense=False)
    assert labeled_rows(store) == []
    assert tw.evaluation.judge_agreement(store, by="all") == []
    assert muddled.id in store.queue("anna")
    store.record(unfit.id, person="anna", makes_sense=False, kid_friendly=True)
    assert [row["label"] for row in labeled_rows(store)] == [False]


def test_a_store_without_label_schemas_still_gets_the_tale(
    store: FeedbackStore,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(type(mlflow_store(store)), "list_label_schemas", fail)
    tale = tell(store, request.node.name)
    assert store.tale(tale.id).released
    assert "has no questions: NotImplementedError" in caplog.text


def test_feedback_is_added_in_one_command_and_what_is_not_mentioned_stays(
    store: FeedbackStore, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tale = tell(store, request.node.name)
    (tmp_path / "better.txt").write_text("A fox met a friend.\n", encoding="utf-8")
    monkeypatch.setattr("taleward.cli.output.feedback._stdout.width", 200)

    def add(*options: str) -> Any:
        place = ["--tracking-uri", store.tracking_uri, "--experiment", request.node.name, "--person", "anna"]
        return CliRunner().invoke(app, ["feedback", "add", tale.id, *options, *place])

    result = add("--rating", "2", "--not-kid-friendly", "--category", "frightening", "--for-training")
    assert result.exit_code == 0, result.output
    result = add("--correction", str(tmp_path / "better.txt"), "--requested-by-child", "--guardian-consent")
    for line in ("for_training: yes", "requested_by_child: yes", "correction: A fox met a friend."):
        assert line in result.output
    [feedback] = store.read(tale.id)
    assert (feedback.rating, feedback.kid_friendly, feedback.categories) == (2, False, ("frightening",))
    assert (feedback.correction, feedback.for_training) == ("A fox met a friend.", True)
    assert (feedback.requested_by_child, feedback.guardian_consent) == (True, True)
    result = add("--not-for-training")
    assert [f.for_training for f in store.read(tale.id)] == [False]
    result = add()
    assert isinstance(result.exception, ConfigurationError)
    assert "there is no feedback to add" in str(result.exception)

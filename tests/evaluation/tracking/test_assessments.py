"""Verdicts and sample scores as assessments in a real MLflow store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import taleward as tw
from taleward.core.verdict import Finding, Verdict
from taleward.evaluation.evaluator import evaluate
from taleward.evaluation.tracking.assessments import round_significant, verdict_assessments
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
from taleward.evaluation.tracking.traces import tale_trace, write_traces
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.mean_metric import size

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


def traces_of(uri: str, experiment: str, filter_string: str | None = None) -> list[Any]:
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    return list(client.search_traces(locations=[experiment_id], filter_string=filter_string))


def assessments_of(trace: Any) -> dict[str, Any]:
    by_name = {a.name: a for a in trace.info.assessments}
    assert len(by_name) == len(trace.info.assessments)
    return by_name


def test_the_verdict_on_a_tale_is_an_assessment_that_mlflow_filters_by(uri: str) -> None:
    recorder = MlflowRecorder(uri, "verdicts")
    judge = FakeJudge(lambda p: Assessment(scores={"violence": 0.87654 if "bad" in p.text else 0.1, "hate": 0.05}))
    for text in ("a good day", "a bad day"):
        tw.Guard(FakeWriter(text), judge, attempts=1, recorder=recorder, keep_drafts=True).invoke({})
    [failed] = traces_of(uri, "verdicts", "feedback.verdict = 'fail'")
    assessments = assessments_of(failed)
    assert set(assessments) == {"verdict", "verdict_score"}
    verdict, score = assessments["verdict"], assessments["verdict_score"]
    assert (verdict.value, verdict.source.source_type, verdict.source.source_id) == ("fail", "CODE", "fake")
    assert json.loads(verdict.metadata["scores"]) == {"violence": 0.8765, "hate": 0.05}
    assert verdict.metadata["policy"].startswith("kids@")
    assert verdict.rationale == "highest score: violence 0.8765"
    assert (score.value, score.metadata) == (0.8765, {"category": "violence"})
    [passed] = traces_of(uri, "verdicts", "feedback.verdict = 'pass'")
    assert passed.info.tags["released"] == "True"
    # Storing assessments leaves what was known about the trace.
    assert passed.info.response_preview
    assert passed.data.spans


def test_findings_are_the_rationale_and_their_spans_the_metadata() -> None:
    findings = (
        Finding(category="violence", severity="severe", quote="a knife", start=4, end=11, rationale="a weapon"),
        Finding(category="hate", severity="mild"),
    )
    verdict = Verdict(outcome="fail", judge="openai:x", policy="kids@1", band="6-8", findings=findings, cost_usd=0.25)
    [assessment] = verdict_assessments(verdict)
    assert assessment.source_type == "LLM_JUDGE"
    assert assessment.rationale == "violence (severe) 'a knife': a weapon\nhate (mild)"
    first, second = json.loads(assessment.metadata["findings"])
    assert first == {"category": "violence", "severity": "severe", "quote": "a knife", "start": 4, "end": 11}
    assert second["quote"] is None
    assert assessment.metadata["categories"] == "violence, hate"
    assert assessment.metadata["mlflow.assessment.judgeCost"] == "0.25"


def test_no_decision_gives_its_reason_and_no_score() -> None:
    verdict = Verdict(outcome="error", judge="openai:x", policy="kids@1", band="6-8", detail="TimeoutError: 5 s")
    [assessment] = verdict_assessments(verdict)
    assert (assessment.value, assessment.rationale) == ("error", "TimeoutError: 5 s")
    assert set(assessment.metadata) == {"policy", "band"}


@pytest.mark.parametrize("in_one_transaction", [True, False])
def test_both_ways_to_store_assessments_store_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_transaction: bool
) -> None:
    from taleward.evaluation.tracking import assessment_writes

    write_rows, used = assessment_writes._write_rows, []

    def choose(store: Any, infos: Any) -> bool:
        used.append(in_one_transaction and write_rows(store, infos))
        return used[-1]

    monkeypatch.setattr(assessment_writes, "_write_rows", choose)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tw.Guard(FakeWriter("a good day"), FakeJudge(), recorder=MlflowRecorder(uri)).invoke({})
    # If this fails after an update of MLflow, its database classes have changed: stores are slow, but nothing is lost.
    assert used == [in_one_transaction]
    [trace] = traces_of(uri, "taleward", "feedback.verdict = 'pass' AND feedback.verdict_score < 0.1")
    verdict = assessments_of(trace)["verdict"]
    assert (verdict.value, verdict.valid, verdict.source.source_id) == ("pass", True, "fake")
    assert verdict.metadata["scores"] == '{"violence": 0.0}'
    assert verdict.create_time_ms >= trace.info.request_time


def test_writing_a_trace_again_keeps_one_of_each_and_what_people_said(uri: str) -> None:
    recorder = MlflowRecorder(uri, "again")
    tale = tw.Guard(FakeWriter("a good day"), FakeJudge(), recorder=recorder).invoke({})
    tw.record_feedback(tale.id, person="anna", rating=4, tracking_uri=uri, experiment="again")
    [before] = traces_of(uri, "again")
    write_traces(uri, before.info.experiment_id, [tale_trace(tale, {})])
    [after] = traces_of(uri, "again")
    assert {a.assessment_id for a in after.info.assessments} == {a.assessment_id for a in before.info.assessments}
    assert {a.name for a in after.info.assessments} == {"verdict", "verdict_score", "rating"}


@pytest.mark.parametrize("with_tales", [True, False])
def test_an_evaluation_has_the_scores_of_each_sample_in_its_traces(uri: str, tmp_path: Path, with_tales: bool) -> None:
    system: Any = tw.Guard(FakeWriter("a good day"), FakeJudge()) if with_tales else (lambda _: "a good day")
    rows = [{"id": f"row {n}", "inputs": {"who": str(n)}} for n in range(3)]
    experiment = f"evaluation {with_tales}"
    evaluation = evaluate(system, rows, [size()], name="try", tracking_uri=uri, experiment=experiment, spool=tmp_path)
    assert evaluation.undelivered is None
    traces = traces_of(uri, experiment)
    assert len(traces) == 3
    for trace in traces:
        assessments = assessments_of(trace)
        assert set(assessments) == ({"size", "verdict", "verdict_score"} if with_tales else {"size"})
        assert assessments["size"].value == len("a good day")
        assert assessments["size"].metadata["signature"] == evaluation.scores["size"].signature
        # Without it, the page of the run would not show them.
        assert {a.metadata["mlflow.assessment.sourceRunId"] for a in assessments.values()} == {evaluation.run_id}


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0.123456, 0.1235), (0.0000123456, 0.00001235), (123.456, 123.5), (123456.7, 123457.0), (0.0, 0.0), (-2.0, -2.0)],
)
def test_numbers_are_rounded_to_four_digits_but_never_to_less_than_whole_numbers(value: float, rounded: float) -> None:
    assert round_significant(value) == rounded


def test_infinity_stays_infinity() -> None:
    assert round_significant(float("inf")) == float("inf")

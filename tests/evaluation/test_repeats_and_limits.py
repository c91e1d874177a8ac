"""Repeats and their flakiness, limits on costs and time, systems side by side, and JUnit reports."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

import taleward as tw
from taleward.core.errors import ConfigurationError
from taleward.core.verdict import Verdict
from taleward.evaluation.comparison import compare
from taleward.evaluation.evaluator import evaluate, evaluate_side_by_side
from taleward.evaluation.gates import Gate, check_gates
from taleward.evaluation.journal import journals
from taleward.evaluation.report.junit import junit_report
from taleward.evaluation.result import Evaluation
from taleward.evaluation.tracking.runs import load_evaluation
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.mean_metric import MeanOf, size

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")

ROWS: list[dict[str, Any]] = [{"id": f"row {n}", "inputs": {"n": n}} for n in range(6)]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


def test_repeats_count_as_one_sample_and_tell_how_flaky_they_are(uri: str, tmp_path: Path) -> None:
    calls: Counter[int] = Counter()

    def tell(inputs: dict[str, int]) -> str:
        calls[inputs["n"]] += 1
        # Only the first three samples differ from one repeat to the next.
        return "x" * (10 + (calls[inputs["n"]] if inputs["n"] < 3 else 0))

    evaluation = evaluate(tell, ROWS, [size()], repeat=3, tracking_uri=uri, spool=tmp_path)
    assert set(calls.values()) == {3}
    result = evaluation.metrics["size"]
    assert (result.score.n, len(evaluation.ids), len(evaluation.samples)) == (6, 6, 18)
    assert list(result.values) == [12, 12, 12, 10, 10, 10]
    assert result.score.value == 11
    assert result.flakiness is not None
    assert (result.flakiness.changed, result.flakiness.n) == (0.5, 6)
    assert result.flakiness.std == pytest.approx(0.5**0.5)
    table = evaluation.table().set_index("id")
    assert table["size"][["row 0", "row 0#2", "row 0#3", "row 5#3"]].tolist() == [11, 12, 13, 10]
    assert "Each sample was run 3 times" in evaluation.html()
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.get_run(evaluation.run_id)
    assert run.data.metrics["size/changed"] == 0.5
    traces = client.search_traces(
        locations=[run.info.experiment_id], run_id=evaluation.run_id, max_results=50, include_spans=False
    )
    assert len({trace.info.tags["sample"] for trace in traces}) == 18
    assert load_evaluation(str(evaluation.run_id), uri).metrics == evaluation.metrics


def test_a_repeat_without_a_value_differs_and_a_failed_one_is_listed(uri: str, tmp_path: Path) -> None:
    calls: Counter[int] = Counter()

    def tell(inputs: dict[str, int]) -> str:
        calls[inputs["n"]] += 1
        if inputs["n"] == 0 and calls[0] == 2:
            raise ValueError("out of ink")
        return "four"

    evaluation = evaluate(tell, ROWS[:2], [size()], repeat=2, concurrency=1, tracking_uri=uri, spool=tmp_path)
    assert dict(evaluation.failed) == {"row 0#2": "ValueError: out of ink"}
    flakiness = evaluation.metrics["size"].flakiness
    assert flakiness is not None
    assert (flakiness.changed, flakiness.std, flakiness.n) == (0.5, 0, 2)
    assert evaluation.metrics["size"].values == (4, 4)


def test_what_cannot_be_repeated_is_an_error(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a list of outputs cannot be repeated"):
        evaluate(["a"], ROWS[:1], [size()], repeat=2, tracking_uri=uri, spool=tmp_path)
    with pytest.raises(ConfigurationError, match="the id 'a#2' of a sample is that of a repeat"):
        evaluate(str, [{"id": "a"}, {"id": "a#2"}], [size()], repeat=2, tracking_uri=uri, spool=tmp_path)
    with pytest.raises(ConfigurationError, match=r"repeat must be at least 1 .* got 8, 0"):
        evaluate(str, ROWS, [size()], repeat=0, tracking_uri=uri, spool=tmp_path)


def test_a_limit_on_time_gives_a_partial_result_that_goes_on(uri: str, tmp_path: Path) -> None:
    calls = []

    def tell(inputs: dict[str, int]) -> str:
        calls.append(inputs["n"])
        if len(calls) == 2:
            time.sleep(0.6)
        return "x" * inputs["n"]

    options: dict[str, Any] = {"name": "timed", "concurrency": 1, "tracking_uri": uri, "spool": tmp_path}
    partial = evaluate(tell, ROWS, [size()], max_seconds=0.5, **options)
    assert partial.ids == ("row 0", "row 1")
    assert partial.missing == ("row 2", "row 3", "row 4", "row 5")
    assert partial.stopped == "the limit of 0.5 seconds is reached"
    assert partial.partial_note.endswith("4 of 6 samples are missing: row 2, row 3, row 4, row 5")
    assert partial.scores["size"].n == 2
    assert "partial: the limit of 0.5 seconds" in partial.html()
    assert (partial.run_id, partial.undelivered) == (None, None)
    [gate] = check_gates(partial, ())
    assert (gate.metric, gate.passed) == ("complete", False)
    whole = evaluate(tell, ROWS, [size()], **options)
    assert calls == [0, 1, 2, 3, 4, 5]
    assert (whole.missing, whole.stopped, whole.scores["size"].n) == ((), None, 6)
    assert whole.run_id is not None
    assert check_gates(whole, ()) == []
    [warning] = [w for w in compare([partial, whole]).warnings if "partial" in w]
    assert warning == "timed (1) is partial: 2 of 6 samples were run"


def test_a_limit_on_costs_counts_what_finished_samples_cost(uri: str, tmp_path: Path) -> None:
    judge = FakeJudge()

    def priced(inputs: dict[str, int]) -> Verdict:
        return judge.invoke("fine").model_copy(update={"cost_usd": 0.25})

    options: dict[str, Any] = {"name": "priced", "concurrency": 1, "tracking_uri": uri, "spool": tmp_path}
    partial = evaluate(RunnableLambda(priced), ROWS, ["cost"], max_cost_usd=0.5, **options)
    assert (len(partial.ids), len(partial.missing)) == (2, 4)
    assert partial.stopped == "the limit of 0.5 USD is reached (0.5 USD spent)"
    # Each call has the whole budget, and what was paid for before is kept.
    assert len(evaluate(RunnableLambda(priced), ROWS, ["cost"], max_cost_usd=0.5, **options).ids) == 4
    assert evaluate(RunnableLambda(priced), ROWS, ["cost"], max_cost_usd=0.5, **options).missing == ()
    with pytest.raises(ConfigurationError, match="the cost of sample 'row 0' is unknown"):
        evaluate(lambda _: "a", ROWS, ["words"], max_cost_usd=1, **options)
    for name in ("max_cost_usd", "max_seconds"):
        with pytest.raises(ConfigurationError, match=f"{name} must be above 0; got 0"):
            evaluate(str, ROWS, ["words"], tracking_uri=uri, spool=tmp_path, **{name: 0})  # type: ignore[arg-type]


def seconds(name: str, factor: float) -> MeanOf:
    metric = MeanOf(name, lambda sample: factor * len(sample.text), higher_is_better=False)
    metric.unit = "s"
    return metric


def test_times_are_compared_only_if_they_were_measured_side_by_side(uri: str, tmp_path: Path) -> None:
    rows = [{"id": str(n), "inputs": {"n": n}} for n in range(24)]
    order = []

    def fast(inputs: dict[str, int]) -> str:
        order.append("fast")
        return "x"

    def slow(inputs: dict[str, int]) -> str:
        order.append("slow")
        return "x" * (5 + inputs["n"] % 3)

    options: dict[str, Any] = {"concurrency": 1, "tracking_uri": uri, "spool": tmp_path}
    metrics = [seconds("time", 0.1), size()]
    apart = compare([evaluate(system, rows, metrics, **options) for system in (fast, slow)], metrics=metrics)
    [pair] = apart.metrics["time"].pairs
    assert (pair.test.p, pair.test.low, pair.conclusion) == (None, None, "not tested: measured in different runs")
    assert pair.test.difference == pytest.approx(-0.5)
    assert apart.metrics["time"].winner is None
    assert apart.metrics["size"].winner == "slow"
    assert apart.warnings[0].startswith("time not tested: the evaluations were not measured side by side")
    order.clear()
    together = evaluate_side_by_side({"fast": fast, "slow": slow}, rows, metrics, **options)
    # They take turns in going first.
    assert order[:4] == ["fast", "slow", "slow", "fast"]
    assert len(order) == 48
    comparison = compare(together, metrics=metrics)
    assert (comparison.metrics["time"].winner, comparison.warnings) == ("fast", ())
    loaded = [load_evaluation(str(evaluation.run_id), uri) for evaluation in together]
    assert compare(loaded, metrics=metrics) == comparison
    again = evaluate_side_by_side({"fast": fast, "slow": slow}, rows, metrics, **options)
    assert again[0].side_by_side != together[0].side_by_side
    assert compare([together[0], again[1]], metrics=metrics).metrics["time"].pairs[0].test.p is None
    with pytest.raises(ConfigurationError, match="at least two systems; got 1"):
        evaluate_side_by_side({"fast": fast}, rows, metrics, **options)


def test_a_baseline_of_another_run_does_not_fail_a_time(uri: str, tmp_path: Path) -> None:
    rows = [{"id": str(n)} for n in range(10)]
    metrics = [seconds("time", 1.0)]
    before, now = (
        evaluate([text] * 10, rows, metrics, name=text, tracking_uri=uri, spool=tmp_path) for text in ("x", "xxx")
    )
    [gate] = check_gates(now, (), before, metrics=metrics)
    assert gate.passed
    assert gate.message == "1 in x, now 3: not tested: measured in different runs"
    [limit] = check_gates(now, [Gate(metric="time", at_most=2)])
    assert not limit.passed


def test_side_by_side_evaluations_go_on_together(uri: str, tmp_path: Path) -> None:
    calls: Counter[str] = Counter()

    def system(name: str) -> Any:
        def tell(inputs: dict[str, int]) -> str:
            calls[name] += 1
            time.sleep(0.2)
            return name

        return tell

    systems = {name: system(name) for name in "ab"}
    options: dict[str, Any] = {"concurrency": 1, "tracking_uri": uri, "spool": tmp_path}
    partial = evaluate_side_by_side(systems, ROWS, [size()], max_seconds=0.5, **options)
    assert all(evaluation.missing for evaluation in partial)
    assert len(journals(tmp_path)) == 2
    whole = evaluate_side_by_side(systems, ROWS, [size()], **options)
    assert dict(calls) == {"a": 6, "b": 6}
    assert {evaluation.side_by_side for evaluation in whole} == {partial[0].side_by_side}
    assert journals(tmp_path) == []


def test_a_junit_report_has_a_case_for_each_sample_and_gate(uri: str, tmp_path: Path) -> None:
    def suites(report: str) -> dict[str, ET.Element]:
        return {str(suite.get("name")): suite for suite in ET.fromstring(report)}  # noqa: S314  our own

    guard = tw.Guard(FakeWriter("bad\x00", "A good fox."), FakeJudge(), attempts=1)

    def tell(inputs: dict[str, int]) -> Any:
        if inputs["n"] == 2:
            raise ValueError("no\x07 ink")
        return guard.invoke(inputs)

    options: dict[str, Any] = {"concurrency": 1, "tracking_uri": uri, "spool": tmp_path}
    evaluation = evaluate(tell, ROWS[:3], ["refusal_rate"], name="<guard>", **options)
    gates = check_gates(evaluation, [Gate(metric="refusal_rate", at_most=1)])
    suite = suites(junit_report(evaluation, gates))
    guarded = suite["<guard>"]
    counts = {key: guarded.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "3", "failures": "1", "errors": "1", "skipped": "0"}
    assert [[problem.tag for problem in case] for case in guarded.findall("testcase")] == [["failure"], [], ["error"]]
    problems = [element.get("message") for element in guarded.iter() if element.tag in ("failure", "error")]
    assert problems == ["nothing was released after 1 drafts", "ValueError: no\ufffd ink"]
    assert [(case.get("name"), len(case)) for case in suite["gates"]] == [("refusal_rate", 0), ("failed", 1)]
    labeled = [{"id": "1", "output": "bad", "label": "fail"}, {"id": "2", "output": "sly", "label": "fail"}]
    judged = evaluate(FakeJudge(), labeled, ["accuracy"], name="judge", **options)
    [case] = suites(junit_report([evaluation, judged]))["judge"].findall("testcase[failure]")
    assert (case.get("name"), case[0].get("message")) == ("2", "predicted 'pass' instead of 'fail'")
    missing = evaluation.model_copy(update={"missing": ("row 9",), "stopped": "the limit is reached"})
    assert suites(junit_report(missing))["<guard>"].get("skipped") == "1"


def test_a_result_survives_json(uri: str, tmp_path: Path) -> None:
    guard = tw.Guard(FakeWriter("A good fox."), FakeJudge())
    evaluation = evaluate(guard, ROWS[:2], ["words"], repeat=2, tracking_uri=uri, spool=tmp_path)
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation

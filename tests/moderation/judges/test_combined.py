"""Ensembles and cascades of judges."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable

import pytest

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.verdict import Outcome, Passage, Verdict
from taleward.moderation.judges import judge
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.cascade import Cascade, UncertaintyBand, fit_uncertainty_band, relative_risk
from taleward.moderation.judges.ensemble import Ensemble, Rule
from taleward.testing import FakeJudge

Ask = Callable[[Judge, str], Verdict]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "sync":
        return lambda judge, text: judge.invoke(text)
    return lambda judge, text: asyncio.run(judge.ainvoke(text))


def judge_with(outcome: Outcome, score: float | None = None, cost: float | None = None) -> FakeJudge:
    scores = {} if score is None else {"violence": score}
    return FakeJudge(lambda _: Assessment(outcome=outcome, scores=scores, cost_usd=cost))


def raising_judge() -> FakeJudge:
    def fails(passage: Passage) -> Assessment:
        raise ConnectionError("gone")

    return FakeJudge(fails)


@pytest.mark.parametrize(
    ("rule", "outcomes", "expected"),
    [
        ("any", "pass pass pass", "pass"),
        ("any", "pass fail pass", "fail"),
        ("any", "pass error pass", "error"),
        ("any", "fail error pass", "fail"),
        ("all", "fail fail fail", "fail"),
        ("all", "fail pass fail", "pass"),
        ("all", "fail abstain fail", "abstain"),
        ("all", "pass error error", "pass"),
        ("majority", "fail fail pass", "fail"),
        ("majority", "fail pass pass", "pass"),
        ("majority", "fail unparsable pass", "unparsable"),
        ("majority", "pass pass error", "pass"),
    ],
)
def test_rules(ask: Ask, rule: Rule, outcomes: str, expected: str) -> None:
    judges = [judge_with(outcome) for outcome in outcomes.split()]  # type: ignore[arg-type]
    assert ask(Ensemble(judges, rule), "x").outcome == expected


@pytest.mark.parametrize("rule", ["any", "all", "majority"])
@pytest.mark.parametrize("outcomes", list(itertools.product(["pass", "fail", "error", "abstain"], repeat=3)))
def test_a_judge_without_an_answer_never_helps_a_text(rule: Rule, outcomes: tuple[Outcome, ...]) -> None:
    """An ensemble that passes a text would pass it too if every judge without an answer had failed it."""
    worst = ["fail" if o not in ("pass", "fail") else o for o in outcomes]
    passed = Ensemble([judge_with(o) for o in outcomes], rule).invoke("x").passed
    assert passed == Ensemble([judge_with(o) for o in worst], rule).invoke("x").passed  # type: ignore[arg-type]


def test_weights(ask: Ask) -> None:
    judges = [judge_with("fail", 0.9), judge_with("pass", 0.1), judge_with("pass", 0.2)]
    assert ask(Ensemble(judges, "weighted", weights=[2, 1, 1]), "x").outcome == "fail"
    verdict = ask(Ensemble(judges, "weighted", weights=[1, 1, 2]), "x")
    assert verdict.outcome == "pass"
    assert verdict.scores["violence"] == pytest.approx(0.35)


def test_scores_findings_costs_and_errors_are_combined(ask: Ask) -> None:
    verdict = ask(
        Ensemble([FakeJudge(), judge_with("pass", 0.2, cost=0.01), judge_with("pass", cost=0.02), raising_judge()]),
        "bad x",
    )
    assert verdict.outcome == "fail"
    assert verdict.scores["violence"] == 1.0
    assert [f.quote for f in verdict.findings] == ["bad"]
    assert verdict.cost_usd == pytest.approx(0.03)
    assert "fake: error (ConnectionError: gone)" in verdict.detail


def test_judges_run_concurrently_and_a_late_one_is_an_error(ask: Ask) -> None:
    def slow(passage: Passage) -> Assessment:
        time.sleep(0.2)
        return Assessment()

    started_at = time.monotonic()
    assert ask(Ensemble([FakeJudge(slow) for _ in range(3)]), "x").passed
    assert time.monotonic() - started_at < 0.45
    started_at = time.monotonic()
    verdict = ask(Ensemble([FakeJudge(), FakeJudge(slow)], timeout_s=0.05), "x")
    assert verdict.outcome == "error"
    assert "no answer within 0.05 s" in verdict.detail


def test_a_cascade_asks_the_expensive_judge_only_if_the_cheap_one_is_uncertain(ask: Ask) -> None:
    for outcome, score, calls in [("pass", 0.05, 0), ("pass", 0.4, 1), ("fail", 0.55, 1), ("fail", 0.95, 0)]:
        cheap, expensive = judge_with(outcome, score), judge_with("pass", cost=0.5)  # type: ignore[arg-type]
        cascade = Cascade([cheap, expensive])
        verdict = ask(cascade, "x")
        assert len(cascade.usage()) == 2
        assert cascade.usage()[1].calls == calls
        assert verdict.outcome == ("pass" if calls else outcome)
        assert verdict.detail == f"decided by fake, judge {1 + calls} of 2"
        assert verdict.cost_usd == (0.5 if calls else None)


@pytest.mark.parametrize("outcome", ["abstain", "unparsable", "error"])
def test_a_cascade_escalates_without_an_answer_and_fails_closed(ask: Ask, outcome: Outcome) -> None:
    assert ask(Cascade([judge_with(outcome, 0.0), judge_with("pass")]), "x").passed
    assert ask(Cascade([judge_with("pass", 0.4), judge_with(outcome)]), "x").outcome == outcome


def test_usage_of_a_cascade() -> None:
    expensive = judge_with("pass", cost=0.5)
    cascade = Cascade([FakeJudge(lambda p: Assessment(scores={"violence": len(p.text) / 10})), expensive])
    cascade.batch(["x" * n for n in range(1, 10)])
    first, second = cascade.usage()
    assert (first.calls, first.share) == (9, 1.0)
    assert second.share == pytest.approx(second.calls / 9)
    assert second.cost_usd == pytest.approx(0.5 * second.calls)


def test_a_pass_of_the_lexicon_does_not_end_a_cascade() -> None:
    cascade = judge(["lexicon", judge_with("fail")], combine="cascade")
    assert cascade.spec == "cascade(lexicon, fake)"
    assert not cascade.invoke("The sun was shining.").passed
    assert "judge 1 of 2" in cascade.invoke("He stabbed the guard.").detail


def test_relative_risk_puts_thresholds_at_one_half() -> None:
    cheap = judge_with("pass", 0.25)
    assert relative_risk(cheap.invoke("x"), cheap.policy, cheap.band) == pytest.approx(0.25)
    risks = {s: relative_risk(judge_with("pass", s).invoke("x"), cheap.policy, cheap.band) for s in (0.0, 0.5, 1.0)}
    assert risks == {0.0: 0.0, 0.5: 0.5, 1.0: 1.0}
    assert relative_risk(judge_with("fail").invoke("x"), cheap.policy, cheap.band) == 1.0


def test_a_fitted_band_keeps_the_expensive_judges_f1_and_escalates_few_texts() -> None:
    rng = random.Random(0)
    truth = [rng.random() < 0.3 for _ in range(2000)]
    risks = [min(1.0, max(0.0, rng.gauss(0.75 if t else 0.25, 0.18))) for t in truth]
    expensive = [t if rng.random() < 0.97 else not t for t in truth]
    band = fit_uncertainty_band(risks, truth, expensive)
    escalated = [band.pass_below <= r < band.fail_from for r in risks]
    failed = [e if up else r >= 0.5 for r, e, up in zip(risks, expensive, escalated, strict=True)]

    def f1(failed: list[bool]) -> float:
        true_positives = sum(a and b for a, b in zip(truth, failed, strict=True))
        return 2 * true_positives / (sum(truth) + sum(failed))

    assert f1(failed) >= f1(expensive) - 0.01
    assert sum(escalated) / len(escalated) <= 0.35


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ensemble([FakeJudge()]), "combine two or more judges; got FakeJudge"),
        (lambda: Ensemble([FakeJudge(), FakeJudge()], "some"), "unknown rule 'some'"),
        (lambda: Ensemble([FakeJudge(), FakeJudge()], "weighted"), "the rule 'weighted' needs weights"),
        (lambda: Ensemble([FakeJudge(), FakeJudge()], "weighted", weights=[1, 0]), "must be 2 numbers above 0"),
        (lambda: Ensemble([FakeJudge(), FakeJudge()], timeout_s=0), "seconds must be above 0"),
        (lambda: Cascade([FakeJudge(), judge("lexicon", band="3-5")]), "one policy and age band"),
        (
            lambda: Cascade([FakeJudge(), FakeJudge()], [UncertaintyBand(), UncertaintyBand()]),
            "a cascade of 2 judges needs 1 uncertainty bands, one for every judge but the last; got 2",
        ),
        (lambda: UncertaintyBand(0.6, 0.8), "0 <= pass_below <= 0.5 <= fail_from"),
        (lambda: fit_uncertainty_band([0.1], [True, False], [True]), "must have the same length; got 1, 2 and 1"),
        (lambda: fit_uncertainty_band([0.1, 0.2], [True, True], [True, True]), "got only one kind"),
    ],
)
def test_invalid_arguments_are_rejected(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_an_unknown_value_of_combine() -> None:
    with pytest.raises(UnknownName, match=r"'cascde'.*cascade"):
        judge(["lexicon", "embedded:judge"], combine="cascde")

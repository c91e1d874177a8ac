"""Several judges: at once by a rule, or from cheap to dear."""

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
from tests.helpers.fakes import FakeJudge

Ask = Callable[[Judge, str], Verdict]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "sync":
        return lambda judge, text: judge.invoke(text)
    return lambda judge, text: asyncio.run(judge.ainvoke(text))


def says(outcome: Outcome, score: float | None = None, cost: float | None = None) -> FakeJudge:
    scores = {} if score is None else {"violence": score}
    return FakeJudge(lambda _: Assessment(outcome=outcome, scores=scores, cost_usd=cost))


def raising() -> FakeJudge:
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
    judges = [says(outcome) for outcome in outcomes.split()]  # type: ignore[arg-type]
    assert ask(Ensemble(judges, rule), "x").outcome == expected


@pytest.mark.parametrize("rule", ["any", "all", "majority"])
@pytest.mark.parametrize("outcomes", list(itertools.product(["pass", "fail", "error", "abstain"], repeat=3)))
def test_what_a_judge_did_not_say_never_helps_a_text(rule: Rule, outcomes: tuple[Outcome, ...]) -> None:
    """Had every silent judge failed the text, an ensemble that passes would still pass."""
    worst = ["fail" if o not in ("pass", "fail") else o for o in outcomes]
    passed = Ensemble([says(o) for o in outcomes], rule).invoke("x").passed
    assert passed == Ensemble([says(o) for o in worst], rule).invoke("x").passed  # type: ignore[arg-type]


def test_weights(ask: Ask) -> None:
    judges = [says("fail", 0.9), says("pass", 0.1), says("pass", 0.2)]
    assert ask(Ensemble(judges, "weighted", weights=[2, 1, 1]), "x").outcome == "fail"
    verdict = ask(Ensemble(judges, "weighted", weights=[1, 1, 2]), "x")
    assert verdict.outcome == "pass"
    assert verdict.scores["violence"] == pytest.approx(0.35)


def test_scores_findings_costs_and_troubles_come_together(ask: Ask) -> None:
    verdict = ask(Ensemble([FakeJudge(), says("pass", 0.2, cost=0.01), says("pass", cost=0.02), raising()]), "bad x")
    assert verdict.outcome == "fail"
    assert verdict.scores["violence"] == 1.0
    assert [f.quote for f in verdict.findings] == ["bad"]
    assert verdict.cost_usd == pytest.approx(0.03)
    assert "fake: error (ConnectionError: gone)" in verdict.detail


def test_judges_are_asked_at_once_and_a_late_one_has_a_written_answer(ask: Ask) -> None:
    def slow(passage: Passage) -> Assessment:
        time.sleep(0.2)
        return Assessment()

    begun = time.monotonic()
    assert ask(Ensemble([FakeJudge(slow) for _ in range(3)]), "x").passed
    assert time.monotonic() - begun < 0.45
    begun = time.monotonic()
    verdict = ask(Ensemble([FakeJudge(), FakeJudge(slow)], timeout_s=0.05), "x")
    assert verdict.outcome == "error"
    assert "no answer within 0.05 s" in verdict.detail


def test_a_cascade_asks_the_dear_judge_only_when_the_cheap_one_is_not_sure(ask: Ask) -> None:
    for outcome, score, asked in [("pass", 0.05, 0), ("pass", 0.4, 1), ("fail", 0.55, 1), ("fail", 0.95, 0)]:
        cheap, dear = says(outcome, score), says("pass", cost=0.5)  # type: ignore[arg-type]
        cascade = Cascade([cheap, dear])
        verdict = ask(cascade, "x")
        assert len(cascade.shares()) == 2
        assert cascade.shares()[1].asked == asked
        assert verdict.outcome == ("pass" if asked else outcome)
        assert verdict.detail == f"decided by fake, judge {1 + asked} of 2"
        assert verdict.cost_usd == (0.5 if asked else None)


@pytest.mark.parametrize("outcome", ["abstain", "unparsable", "error"])
def test_without_a_plain_answer_a_cascade_goes_on_and_ends_closed(ask: Ask, outcome: Outcome) -> None:
    assert ask(Cascade([says(outcome, 0.0), says("pass")]), "x").passed
    assert ask(Cascade([says("pass", 0.4), says(outcome)]), "x").outcome == outcome


def test_shares_of_many() -> None:
    dear = says("pass", cost=0.5)
    cascade = Cascade([FakeJudge(lambda p: Assessment(scores={"violence": len(p.text) / 10})), dear])
    cascade.batch(["x" * n for n in range(1, 10)])
    first, second = cascade.shares()
    assert (first.asked, first.share) == (9, 1.0)
    assert second.share == pytest.approx(second.asked / 9)
    assert second.cost_usd == pytest.approx(0.5 * second.asked)


def test_a_word_lists_silence_ends_no_cascade() -> None:
    cascade = judge(["lexicon", says("fail")], combine="cascade")
    assert cascade.spec == "cascade(lexicon, fake)"
    assert not cascade.invoke("The sun was shining.").passed
    assert "judge 1 of 2" in cascade.invoke("He stabbed the guard.").detail


def test_risk_puts_thresholds_in_the_middle() -> None:
    cheap = says("pass", 0.25)
    assert relative_risk(cheap.invoke("x"), cheap.policy, cheap.band) == pytest.approx(0.25)
    at = {s: relative_risk(says("pass", s).invoke("x"), cheap.policy, cheap.band) for s in (0.0, 0.5, 1.0)}
    assert at == {0.0: 0.0, 0.5: 0.5, 1.0: 1.0}
    assert relative_risk(says("fail").invoke("x"), cheap.policy, cheap.band) == 1.0


def test_a_fitted_zone_keeps_the_dear_judges_f1_and_asks_it_seldom() -> None:
    chance = random.Random(0)
    truth = [chance.random() < 0.3 for _ in range(2000)]
    risks = [min(1.0, max(0.0, chance.gauss(0.75 if t else 0.25, 0.18))) for t in truth]
    dear = [t if chance.random() < 0.97 else not t for t in truth]
    zone = fit_uncertainty_band(risks, truth, dear)
    up = [zone.pass_below <= r < zone.fail_from for r in risks]
    final = [d if u else r >= 0.5 for r, d, u in zip(risks, dear, up, strict=True)]

    def f1(failed: list[bool]) -> float:
        both = sum(a and b for a, b in zip(truth, failed, strict=True))
        return 2 * both / (sum(truth) + sum(failed))

    assert f1(final) >= f1(dear) - 0.01
    assert sum(up) / len(up) <= 0.35


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Ensemble([FakeJudge()]), "two or more judges are combined; got FakeJudge"),
        (lambda: Ensemble([FakeJudge(), FakeJudge()], "some"), "unknown rule 'some'"),
        (lambda: Ensemble([FakeJudge(), FakeJudge()], "weighted"), "needs them"),
        (lambda: Ensemble([FakeJudge(), FakeJudge()], "weighted", weights=[1, 0]), "must be 2 numbers above 0"),
        (lambda: Ensemble([FakeJudge(), FakeJudge()], timeout_s=0), "seconds must be above 0"),
        (lambda: Cascade([FakeJudge(), judge("lexicon", band="3-5")]), "one policy and band"),
        (
            lambda: Cascade([FakeJudge(), FakeJudge()], [UncertaintyBand(), UncertaintyBand()]),
            "2 judges need 1 zones; got 2",
        ),
        (lambda: UncertaintyBand(0.6, 0.8), "0 <= pass_below <= 0.5 <= fail_from"),
        (lambda: fit_uncertainty_band([0.1], [True, False], [True]), "of one length; got 1, 2 and 1"),
        (lambda: fit_uncertainty_band([0.1, 0.2], [True, True], [True, True]), "only one of the two"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make()


def test_an_unknown_way_to_combine() -> None:
    with pytest.raises(UnknownName, match=r"'cascde'.*cascade"):
        judge(["lexicon", "embedded:judge"], combine="cascde")

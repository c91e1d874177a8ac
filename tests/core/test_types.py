"""The core types are immutable, consistent, and unchanged by a round trip through JSON."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from taleward.core.errors import Refused, UnknownName
from taleward.core.policy import Policy, exceeds
from taleward.core.tale import Attempt, ChatTurn, Lineage, ModelCall, PromptVersion, Refusal, Tale, digest
from taleward.core.verdict import Finding, Verdict
from taleward.moderation.policies.load import load_policy

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
seconds = st.floats(0, 1e6)
probability = st.floats(0, 1)
count = st.integers(0, 10**9)


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    quote = draw(st.none() | name)
    start = draw(st.integers(0, 10**6)) if quote is not None else None
    return Finding(
        category=draw(name),
        severity=draw(st.sampled_from(["mild", "moderate", "severe"])),
        quote=quote,
        start=start,
        end=start + len(quote) if quote is not None and start is not None else None,
        rationale=draw(text),
    )


def verdicts(outcome: st.SearchStrategy[str]) -> st.SearchStrategy[Verdict]:
    return st.builds(
        Verdict,
        outcome=outcome,
        judge=name,
        policy=name,
        band=name,
        scores=st.dictionaries(name, probability, max_size=4),
        findings=st.lists(findings(), max_size=3).map(tuple),
        detail=text,
        latency_s=seconds,
        cost_usd=st.none() | seconds,
    )


calls = st.builds(
    ModelCall,
    model=name,
    parameters=st.dictionaries(name, st.none() | st.booleans() | count | probability | text, max_size=3),
    seed=st.none() | st.integers(),
    input_tokens=st.none() | count,
    output_tokens=st.none() | count,
    duration_s=seconds,
)


turns = st.builds(ChatTurn, role=st.sampled_from(["system", "user", "assistant"]), content=name)


@st.composite
def tales(draw: st.DrawFn) -> Tale:
    draft, released = draw(text), draw(st.booleans())
    outcomes = st.just("pass") if released else st.sampled_from(["fail", "abstain", "unparsable", "error"])
    attempt = Attempt(
        number=1,
        draft_sha256=digest(draft),
        draft=draw(st.none() | st.just(draft)),
        messages=tuple(draw(st.lists(turns, max_size=2))),
        characters=len(draft),
        verdict=draw(verdicts(outcomes)),
        calls=tuple(draw(st.lists(calls, max_size=2))),
        writing_s=draw(seconds),
    )
    lineage = draw(
        st.builds(
            Lineage,
            taleward=name,
            prompt=st.none() | st.builds(PromptVersion, name=name, version=name),
            judge=name,
            policy=name,
            band=name,
            started_at=st.datetimes(timezones=st.just(UTC)),
            duration_s=seconds,
        )
    )
    refusal = Refusal(reason="failed", message=draw(text), child_message=draw(text), categories=(draw(name),))
    return Tale(
        id=draw(name),
        released_text=draft if released else None,
        refusal=None if released else refusal,
        attempts=(attempt,),
        lineage=lineage,
    )


@given(tales())
def test_a_round_trip_through_json_is_lossless(tale: Tale) -> None:
    assert Tale.model_validate_json(tale.model_dump_json()) == tale


@given(verdicts(st.sampled_from(["pass", "fail", "abstain", "unparsable", "error"])))
def test_a_verdict_copies_and_pickles(verdict: Verdict) -> None:
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    assert copy.deepcopy(verdict) == verdict
    assert pickle.loads(pickle.dumps(verdict)) == verdict  # noqa: S301
    assert hash(copy.copy(verdict)) == hash(verdict)


def verdict(outcome: str = "pass") -> Verdict:
    return Verdict.model_validate(
        {"outcome": outcome, "judge": "j", "policy": "kids@1", "band": "6-8", "scores": {"violence": 0.1}}
    )


def tale(outcome: str, released: str | None, draft: str) -> Tale:
    attempt = Attempt(number=1, draft_sha256=digest(draft), characters=len(draft), verdict=verdict(outcome))
    lineage = Lineage(
        taleward="0", judge="j", policy="kids@1", band="6-8", started_at=datetime.now(UTC), duration_s=0.1
    )
    refusal = None if released is not None else Refusal(reason="failed", message="it failed", child_message="no")
    return Tale(id="1", released_text=released, refusal=refusal, attempts=(attempt,), lineage=lineage)


@pytest.mark.parametrize("outcome", ["fail", "abstain", "unparsable", "error"])
def test_no_tale_is_released_without_a_pass(outcome: str) -> None:
    with pytest.raises(ValidationError, match="its verdict a pass"):
        tale(outcome, "text", "text")


def test_a_tale_releases_only_the_judged_text() -> None:
    assert tale("pass", "text", "text").text == "text"
    with pytest.raises(ValidationError, match="last attempt's draft"):
        tale("pass", "text!", "text")


def test_reading_the_text_of_a_refused_tale_raises() -> None:
    refused = tale("fail", None, "secret draft")
    assert not refused.released
    with pytest.raises(Refused, match="it failed") as caught:
        refused.text  # noqa: B018
    assert "child_message" in str(caught.value.hint)
    assert "secret draft" not in repr(refused) + refused.model_dump_json()


def test_core_types_are_immutable() -> None:
    original = verdict()
    with pytest.raises(ValidationError, match="frozen"):
        original.outcome = "fail"
    with pytest.raises(TypeError):
        original.scores["violence"] = 0.9  # type: ignore[index]
    with pytest.raises(ValidationError):
        Verdict.model_validate({**original.model_dump(), "scores": {"violence": float("nan")}})
    with pytest.raises(ValidationError, match="extra"):
        Verdict.model_validate({**original.model_dump(), "unknown": 1})


@pytest.mark.parametrize(
    "fields",
    [
        {"quote": "abc", "start": 0, "end": 2},
        {"quote": "abc"},
        {"start": 0, "end": 2},
        {"quote": "", "start": 0, "end": 0},
        {"severity": "none"},
    ],
)
def test_a_finding_has_a_complete_span_or_none(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Finding.model_validate({"category": "violence", "severity": "mild", **fields})


def test_the_kids_policy() -> None:
    policy = load_policy("kids")
    assert Policy.model_validate_json(policy.model_dump_json()) == policy
    assert list(policy.bands) == ["3-5", "6-8", "9-12"]
    assert policy.tolerance("violence", "3-5") == "none"
    assert policy.tolerance("frightening", "9-12") == "moderate"
    assert policy.threshold("frightening", "9-12") == 0.75
    assert exceeds("severe", "moderate")
    assert not exceeds("mild", "mild")
    with pytest.raises(UnknownName, match=r"Did you mean '6-8'\?.*Known: '3-5', '6-8', '9-12'"):
        policy.band("6-9")

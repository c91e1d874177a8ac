"""`assert_tale_passes` and `assert_tale_refused`: what they accept, and what their failures say."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

import taleward as tw
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.testing import FakeJudge, FakeWriter, assert_tale_passes, assert_tale_refused


def guard(*drafts: str, **options: Any) -> tw.Guard:
    return tw.Guard(FakeWriter(*drafts), FakeJudge(), **options)


def test_a_released_tale_is_returned() -> None:
    tale = guard("A good wolf.").invoke({})
    assert assert_tale_passes(tale) is tale
    assert assert_tale_passes(guard("A good wolf."), {"hero": "wolf"}, max_attempts=1).text == "A good wolf."
    assert assert_tale_passes(guard("A hen.") | RunnableLambda(lambda tale: tale)).text == "A hen."


def test_a_failure_shows_outcome_judge_categories_and_quotes() -> None:
    refusing = guard("A bad wolf came.", attempts=2)
    with pytest.raises(AssertionError) as caught:
        assert_tale_passes(refusing)
    assert str(caught.value).splitlines() == [
        "the tale was refused (failed): none of 2 drafts passed the judge; the last one failed for: violence",
        "  draft 1: fail by fake under kids@1 for ages 6-8",
        "    violence, severe: 'bad' at 2-5",
        "    highest scores: violence 1.00",
        "    text: 'A bad wolf came.'",
        "  draft 2: fail by fake under kids@1 for ages 6-8",
        "    violence, severe: 'bad' at 2-5",
        "    highest scores: violence 1.00",
        "    text: 'A bad wolf came.'",
    ]
    assert not refusing.keep_drafts


def test_a_tale_that_lost_its_drafts_says_how_to_see_them() -> None:
    with pytest.raises(AssertionError, match=r"quotes are withheld.*keep_drafts=True") as caught:
        assert_tale_passes(guard("A bad wolf came.").invoke({}))
    assert "violence, severe" in str(caught.value)
    assert "wolf" not in str(caught.value)


def test_the_tale_that_is_returned_has_no_more_words_than_the_guards_own() -> None:
    rewritten = assert_tale_passes(guard("A bad wolf.", "A good wolf."))
    assert [attempt.draft for attempt in rewritten.attempts] == [None, None]
    assert rewritten.attempts[0].verdict.findings[0].quote is None
    kept = assert_tale_passes(guard("A bad wolf.", "A good wolf.", keep_drafts=True))
    assert [attempt.draft for attempt in kept.attempts] == ["A bad wolf.", "A good wolf."]


def test_too_many_attempts_fail() -> None:
    with pytest.raises(AssertionError, match=r"needed 2 attempts; max_attempts is 1[\s\S]*violence, severe: 'bad'"):
        assert_tale_passes(guard("A bad wolf.", "A good wolf."), max_attempts=1)


def test_a_second_judge_has_to_pass_the_text_too() -> None:
    strict = FakeJudge(failing_words={"wolf": "frightening"}, band="3-5")
    with pytest.raises(AssertionError, match=r"for ages 3-5\n    frightening, severe: 'wolf' at 7-11") as caught:
        assert_tale_passes(guard("A good wolf."), judge=strict)
    assert "text: 'A good wolf.'" in str(caught.value)
    with pytest.raises(AssertionError, match=r"error by fake .*the judge is down"):
        assert_tale_passes(guard("A good wolf."), judge=FakeJudge(OSError("the judge is down")))
    assert assert_tale_passes(guard("A good hen."), judge=strict).released


def test_a_refusal_with_its_reason_and_category() -> None:
    tale = assert_tale_refused(guard("A bad wolf."), reason="failed", category="violence")
    assert not tale.released
    assert assert_tale_refused(guard("A hen."), {"hero": "bad wolf"}, reason="input").attempts == ()
    with pytest.raises(AssertionError, match="for the reason 'failed', not 'timeout'"):
        assert_tale_refused(guard("A bad wolf."), reason="timeout")
    with pytest.raises(AssertionError, match="does not name the category 'hate', but violence"):
        assert_tale_refused(guard("A bad wolf."), category="hate")
    with pytest.raises(AssertionError, match=r"the tale was released\n  draft 1: pass by fake[\s\S]*'A good wolf.'"):
        assert_tale_refused(guard("A good wolf."))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: assert_tale_passes("a tale"), "expected a tale, or a guard that returns one; got str"),  # type: ignore[arg-type]
        (lambda: assert_tale_passes(FakeWriter("a text")), "FakeWriter returned str"),  # type: ignore[arg-type]
        (lambda: assert_tale_passes(guard("A hen.").invoke({}), {"hero": "hen"}), "inputs are for a guard"),
        (lambda: assert_tale_passes(guard("A hen."), max_attempts=0), "max_attempts must be 1 or more, or None; got 0"),
    ],
)
def test_misuse_is_no_failed_assertion(call: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call()


def test_an_unknown_reason_is_rejected() -> None:
    with pytest.raises(UnknownName, match=r"unknown reason of a refusal 'fail'\. Did you mean 'failed'"):
        assert_tale_refused(guard("A bad wolf."), reason="fail")  # type: ignore[arg-type]

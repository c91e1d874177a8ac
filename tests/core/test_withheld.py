"""Words of drafts that were not released: they leave with no tale, event or message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from taleward.core.events import DoneEvent, VerdictEvent
from taleward.core.tale import Tale
from taleward.core.verdict import Finding, Verdict
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter

BAD = "The wolf tore the bad lamb apart. "
GOOD = "The wolf shared its bread. "
QUOTED = Assessment(
    outcome="fail",
    findings=(
        Finding(category="violence", severity="severe", quote="tore the bad lamb", start=9, end=26, rationale=BAD),
    ),
    detail=f"it says {BAD}",
)


def outcome_of(passage: Any) -> Any:
    return QUOTED if "bad" in passage.text else "pass"


def results(make: Callable[[], Guard]) -> list[Any]:
    """What a guard returns on each path: a tale, or events; each from a guard and a writer of its own."""

    async def streamed() -> list[Any]:
        return [event async for event in make().astream({})]

    return [make().invoke({}), asyncio.run(make().ainvoke({})), list(make().stream({})), asyncio.run(streamed())]


@pytest.mark.parametrize("guard", [Guard, BestOf])
@pytest.mark.parametrize("drafts", [[[BAD], [GOOD]], [[BAD], [BAD]]], ids=["released", "refused"])
def test_refused_words_do_not_travel(guard: Any, drafts: list[list[str]]) -> None:
    options = {"candidates": 2} if guard is BestOf else {"attempts": 2}
    for result in results(lambda: guard(FakeWriter(*drafts), FakeJudge(outcome_of), **options)):
        parts = result if isinstance(result, list) else [result]
        shown = repr(result) + "".join(part.model_dump_json() for part in parts)
        assert "lamb" not in shown
        assert "violence" in shown


def test_the_message_of_a_judges_exception_does_not_travel() -> None:
    def judge(passage: Any) -> Any:
        raise ValueError(f"400: cannot read {passage.text!r}")

    for result in results(lambda: Guard(FakeWriter([BAD]), FakeJudge(judge), attempts=1)):
        assert "lamb" not in repr(result)
        assert "ValueError: the details repeat the text and are withheld" in repr(result)


def test_an_exception_that_repeats_nothing_says_what_happened() -> None:
    def judge(passage: Any) -> Any:
        raise ConnectionError("no route to the server")

    tale = Guard(FakeWriter([BAD]), FakeJudge(judge), attempts=1).invoke({})
    assert tale.refusal
    assert "ConnectionError: no route to the server" in tale.refusal.message


def test_kept_drafts_keep_their_words() -> None:
    def guard() -> Guard:
        return Guard(FakeWriter([BAD], [GOOD]), FakeJudge(outcome_of), attempts=2, keep_drafts=True)

    tale = guard().invoke({})
    assert tale.attempts[0].draft == BAD
    assert tale.attempts[0].verdict.findings[0].quote == "tore the bad lamb"
    assert "lamb" not in tale.without_drafts().model_dump_json()
    [event] = [e for e in guard().stream({}) if isinstance(e, VerdictEvent) and not e.verdict.passed]
    assert event.verdict.findings[0].rationale == BAD


def test_no_tale_is_released_by_a_copy() -> None:
    refused = Guard(FakeWriter([BAD]), FakeJudge(), attempts=1).invoke({})
    released = Guard(FakeWriter([GOOD]), FakeJudge()).invoke({})
    for tale, update in ((refused, {"released_text": BAD, "refusal": None}), (released, {"released_text": BAD})):
        with pytest.raises(ValidationError, match="must be the last attempt's draft"):
            tale.model_copy(update=update)
        with pytest.raises(ValidationError, match="must be the last attempt's draft"):
            Tale.model_construct(**{**dict(tale), **update})
    assert released.model_copy(deep=True) == released.model_copy(update={"id": released.id}) == released
    done = DoneEvent(tale=released)
    assert DoneEvent.model_validate_json(done.model_dump_json()) == done


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_a_detail_that_survives_shares_no_three_words_with_the_text(before: str, text: str, after: str) -> None:
    verdict = Verdict(outcome="error", judge="j", policy="p@1", band="b", detail=f"{before} {text} {after}")
    words = text.split()
    for detail in (verdict.without_words(text).detail, verdict.without_words(f"{after} {text}").detail):
        if len(words) >= 3 and all(word.isalnum() and word.isascii() for word in words):
            assert " ".join(words) not in detail

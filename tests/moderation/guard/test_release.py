"""One release policy: whatever the judge does, only a pass releases text, and every guard gives the same reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from langchain_core.runnables import RunnableLambda

from taleward.core.events import DoneEvent, TextEvent
from taleward.core.verdict import Finding, Passage, Verdict
from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.moderation.chat.response_moderation import GuardedResponse
from taleward.moderation.guard import run as run_module
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard
from taleward.moderation.guard.release import decide, release
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter, WordEmbeddings
from tests.helpers.scripted_chat import ScriptedChat

OUTCOMES = ("pass", "fail", "abstain", "unparsable", "error", "exception", "garbage", "timeout")
"""What a judge does: `exception` raises, `garbage` returns no verdict, `timeout` raises after the deadline."""

REASONS = {"fail": "failed", "timeout": "timeout"}
"""The reason of a refusal by the judge's last outcome; `unjudged` for all others."""


class SkippingClock:
    """The real clock, which can skip ahead of every deadline."""

    def __init__(self) -> None:
        self.skipped_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped_s


class ScriptedJudge(FakeJudge):
    """Gives one outcome after the other, and `error` after the last one."""

    def __init__(self, outcomes: list[str], clock: SkippingClock) -> None:
        super().__init__()
        self.script, self.clock = iter(outcomes), clock
        self.calls: list[tuple[str, str]] = []

    def _next(self, text: str) -> Any:
        outcome = next(self.script, "error")
        self.calls.append((text, outcome))
        if outcome == "exception":
            raise ValueError("the judge is down")
        if outcome == "garbage":
            return "pass"
        if outcome == "timeout":
            self.clock.skipped_s += 10**6
            raise TimeoutError
        return Verdict(outcome=outcome, judge="fake", policy="kids@1", band="6-8")  # type: ignore[arg-type]

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return self._next(input.text)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        return self._next(input.text)

    @property
    def passed(self) -> set[str]:
        return {text for text, outcome in self.calls if outcome == "pass"}

    @property
    def expected_reason(self) -> str:
        return REASONS.get(self.calls[-1][1], "unjudged")


class Drafts:
    """A writer whose every draft is another sentence."""

    def __init__(self) -> None:
        self.count = 0

    def next(self, inputs: Any) -> str:
        self.count += 1
        return f"Draft {self.count}."

    def runnable(self) -> RunnableLambda[Any, str]:
        return RunnableLambda(self.next)


Shown = tuple[list[str], str | None]
"""The texts that were released, and the reason of a refusal."""


def invoke(judge: ScriptedJudge, attempts: int) -> Shown:
    tale = Guard(Drafts().runnable(), judge, attempts=attempts, timeout_s=1000).invoke({})
    return ([tale.released_text] if tale.released_text else []), tale.refusal.reason if tale.refusal else None


def ainvoke(judge: ScriptedJudge, attempts: int) -> Shown:
    tale = asyncio.run(Guard(Drafts().runnable(), judge, attempts=attempts, timeout_s=1000).ainvoke({}))
    return ([tale.released_text] if tale.released_text else []), tale.refusal.reason if tale.refusal else None


def best_of(judge: ScriptedJudge, attempts: int) -> Shown:
    guard = BestOf(Drafts().runnable(), judge, candidates=max(2, attempts), embeddings=WordEmbeddings(), timeout_s=1000)
    tale = guard.invoke({})
    return ([tale.released_text] if tale.released_text else []), tale.refusal.reason if tale.refusal else None


def stream(judge: ScriptedJudge, attempts: int) -> Shown:
    events = list(Guard(Drafts().runnable(), judge, attempts=attempts, timeout_s=1000).stream({}))
    done = events[-1]
    assert isinstance(done, DoneEvent)
    texts = [event.text for event in events if isinstance(event, TextEvent)]
    return [*texts, *filter(None, [done.tale.released_text])], done.tale.refusal.reason if done.tale.refusal else None


def chat(judge: ScriptedJudge, attempts: int) -> Shown:
    message = GuardedChat(ScriptedChat(answers=[["Draft 1."]]), judge, timeout_s=1000).invoke("hi")
    reason = message.response_metadata["taleward"].get("reason")
    return ([] if reason else [str(message.text)]), reason


def chat_stream(judge: ScriptedJudge, attempts: int) -> Shown:
    *chunks, last = GuardedChat(ScriptedChat(answers=[["Draft 1."]]), judge, timeout_s=1000).stream("hi")
    reason = last.response_metadata["taleward"].get("reason")
    texts = [str(chunk.text) for chunk in [*chunks, *([] if reason else [last])]]
    return [text for text in texts if text], reason


USERS: list[Callable[[ScriptedJudge, int], Shown]] = [invoke, ainvoke, best_of, stream, chat, chat_stream]


def patched_clock() -> Iterator[SkippingClock]:
    clock = SkippingClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "time", SimpleNamespace(monotonic=clock.monotonic))
        yield clock


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.__name__)
@settings(max_examples=100)
@given(outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=8), attempts=st.integers(1, 4))
def test_only_a_pass_releases_text_and_the_last_outcome_is_the_reason(
    user: Callable[[ScriptedJudge, int], Shown], outcomes: list[str], attempts: int
) -> None:
    for clock in patched_clock():
        judge = ScriptedJudge(outcomes, clock)
        texts, reason = user(judge, attempts)
        assert set(texts) <= judge.passed
        if reason is None:
            assert texts
        else:
            assert reason == judge.expected_reason
        assert "timeout" not in [outcome for _, outcome in judge.calls[:-1]], "asked again after the time limit"


@pytest.mark.parametrize("outcome", [outcome for outcome in OUTCOMES if outcome != "pass"])
def test_all_guards_give_the_same_reason(outcome: str) -> None:
    reasons = set()
    for user in USERS:
        for clock in patched_clock():
            attempts = 2 if user is best_of else 1
            texts, reason = user(ScriptedJudge([outcome] * attempts, clock), attempts)
            assert texts == []
            reasons.add(reason)
    assert reasons == {REASONS.get(outcome, "unjudged")}


@settings(max_examples=100)
@given(outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=5), attempts=st.integers(1, 3))
def test_inputs_that_do_not_pass_reach_no_writer(outcomes: list[str], attempts: int) -> None:
    def inputs_reason(judge: ScriptedJudge) -> str:
        last = judge.calls[-1][1]
        return "input" if last == "fail" else judge.expected_reason

    for asks in ("invoke", "stream", "chat"):
        for clock in patched_clock():
            judge, drafts = ScriptedJudge(outcomes, clock), Drafts()
            guard = Guard(drafts.runnable(), judge, attempts=attempts, timeout_s=1000)
            if asks == "chat":
                refused = asyncio.run(GuardedResponse(judge, 1000).refusal_for("a fox"))
                reason = refused.response_metadata["taleward"]["reason"] if refused else None
            elif asks == "invoke":
                refusal = guard.invoke({"hero": "a fox"}).refusal
                reason = refusal.reason if refusal else None
            else:
                done = list(guard.stream({"hero": "a fox"}))[-1]
                assert isinstance(done, DoneEvent)
                reason = done.tale.refusal.reason if done.tale.refusal else None
            if "a fox" not in judge.passed:
                assert drafts.count == 0
                assert reason == inputs_reason(judge)


SENTENCES = st.lists(st.sampled_from(["A fox ran. ", "An owl sang. ", "They slept. "]), min_size=1, max_size=5)


@settings(max_examples=100)
@given(
    scripts=st.lists(SENTENCES, min_size=1, max_size=3),
    outcomes=st.lists(st.sampled_from(("pass", "pass", *OUTCOMES)), max_size=12),
    attempts=st.integers(1, 3),
    continues=st.booleans(),
)
def test_a_stream_of_many_sentences_releases_only_what_passed(
    scripts: list[list[str]], outcomes: list[str], attempts: int, continues: bool
) -> None:
    for clock in patched_clock():
        judge = ScriptedJudge(outcomes, clock)
        guard = Guard(FakeWriter(*scripts, continues=continues), judge, attempts=attempts, timeout_s=1000)
        events = list(guard.stream({}))
        done = events[-1]
        assert isinstance(done, DoneEvent)
        texts = [event.text for event in events if isinstance(event, TextEvent)]
        for text in set(texts):
            assert texts.count(text) <= judge.calls.count((text, "pass"))
        if done.tale.released:
            assert done.tale.text == "".join(texts)
            assert judge.calls[-1] == (done.tale.text, "pass")


@given(
    outcome=st.sampled_from(["pass", "fail", "abstain", "unparsable", "error"]),
    timed_out=st.booleans(),
    asks_left=st.integers(0, 3),
    revisions_left=st.integers(0, 3),
)
def test_the_policy(outcome: Any, timed_out: bool, asks_left: int, revisions_left: int) -> None:
    verdict = Verdict(outcome=outcome, judge="fake", policy="kids@1", band="6-8")
    decision = decide(verdict, timed_out=timed_out, asks_left=asks_left, revisions_left=revisions_left)
    assert decision.released == (outcome == "pass")
    if decision.action == "ask_again":
        assert outcome in ("unparsable", "error")
        assert asks_left
        assert not timed_out
    if decision.action == "revise":
        assert outcome in ("fail", "abstain")
        assert revisions_left
    if outcome == "pass":
        assert release("a fox", verdict) == "a fox"
    else:
        with pytest.raises(RuntimeError, match="must not be released"):
            release("a fox", verdict)


def test_findings_on_inputs_that_passed_are_not_given_to_the_writer() -> None:
    def tolerates(passage: Passage) -> Assessment:
        finding = Finding(category="violence", severity="mild", quote="fight", start=0, end=5)
        return Assessment(outcome="pass", findings=(finding,) if "fight" in passage.text else ())

    writer = FakeWriter(["A fox ran."])
    list(Guard(writer, FakeJudge(tolerates)).stream({"plot": "fight"}))
    assert writer.revisions[0].findings == ()

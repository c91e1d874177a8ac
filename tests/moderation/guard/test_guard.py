"""A guard releases text that was judged and passed, and nothing else, whatever happens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

from taleward.core.errors import ConfigurationError
from taleward.core.tale import Tale
from taleward.core.verdict import Finding, Passage
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter

Tell = Callable[[Guard], Tale]


@pytest.fixture(params=["sync", "async"])
def tell(request: pytest.FixtureRequest) -> Tell:
    if request.param == "sync":
        return lambda guard: guard.invoke({})
    return lambda guard: asyncio.run(guard.ainvoke({}))


def test_a_good_draft_is_released(tell: Tell) -> None:
    tale = tell(Guard(FakeWriter("good"), FakeJudge()))
    assert tale.released
    assert tale.text == "good"
    assert tale.verdict is not None
    assert tale.verdict.outcome == "pass"
    assert (tale.lineage.judge, tale.lineage.policy, tale.lineage.band) == ("fake", "kids@1", "6-8")


def test_a_bad_draft_is_revised_with_the_findings(tell: Tell) -> None:
    writer, judge = FakeWriter("a bad one", "a fine one"), FakeJudge()
    tale = tell(Guard(writer, judge))
    assert tale.text == "a fine one"
    assert judge.judged_texts == ["a bad one", "a fine one"]
    first, second = writer.revisions
    assert (first.attempt, first.findings) == (1, ())
    assert second.attempt == 2
    assert second.findings == (
        Finding(category="violence", severity="severe", quote="bad", start=2, end=5, rationale="bad"),
    )
    assert "a bad one" not in tale.model_dump_json()


def test_a_refusal_after_the_budget(tell: Tell) -> None:
    tale = tell(Guard(FakeWriter("bad secret"), FakeJudge(), attempts=2))
    assert not tale.released
    assert len(tale.attempts) == 2
    assert tale.refusal is not None
    assert tale.refusal.reason == "failed"
    assert tale.refusal.categories == ("violence",)
    assert "secret" not in tale.model_dump_json()
    assert "secret" not in repr(tale)


def raises(passage: Passage) -> Assessment:
    raise ValueError("the judge is down")


def nonsense(passage: Passage) -> Any:
    return "perhaps"


def nothing(passage: Passage) -> Any:
    return None


def abstains(passage: Passage) -> Assessment:
    return Assessment(outcome="abstain", detail="cannot tell")


def unparsable(passage: Passage) -> Assessment:
    return Assessment(outcome="unparsable", detail="Not safe.")


@pytest.mark.parametrize("answer", [raises, nonsense, nothing, abstains, unparsable])
def test_without_a_clear_verdict_nothing_is_released(tell: Tell, answer: Callable[[Passage], Assessment]) -> None:
    tale = tell(Guard(FakeWriter("secret"), FakeJudge(answer), attempts=2))
    assert not tale.released
    assert tale.refusal is not None
    assert tale.refusal.reason == "unjudged"
    assert "secret" not in tale.model_dump_json()


def test_a_draft_without_a_verdict_is_judged_again_not_rewritten(tell: Tell) -> None:
    answers = [Assessment(outcome="unparsable"), Assessment()]
    writer = FakeWriter("good", "never requested")
    tale = tell(Guard(writer, FakeJudge(lambda _: answers.pop(0))))
    assert tale.text == "good"
    assert len(writer.revisions) == 1
    assert [a.verdict.outcome for a in tale.attempts] == ["unparsable", "pass"]


@pytest.mark.parametrize("draft", ["", " \n\t"])
def test_a_blank_draft_is_never_released(tell: Tell, draft: str) -> None:
    tale = tell(Guard(FakeWriter(draft), FakeJudge()))
    assert not tale.released
    assert {a.verdict.outcome for a in tale.attempts} == {"abstain"}


def test_a_judge_that_hangs_times_out(tell: Tell) -> None:
    free = threading.Event()

    def hangs(passage: Passage) -> Assessment:
        free.wait(5)
        return Assessment()

    started = time.monotonic()
    guard = Guard(FakeWriter("secret"), FakeJudge(hangs), timeout_s=0.2)
    threading.Timer(1.0, free.set).start()
    tale = tell(guard)
    free.set()
    assert time.monotonic() - started < 3
    assert not tale.released
    assert tale.refusal is not None
    assert tale.refusal.reason == "timeout"
    assert [attempt.verdict.outcome for attempt in tale.attempts] == ["error"]


def test_a_writer_that_hangs_times_out(tell: Tell) -> None:
    free = threading.Event()
    threading.Timer(1.0, free.set).start()
    tale = tell(Guard(RunnableLambda(lambda _: str(free.wait(5))), FakeJudge(), timeout_s=0.2))
    assert not tale.released
    assert tale.refusal is not None
    assert tale.refusal.reason == "timeout"
    assert tale.attempts == ()
    assert tale.verdict is None


def test_a_writers_error_reaches_the_caller(tell: Tell) -> None:
    def fails(inputs: Any) -> str:
        raise ConnectionError("no model there")

    with pytest.raises(ConnectionError, match="no model there"):
        tell(Guard(RunnableLambda(fails), FakeJudge()))


def test_a_writer_must_return_text(tell: Tell) -> None:
    with pytest.raises(ConfigurationError, match="RunnableLambda gave int"):
        tell(Guard(RunnableLambda(lambda _: 7), FakeJudge()))


async def test_cancellation_releases_nothing() -> None:
    started = asyncio.Event()

    class Slow(FakeJudge):
        async def aassess(self, passage: Passage) -> Assessment:
            started.set()
            await asyncio.sleep(30)
            return Assessment()

    task = asyncio.create_task(Guard(FakeWriter("secret"), Slow()).ainvoke({}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_drafts_stay_in_the_tale_only_on_request() -> None:
    writer = FakeWriter("bad one", "good one")
    assert [a.draft for a in Guard(writer, FakeJudge()).invoke({}).attempts] == [None, None]
    writer = FakeWriter("bad one", "good one")
    tale = Guard(writer, FakeJudge(), keep_drafts=True).invoke({})
    assert [a.draft for a in tale.attempts] == ["bad one", "good one"]


class FakeRecorder:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.tales: list[tuple[Tale, dict[str, Any]]] = []

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        if self.error:
            raise self.error
        self.tales.append((tale, dict(inputs)))


def test_a_recorder_gets_the_tale_with_its_drafts(tell: Tell) -> None:
    recorder = FakeRecorder()
    tale = tell(Guard(FakeWriter("good"), FakeJudge(), recorder=recorder))
    [(recorded, inputs)] = recorder.tales
    assert recorded.id == tale.id
    assert recorded.attempts[0].draft == "good"
    assert inputs == {}


def test_a_recorder_that_fails_does_not_cost_the_tale(tell: Tell, caplog: pytest.LogCaptureFixture) -> None:
    second = FakeRecorder()
    tale = tell(Guard(FakeWriter("good"), FakeJudge(), recorder=[FakeRecorder(OSError("disk is full")), second]))
    assert tale.text == "good"
    assert [recorded.id for recorded, _ in second.tales] == [tale.id]
    assert "was not recorded: OSError: disk is full" in caplog.text


def test_batch_keeps_the_order() -> None:
    guard = Guard(RunnableLambda(lambda i: f"tale {i['n']}"), FakeJudge())
    assert [t.text for t in guard.batch([{"n": n} for n in range(5)])] == [f"tale {n}" for n in range(5)]


def test_invalid_settings() -> None:
    writer = FakeWriter("x")
    with pytest.raises(ConfigurationError, match="attempts must be 1 or more; got 0"):
        Guard(writer, FakeJudge(), attempts=0)
    with pytest.raises(ConfigurationError, match=r"seconds must be above 0.*got -1"):
        Guard(writer, FakeJudge(), timeout_s=-1)
    with pytest.raises(ConfigurationError, match="needs a judge; got FakeWriter"):
        Guard(writer, writer)  # type: ignore[arg-type]

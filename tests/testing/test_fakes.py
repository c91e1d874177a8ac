"""The public fakes: a judge with scripted outcomes, and a writer with scripted drafts."""

from __future__ import annotations

from typing import Any

import pytest

import taleward as tw
from taleward.core.errors import ConfigurationError
from taleward.events import DoneEvent
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter

BIT, GREETED = "The wolf bit the fox.", "The wolf greeted the fox."


def test_public_names() -> None:
    import taleward.testing.store_kills

    for name in taleward.testing.__all__:
        assert getattr(taleward.testing, name) is not None
    assert callable(taleward.testing.kill_store)


def test_a_judge_with_a_list_of_outcomes() -> None:
    writer, judge = FakeWriter(BIT, GREETED), FakeJudge(["fail", "pass"])
    tale = tw.Guard(writer, judge).invoke({})
    assert tale.text == GREETED
    assert judge.judged_texts == [BIT, GREETED]
    assert [revision.attempt for revision in writer.revisions] == [1, 2]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (None, ["pass", "fail", "pass"]),
        ("abstain", ["abstain"] * 3),
        (["fail", Assessment(outcome="unparsable"), ValueError("down")], ["fail", "unparsable", "error"]),
        (["fail", "pass"], ["fail", "pass", "pass"]),
        (lambda passage: "fail" if "fox" in passage.text else "pass", ["fail", "pass", "pass"]),
    ],
)
def test_outcomes(outcomes: Any, expected: list[str]) -> None:
    judge = FakeJudge(outcomes)
    assert [judge.invoke(text).outcome for text in ("A fox.", "A bad owl.", "A hen.")] == expected


@pytest.mark.parametrize(
    ("outcomes", "message"), [(["maybe"], "unknown outcome 'maybe'; accepted: pass, fail"), ([], "got an empty list")]
)
def test_invalid_outcomes_are_rejected(outcomes: list[Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FakeJudge(outcomes)


def test_a_writer_continues_released_text_in_a_stream() -> None:
    writer = FakeWriter(["A fox ran. ", "It was bad. "], "It slept.")
    *_, done = tw.Guard(writer, FakeJudge()).stream({"hero": "fox"})
    assert isinstance(done, DoneEvent)
    assert done.tale.text == "A fox ran. It slept."
    assert writer.inputs == [{"hero": "fox"}] * 2
    assert [revision.released for revision in writer.revisions] == ["", "A fox ran. "]


async def test_a_writer_outside_of_a_guard() -> None:
    writer = FakeWriter(["One. ", "Two."], ValueError("the model is down"))
    assert list(writer.stream("a")) == ["One. ", "Two."]
    with pytest.raises(ValueError, match="the model is down"):
        [chunk async for chunk in writer.astream("b")]
    assert (writer.inputs, writer.revisions, writer.chunks_yielded) == (["a", "b"], [], 2)
    with pytest.raises(ConfigurationError, match="at least one draft"):
        FakeWriter()

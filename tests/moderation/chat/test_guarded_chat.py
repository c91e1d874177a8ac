"""A guarded chat model releases only moderated output, on every path."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessageChunk

from taleward.core.errors import ConfigurationError
from taleward.core.verdict import Passage
from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge
from tests.helpers.chat_paths import END, FINE, STREAMED, WHOLE, Path, ainvoke, astream, invoke, stream
from tests.helpers.scripted_chat import SECRET, ScriptedChat, Witness, cut_anyhow, leaked, says

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    "text",
    [SECRET, FINE + SECRET, FINE + SECRET + END, SECRET + END, FINE + SECRET.strip()],
    ids=["alone", "last", "amid", "first", "at the end"],
)
@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_nothing_of_a_rejected_sentence_is_seen(path: Path, text: str, size: int) -> None:
    witness = Witness()
    seen = path(GuardedChat(says(text, size=size), FakeJudge()), {"callbacks": [witness]})
    assert leaked(seen) == ""
    assert leaked(witness.events) == ""
    assert "would rather not say" in repr(seen)
    assert witness.events
    assert END.strip() not in repr(seen)


@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_a_message_that_passes_arrives_complete(path: Path) -> None:
    seen = path(GuardedChat(says(FINE + END), FakeJudge()), {})
    if isinstance(seen[0], str):
        assert "".join(seen) == FINE + END
    elif isinstance(seen[0], AIMessageChunk):
        assert "".join(chunk.text for chunk in seen) == FINE + END
        assert [chunk.content for chunk in seen[:3]] == ["Once there was a fox. ", "It had a red tail. ", END]
        assert seen[-1].chunk_position == "last"
    else:
        assert END in repr(seen[-1])
        assert "would rather" not in repr(seen)


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([FINE, END, SECRET, "Hm. ", '"Oh!" said the owl. ']), max_size=8),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_any_chunking_of_the_text(sentences: list[str], seed: int, asynchronous: bool) -> None:
    text = "".join(sentences)
    chat = GuardedChat(ScriptedChat(answers=[list(cut_anyhow(text, seed))]), FakeJudge())
    chunks = (astream if asynchronous else stream)(chat, {})
    released, end = "".join(c.text for c in chunks[:-1]), chunks[-1]
    assert leaked(chunks) == ""
    if text and SECRET not in text:
        assert released + end.text == text
        assert end.response_metadata["taleward"]["released"] is True
    else:
        assert text.startswith(released)
        mark = end.response_metadata["taleward"]
        assert (mark["released"], mark["outcome"]) == (False, "fail" if text else "abstain")
        everything = released + end.text
        assert mark.get("retraction") == ({"start": 0, "end": len(released) + 2} if released else None)
        assert everything[len(released) + 2 if released else 0 :] == end.additional_kwargs["refusal"]


def test_harm_that_builds_up_is_retracted() -> None:
    def together(passage: Passage) -> Assessment:
        both = "fox" in passage.text and "home" in passage.text
        return Assessment(outcome="fail" if both else "pass")

    chunks = list(GuardedChat(says(FINE + END), FakeJudge(together)).stream("hi"))
    end = chunks[-1]
    assert "".join(c.text for c in chunks[:-1]) == FINE + END
    mark = end.response_metadata["taleward"]
    assert mark["retraction"] == {"start": 0, "end": len(FINE + END) + 2}
    assert end.response_metadata["finish_reason"] == "content_filter"
    # Called with `invoke` under callbacks that make it stream: retracted text is not in the message.
    witness = _StreamedTo()
    message = GuardedChat(says(FINE + END), FakeJudge(together)).invoke("hi", {"callbacks": [witness]})
    assert "fox" in repr(witness.events)
    assert "fox" not in message.content
    assert message.content == message.additional_kwargs["refusal"]


class _StreamedTo(Witness):
    """Makes LangChain stream under `invoke`, as `astream_events` and LangGraph do."""

    def tap_output_iter(self, run_id: Any, output: Any) -> Any:
        return output

    def tap_output_aiter(self, run_id: Any, output: Any) -> Any:
        return output


def test_a_refusal_says_why_without_the_words() -> None:
    message = GuardedChat(says(FINE + SECRET), FakeJudge()).invoke("hi")
    assert message.response_metadata["taleward"] == {
        "released": False,
        "outcome": "fail",
        "categories": ["violence"],
        "scores": {"violence": 1.0},
        "judge": "fake",
        "policy": "kids@1",
        "band": "6-8",
        "reason": "failed",
    }
    assert message.additional_kwargs == {"refusal": message.content}


def raises(passage: Passage) -> Assessment:
    raise ValueError("the judge is down")


class NonsenseJudge(FakeJudge):
    def assess(self, passage: Passage) -> Any:
        return "pass"


def abstains(passage: Passage) -> Assessment:
    return Assessment(outcome="abstain")


def unparsable(passage: Passage) -> Assessment:
    return Assessment(outcome="unparsable", detail="Not safe.")


@pytest.mark.parametrize(
    "judge",
    [FakeJudge(raises), NonsenseJudge(), FakeJudge(abstains), FakeJudge(unparsable)],
    ids=["raises", "nonsense", "abstains", "unparsable"],
)
@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_without_a_clear_verdict_nothing_is_released(path: Path, judge: FakeJudge) -> None:
    seen = path(GuardedChat(says(FINE), judge), {})
    assert "fox" not in repr(seen)
    assert "keep it to myself" in repr(seen)


class NoVerdict(FakeJudge):
    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return True

    async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
        return True


@pytest.mark.parametrize("path", [invoke, ainvoke, stream, astream], ids=lambda path: path.__name__)
def test_an_answer_that_is_no_verdict_releases_nothing(path: Path) -> None:
    seen = path(GuardedChat(says(FINE), NoVerdict()), {})
    assert "fox" not in repr(seen)
    assert seen[-1].response_metadata["taleward"]["outcome"] == "error"


@pytest.mark.parametrize("text", ["", " \n ", "\t"])
@pytest.mark.parametrize("path", [invoke, ainvoke, stream, astream], ids=lambda path: path.__name__)
def test_an_empty_message_is_refused(path: Path, text: str) -> None:
    end = path(GuardedChat(ScriptedChat(answers=[[text]]), FakeJudge()), {})[-1]
    assert end.response_metadata["taleward"]["released"] is False
    assert end.text.strip()


@pytest.mark.parametrize("path", [invoke, ainvoke, stream, astream], ids=lambda path: path.__name__)
def test_a_judge_that_hangs_times_out(path: Path) -> None:
    free = threading.Event()

    def hangs(passage: Passage) -> Assessment:
        free.wait(5)
        return Assessment()

    threading.Timer(1.0, free.set).start()
    started_s = time.monotonic()
    end = path(GuardedChat(says(FINE), FakeJudge(hangs), timeout_s=0.2), {})[-1]
    free.set()
    assert time.monotonic() - started_s < 3
    assert "fox" not in repr(end)
    assert end.response_metadata["taleward"]["reason"] == "timeout"


class Stuck(ScriptedChat):
    def _chunks(self, messages: Any, **kwargs: Any) -> Any:
        yield AIMessageChunk(content=FINE)
        time.sleep(1.0)
        yield AIMessageChunk(content=END)


@pytest.mark.parametrize("path", [invoke, ainvoke, stream, astream], ids=lambda path: path.__name__)
def test_a_model_that_hangs_times_out(path: Path) -> None:
    end = path(GuardedChat(Stuck(answers=[]), FakeJudge(), timeout_s=0.3), {})[-1]
    assert "home" not in repr(end)
    mark = end.response_metadata["taleward"]
    assert (mark["released"], mark["reason"], mark.get("outcome")) == (False, "timeout", None)


def test_calls_that_hang_do_not_delay_others() -> None:
    free = threading.Event()

    class Hangs(ScriptedChat):
        def _chunks(self, messages: Any, **kwargs: Any) -> Any:
            free.wait(20)
            yield AIMessageChunk(content=END)

    hanging = GuardedChat(Hangs(answers=[]), FakeJudge(), timeout_s=0.2)
    refused = hanging.batch(["hi"] * 40, {"max_concurrency": 40})
    assert {m.response_metadata["taleward"]["reason"] for m in refused} == {"timeout"}
    assert GuardedChat(says(FINE), FakeJudge(), timeout_s=5).invoke("hi").text == FINE
    free.set()


class Broken(ScriptedChat):
    def _chunks(self, messages: Any, **kwargs: Any) -> Any:
        yield AIMessageChunk(content=SECRET.strip())
        raise ConnectionError("no model there")


@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_a_models_error_reaches_the_caller(path: Path) -> None:
    witness = Witness()
    with pytest.raises(ConnectionError, match="no model there"):
        path(GuardedChat(Broken(answers=[]), FakeJudge()), {"callbacks": [witness]})
    assert leaked(witness.events) == ""


def test_a_model_that_raises_stop_iteration_is_an_error() -> None:
    chat = GuardedChat(GenericFakeChatModel(messages=iter([])), FakeJudge(), timeout_s=5)
    with pytest.raises(RuntimeError, match="StopIteration"):
        chat.invoke("hi")


async def test_cancellation_releases_nothing_and_stops_the_model() -> None:
    stopped, started = asyncio.Event(), asyncio.Event()

    class Slow(ScriptedChat):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            from langchain_core.outputs import ChatGenerationChunk

            try:
                yield ChatGenerationChunk(message=AIMessageChunk(content=FINE))
                started.set()
                await asyncio.sleep(30)
            finally:
                stopped.set()

    seen: list[Any] = []

    async def read() -> None:
        async for chunk in GuardedChat(Slow(answers=[]), FakeJudge()).astream("hi"):
            seen.append(chunk.text)  # noqa: PERF401  when canceled, a comprehension loses what was seen

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(stopped.wait(), 5)
    assert "".join(seen) in FINE


async def test_streams_side_by_side_do_not_cross() -> None:
    async def read(number: int) -> str:
        text = f"Fox {number} ran. " + (SECRET if number % 3 == 0 else f"Owl {number} slept. ")
        chat = GuardedChat(says(text), FakeJudge())
        return "".join([chunk.text async for chunk in chat.astream("hi")])

    for number, text in enumerate(await asyncio.gather(*map(read, range(100)))):
        assert text.startswith(f"Fox {number} ran. ")
        assert text.endswith("something else?" if number % 3 == 0 else f"Owl {number} slept. ")
        assert leaked(text) == ""


def test_a_caller_who_leaves_stops_the_model() -> None:
    class Endless(ScriptedChat):
        def _chunks(self, messages: Any, **kwargs: Any) -> Any:
            while True:
                self._requests.append({})
                time.sleep(0.001)
                yield AIMessageChunk(content="A fox ran by. ")

    model = Endless(answers=[])
    stream = GuardedChat(model, FakeJudge()).stream("hi")
    assert isinstance(stream, Generator)
    assert next(stream).text == "A fox ran by. "
    stream.close()
    time.sleep(0.2)
    chunks = len(model.requests)
    time.sleep(0.2)
    assert len(model.requests) == chunks


async def test_the_loop_is_not_blocked() -> None:
    def slow(passage: Passage) -> Assessment:
        time.sleep(0.2)
        return Assessment()

    async def tick() -> int:
        ticks = 0
        while not done.is_set():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    done = asyncio.Event()
    ticking = asyncio.create_task(tick())
    await GuardedChat(says(FINE), FakeJudge(slow)).ainvoke("hi")
    done.set()
    assert await ticking > 5


def test_a_single_sentence_is_judged_once() -> None:
    judge = FakeJudge()
    list(GuardedChat(says(END), judge).stream("hi"))
    assert judge.judged_texts == [END]


def test_invalid_arguments() -> None:
    model = says(FINE)
    with pytest.raises(ConfigurationError, match="needs a LangChain chat model; got str"):
        GuardedChat("openai:gpt-5-mini", FakeJudge())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="needs a judge; got NoneType"):
        GuardedChat(model, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"seconds must be above 0.*got 0"):
        GuardedChat(model, FakeJudge(), timeout_s=0)

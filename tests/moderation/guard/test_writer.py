"""Any Runnable or function is a writer: sync or async, whole or streaming, text or messages."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)

from taleward.core.errors import ConfigurationError, InvalidInputs
from taleward.core.events import DoneEvent
from taleward.core.tale import Tale
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard
from taleward.moderation.guard.revision_context import revision_of
from taleward.testing import FakeJudge, WordEmbeddings
from tests.helpers.scripted_chat import ScriptedChat, calls, says

STORY = "A fox ran home. It slept. "
PIECES = ["A fox r", "an home. ", "It ", "slept. "]


def function(inputs: Any) -> str:
    return STORY


def function_with_config(inputs: Any, config: Any) -> str:
    revision = revision_of(config)
    assert revision is not None
    return STORY


def message_function(inputs: Any) -> AIMessage:
    return AIMessage([{"type": "reasoning", "reasoning": "bad"}, {"type": "text", "text": STORY}])


async def async_function(inputs: Any) -> str:
    await asyncio.sleep(0)
    return STORY


def generator(inputs: Any) -> Iterator[str]:
    yield from PIECES


def generator_with_config(inputs: Any, config: Any) -> Iterator[str]:
    assert revision_of(config) is not None
    yield from PIECES


def message_generator(inputs: Any) -> Iterator[AIMessage]:
    for piece in PIECES:
        yield AIMessage(piece)


def chunk_generator(inputs: Any) -> Iterator[AIMessageChunk]:
    for piece in PIECES:
        yield AIMessageChunk(content=piece)


async def async_generator(inputs: Any) -> AsyncIterator[str]:
    for piece in PIECES:
        await asyncio.sleep(0)
        yield piece


async def async_chunk_generator(inputs: Any) -> AsyncIterator[AIMessageChunk]:
    for piece in PIECES:
        yield AIMessageChunk(content=[{"type": "text", "text": piece, "index": 0}])


class CallableObject:
    def __call__(self, inputs: Any) -> str:
        return STORY


class GeneratorObject:
    def __call__(self, inputs: Any) -> Iterator[str]:
        yield from PIECES


class AsyncObject:
    async def __call__(self, inputs: Any) -> str:
        return STORY

    async def method(self, inputs: Any) -> AsyncIterator[str]:
        for piece in PIECES:
            yield piece


def transform(inputs: Iterator[Any]) -> Iterator[str]:
    for _ in inputs:
        yield from PIECES


def message_transform(inputs: Iterator[Any]) -> Iterator[AIMessage]:
    for _ in inputs:
        yield from map(AIMessage, PIECES)


async def atransform(inputs: AsyncIterator[Any]) -> AsyncIterator[str]:
    async for _ in inputs:
        for piece in PIECES:
            yield piece


def pass_on(chunks: Iterator[AIMessage]) -> Iterator[str]:
    for chunk in chunks:
        yield str(chunk.text)


async def apass_on(chunks: AsyncIterator[Any]) -> AsyncIterator[str]:
    async for chunk in chunks:
        yield str(chunk.text)


PROMPT = ChatPromptTemplate.from_messages([("user", "Tell of {input}.")])

WRITERS: dict[str, Any] = {
    "function": function,
    "function with config": function_with_config,
    "function to a message": message_function,
    "function to a Runnable": lambda inputs: RunnableLambda(function),
    "partial": functools.partial(lambda text, inputs: text, STORY),
    "async function": async_function,
    "generator": generator,
    "generator with config": generator_with_config,
    "partial generator": functools.partial(lambda pieces, inputs: (yield from pieces), PIECES),
    "message generator": message_generator,
    "async generator": async_generator,
    "async chunk generator": async_chunk_generator,
    "object": CallableObject(),
    "generator object": GeneratorObject(),
    "async object": AsyncObject(),
    "async method": AsyncObject().method,
    "RunnableLambda": RunnableLambda(function),
    "async RunnableLambda": RunnableLambda(async_function),
    "RunnableLambda of a generator": RunnableLambda(generator),
    "RunnableLambda of a chunk generator": RunnableLambda(chunk_generator),
    "RunnableLambda of an async generator": RunnableLambda(async_generator),
    "RunnableLambda of both": RunnableLambda(function, async_function),
    "RunnableGenerator": RunnableGenerator(transform),
    "async RunnableGenerator": RunnableGenerator(atransform),
    "RunnableGenerator of both": RunnableGenerator(transform, atransform),
    "RunnableGenerator with config": RunnableGenerator(transform).with_config(tags=["mine"]),
    "chain of message generators": RunnableLambda(function) | RunnableGenerator(message_transform),
    "async RunnableGenerator with retry": RunnableGenerator(atransform).with_retry(),
    "fallback": RunnableLambda(function).with_fallbacks([RunnableGenerator(atransform)]),
    "branch": RunnableBranch((lambda _: True, RunnableGenerator(transform)), RunnableLambda(function)),
    "prompt | model": PROMPT | says(STORY),
    "prompt | model | parser": PROMPT | says(STORY) | StrOutputParser(),
    "prompt | model | generator": PROMPT | says(STORY) | RunnableGenerator(pass_on),
    "prompt | model | async generator": PROMPT | says(STORY) | RunnableGenerator(apass_on),
    "assign | function": RunnableParallel(story=RunnablePassthrough()) | RunnableLambda(async_function),
}


def invoke(guard: Guard, value: Any) -> Tale:
    return guard.invoke(value)


def ainvoke(guard: Guard, value: Any) -> Tale:
    return asyncio.run(guard.ainvoke(value))


def batch(guard: Guard, value: Any) -> Tale:
    return guard.batch([value])[0]


def abatch(guard: Guard, value: Any) -> Tale:
    return asyncio.run(guard.abatch([value]))[0]


def stream(guard: Guard, value: Any) -> Tale:
    *_, done = guard.stream(value)
    assert isinstance(done, DoneEvent)
    return done.tale


def astream(guard: Guard, value: Any) -> Tale:
    async def last() -> Any:
        return [event async for event in guard.astream(value)][-1]

    done = asyncio.run(last())
    assert isinstance(done, DoneEvent)
    return done.tale


PATHS: list[Callable[[Guard, Any], Tale]] = [invoke, ainvoke, batch, abatch, stream, astream]


@pytest.fixture(params=PATHS, ids=lambda path: path.__name__)
def tell(request: pytest.FixtureRequest) -> Callable[[Guard, Any], Tale]:
    path: Callable[[Guard, Any], Tale] = request.param
    return path


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_every_kind_of_writer(writer: Any, tell: Callable[[Guard, Any], Tale]) -> None:
    assert tell(Guard(writer, FakeJudge()), {"input": "a fox"}).text == STORY


def test_a_chat_model_writes_from_a_string(tell: Callable[[Guard, Any], Tale]) -> None:
    model, judge = says(STORY), FakeJudge()
    assert tell(Guard(model, judge), "Tell of a fox.").text == STORY
    assert model.requests[0]["messages"] == [HumanMessage("Tell of a fox.")]
    assert judge.judged_texts[0] == "Tell of a fox."


def test_a_string_is_judged_and_masked_like_named_values(tell: Callable[[Guard, Any], Tale]) -> None:
    inputs: list[Any] = []

    def write(text: Any) -> str:
        inputs.append(text)
        return STORY

    refusal = tell(Guard(write, FakeJudge()), "a bad wolf").refusal
    assert refusal is not None
    assert refusal.reason == "input"
    assert inputs == []
    assert tell(Guard(write, FakeJudge(), judge_inputs=False), "a bad wolf").released
    assert tell(Guard(write, FakeJudge(), mask_personal_data=True), "I am mia@school.org").released
    assert tell(Guard(write, FakeJudge()), " a fox ").released
    assert inputs == ["a bad wolf", "I am [e-mail address]", " a fox "]


def test_a_recorder_gets_a_string_as_a_named_value(tell: Callable[[Guard, Any], Tale]) -> None:
    class Recorder:
        inputs: Any = None

        def record(self, tale: Tale, inputs: Any) -> None:
            self.inputs = inputs

    recorder = Recorder()
    tell(Guard(function, FakeJudge(), recorder=recorder), "a fox")
    assert recorder.inputs == {"input": "a fox"}


def test_best_of_takes_functions_and_strings(tell: Callable[[Guard, Any], Tale]) -> None:
    drafts = iter(["An owl sang.", "A fox ran."])

    async def write(text: str) -> AIMessage:
        return AIMessage(next(drafts))

    guard = BestOf(write, FakeJudge(), candidates=2, embeddings=WordEmbeddings())
    assert tell(guard, "a fox").text == "A fox ran."


def test_a_failed_draft_is_written_again_by_any_writer(tell: Callable[[Guard, Any], Tale]) -> None:
    drafts = iter(["bad. ", STORY])

    def write(inputs: Any) -> Iterator[str]:
        yield next(drafts)

    assert tell(Guard(write, FakeJudge()), {}).text == STORY


def test_model_calls_within_a_function_are_recorded(tell: Callable[[Guard, Any], Tale]) -> None:
    model = says(STORY)

    async def write(text: str) -> str:
        return str((await model.ainvoke(text)).text)

    for writer in (lambda text: model.invoke(text), write):
        assert len(tell(Guard(writer, FakeJudge()), "a fox").attempts[-1].calls) == 1


def test_streamed_input_of_a_chain_is_one_input() -> None:
    strings = RunnableGenerator(transform) | Guard(lambda text: text, FakeJudge())
    assert [tale.text for tale in strings.stream("a fox")] == [STORY] == [strings.invoke("a fox").text]
    values: Runnable[Any, Tale] = RunnableParallel(hero=lambda _: "fox", place=lambda _: "sea") | Guard(
        lambda inputs: f"{inputs['hero']}, {inputs['place']}", FakeJudge()
    )
    assert [tale.text for tale in values.stream({})] == ["fox, sea"]

    async def collect() -> list[str]:
        return [tale.text async for tale in values.astream({})]

    assert asyncio.run(collect()) == ["fox, sea"]


# What is no writer, no input, and no text.


@pytest.mark.parametrize(
    ("writer", "message", "hint"),
    [
        ("embedded:storyteller", "got str", "StoryChain"),
        (None, "got NoneType", "StoryChain"),
        ({"story": function}, "got dict", "StoryChain"),
        (CallableObject, "got the class CallableObject", "CallableObject(...)"),
        (
            RunnableGenerator(pass_on) | RunnableGenerator(apass_on),
            "pass_on only runs sync, and apass_on only runs async",
            "a version of the other kind",
        ),
    ],
)
def test_what_is_no_writer(writer: Any, message: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        Guard(writer, FakeJudge())
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("value", [7, None, ["a fox"], [HumanMessage("a fox")], PROMPT.invoke({"input": "x"})])
def test_an_input_of_another_type(tell: Callable[[Guard, Any], Tale], value: Any) -> None:
    with pytest.raises(InvalidInputs, match=f"takes a mapping .* or a string; got {type(value).__name__}") as caught:
        tell(Guard(function, FakeJudge()), value)
    assert "GuardedChat" in str(caught.value.hint)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("writer", "message"),
    [
        (lambda _: 7, "<lambda> gave int"),
        (lambda _: None, "<lambda> gave NoneType"),
        (lambda _: [AIMessage(STORY)], "<lambda> gave list"),
        (lambda _: async_function({}), "<lambda> gave coroutine"),
        (functools.partial(lambda items, _: (yield from items), ["a ", 7]), "<lambda> gave int"),
        (PROMPT, "ChatPromptTemplate gave ChatPromptValue"),
        (Guard(function, FakeJudge()), "Guard gave "),
        (RunnableParallel(story=function), "RunnableParallel<story> gave "),
    ],
)
def test_a_writer_that_gives_no_text(tell: Callable[[Guard, Any], Tale], writer: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        tell(Guard(writer, FakeJudge()), {"input": "a fox"})
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", " "])
def test_a_message_that_calls_tools_instead_of_writing(tell: Callable[[Guard, Any], Tale], text: str) -> None:
    model = ScriptedChat(answers=[calls("search", {"query": "a fox"}, text=text)])
    with pytest.raises(ConfigurationError, match="ScriptedChat called tools instead: search") as caught:
        tell(Guard(model, FakeJudge()), "a fox")
    assert "GuardMiddleware" in str(caught.value.hint)


def test_of_a_message_with_text_and_tool_calls_the_text_is_taken(tell: Callable[[Guard, Any], Tale]) -> None:
    model = ScriptedChat(answers=[[STORY, *calls("search", {"query": "bad"})]])
    assert tell(Guard(model, FakeJudge()), "a fox").text == STORY


# Time limits and callers that leave.


def _hangs(free: threading.Event) -> dict[str, Any]:
    def function(inputs: Any) -> str:
        free.wait(5)
        return STORY

    def generator(inputs: Any) -> Iterator[str]:
        free.wait(5)
        yield STORY

    async def async_function(inputs: Any) -> str:
        await asyncio.sleep(5)
        return STORY

    async def async_generator(inputs: Any) -> AsyncIterator[str]:
        await asyncio.sleep(5)
        yield STORY

    return {f.__name__: f for f in (function, generator, async_function, async_generator)}


@pytest.mark.parametrize("kind", ["function", "generator", "async_function", "async_generator"])
def test_a_writer_that_hangs_is_refused(tell: Callable[[Guard, Any], Tale], kind: str) -> None:
    free = threading.Event()
    threading.Timer(1.5, free.set).start()
    started = time.monotonic()
    refusal = tell(Guard(_hangs(free)[kind], FakeJudge(), timeout_s=0.2), {}).refusal
    assert time.monotonic() - started < 3
    assert refusal is not None
    assert refusal.reason == "timeout"
    free.set()


def test_an_async_writer_of_a_sync_caller_is_canceled_at_the_time_limit() -> None:
    canceled = threading.Event()

    async def write(inputs: Any) -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            canceled.set()
            raise
        return STORY

    assert not Guard(write, FakeJudge(), timeout_s=0.2).invoke({}).released
    assert canceled.wait(5)


def test_a_reader_who_leaves_stops_a_sync_generator() -> None:
    stopped = threading.Event()

    def write(inputs: Any) -> Iterator[str]:
        try:
            while True:
                time.sleep(0.001)
                yield "A fox ran by. An owl sang. "
        finally:
            stopped.set()

    for event in Guard(write, FakeJudge()).stream({}):
        if event.type == "text":
            break
    assert stopped.wait(5)


def test_an_error_of_any_writer_reaches_the_caller(tell: Callable[[Guard, Any], Tale]) -> None:
    async def fails_async(inputs: Any) -> str:
        raise ConnectionError("no model there")

    def fails_late(inputs: Any) -> Iterator[str]:
        yield "A fox ran. "
        raise ConnectionError("no model there")

    for writer in (fails_async, fails_late):
        with pytest.raises(ConnectionError, match="no model there"):
            tell(Guard(writer, FakeJudge()), {})

"""A guarded chat model releases only moderated output, on every path."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler, get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call
from langchain_core.output_parsers import StrOutputParser
from langchain_core.tracers.context import _configure_hooks, register_configure_hook
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from pydantic import BaseModel

from taleward.core.errors import ConfigurationError, Refused
from taleward.core.verdict import Passage
from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.moderation.judges.base import Assessment
from tests.helpers.fakes import FakeJudge
from tests.helpers.scripted_chat import SECRET, EndWitness, ScriptedChat, Witness, calls, cut, cut_anyhow, leaked, says

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

Path = Callable[[Any, dict[str, Any]], list[Any]]
FINE = "Once there was a fox. It had a red tail. "
END = "Then it went home. "


def _invoke(chat: Any, config: dict[str, Any]) -> list[Any]:
    return [chat.invoke("hi", config)]


def _ainvoke(chat: Any, config: dict[str, Any]) -> list[Any]:
    return [asyncio.run(chat.ainvoke("hi", config))]


def _batch(chat: Any, config: dict[str, Any]) -> list[Any]:
    return list(chat.batch(["hi"], config))


def _abatch(chat: Any, config: dict[str, Any]) -> list[Any]:
    return asyncio.run(chat.abatch(["hi"], config))


def _generate(chat: Any, config: dict[str, Any]) -> list[Any]:
    return [chat.generate([[AIMessage("hi")]], callbacks=config.get("callbacks"))]


def _stream(chat: Any, config: dict[str, Any]) -> list[Any]:
    return list(chat.stream("hi", config))


def _astream(chat: Any, config: dict[str, Any]) -> list[Any]:
    async def run() -> list[Any]:
        return [chunk async for chunk in chat.astream("hi", config)]

    return asyncio.run(run())


def _astream_events(chat: Any, config: dict[str, Any]) -> list[Any]:
    async def run() -> list[Any]:
        return [event async for event in chat.astream_events("hi", config, version="v2")]

    return asyncio.run(run())


def _astream_events_of_a_chain(chat: Any, config: dict[str, Any]) -> list[Any]:
    return _astream_events(chat | StrOutputParser(), config)


def _stream_events_v3(chat: Any, config: dict[str, Any]) -> list[Any]:
    stream = chat.stream_events("hi", config, version="v3")
    return [*stream, stream.output]


def _astream_events_v3(chat: Any, config: dict[str, Any]) -> list[Any]:
    async def run() -> list[Any]:
        stream = await chat.astream_events("hi", config, version="v3")
        seen = [*[event async for event in stream], await stream.output]
        await asyncio.sleep(0.05)  # LangChain calls `on_llm_end` only after that
        return seen

    return asyncio.run(run())


def _chain(chat: Any, config: dict[str, Any]) -> list[Any]:
    return list((chat | StrOutputParser()).stream("hi", config))


WHOLE: list[Path] = [_invoke, _ainvoke, _batch, _abatch, _generate]
STREAMED: list[Path] = [
    _stream,
    _astream,
    _astream_events,
    _astream_events_of_a_chain,
    _stream_events_v3,
    _astream_events_v3,
    _chain,
]


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
    assert leaked(witness.heard) == ""
    assert "would rather not say" in repr(seen)
    assert witness.heard
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


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([FINE, END, SECRET, "Hm. ", '"Oh!" said the owl. ']), max_size=8),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_any_chunking_of_the_text(sentences: list[str], seed: int, asynchronous: bool) -> None:
    text = "".join(sentences)
    chat = GuardedChat(ScriptedChat(answers=[list(cut_anyhow(text, seed))]), FakeJudge())
    chunks = (_astream if asynchronous else _stream)(chat, {})
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
    assert "fox" in repr(witness.heard)
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
        "judge": "fake",
        "policy": "kids@1",
        "band": "6-8",
        "reason": "failed",
    }
    assert message.additional_kwargs == {"refusal": message.content}


def raises(passage: Passage) -> Assessment:
    raise ValueError("the judge is down")


def nonsense(passage: Passage) -> Any:
    return "pass"


def abstains(passage: Passage) -> Assessment:
    return Assessment(outcome="abstain")


def unparsable(passage: Passage) -> Assessment:
    return Assessment(outcome="unparsable", detail="Not safe.")


@pytest.mark.parametrize("answer", [raises, nonsense, abstains, unparsable])
@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_without_a_clear_verdict_nothing_is_released(path: Path, answer: Callable[[Passage], Assessment]) -> None:
    seen = path(GuardedChat(says(FINE), FakeJudge(answer)), {})
    assert "fox" not in repr(seen)
    assert "keep it to myself" in repr(seen)


class NoVerdict(FakeJudge):
    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return True

    async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
        return True


@pytest.mark.parametrize("path", [_invoke, _ainvoke, _stream, _astream], ids=lambda path: path.__name__)
def test_an_answer_that_is_no_verdict_releases_nothing(path: Path) -> None:
    seen = path(GuardedChat(says(FINE), NoVerdict()), {})
    assert "fox" not in repr(seen)
    assert seen[-1].response_metadata["taleward"]["outcome"] == "error"


@pytest.mark.parametrize("text", ["", " \n ", "\t"])
@pytest.mark.parametrize("path", [_invoke, _ainvoke, _stream, _astream], ids=lambda path: path.__name__)
def test_an_empty_message_is_refused(path: Path, text: str) -> None:
    end = path(GuardedChat(ScriptedChat(answers=[[text]]), FakeJudge()), {})[-1]
    assert end.response_metadata["taleward"]["released"] is False
    assert end.text.strip()


@pytest.mark.parametrize("path", [_invoke, _ainvoke, _stream, _astream], ids=lambda path: path.__name__)
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


@pytest.mark.parametrize("path", [_invoke, _ainvoke, _stream, _astream], ids=lambda path: path.__name__)
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
    assert leaked(witness.heard) == ""


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
            seen.append(chunk.text)

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
                self._asked.append({})
                time.sleep(0.001)
                yield AIMessageChunk(content="A fox ran by. ")

    model = Endless(answers=[])
    stream = GuardedChat(model, FakeJudge()).stream("hi")
    assert isinstance(stream, Generator)
    assert next(stream).text == "A fox ran by. "
    stream.close()
    time.sleep(0.2)
    chunks = len(model.asked)
    time.sleep(0.2)
    assert len(model.asked) == chunks


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


# Tool calls and other content.


@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
@pytest.mark.parametrize(
    "args", [{"note": SECRET}, {"note": {"deep": ["fine", SECRET]}}, {SECRET: 1}, {"note": "fine", "other": SECRET}]
)
def test_the_words_in_tool_calls_are_judged(path: Path, args: dict[str, Any]) -> None:
    witness = Witness()
    chat = GuardedChat(ScriptedChat(answers=[calls("save", args, text=FINE)]), FakeJudge())
    seen = path(chat, {"callbacks": [witness]})
    assert leaked(seen) == ""
    assert leaked(witness.heard) == ""
    assert "call-save" not in repr(seen)


@pytest.mark.parametrize("text", ["", "\n\n", FINE])
@pytest.mark.parametrize("path", [_invoke, _ainvoke, _stream, _astream], ids=lambda path: path.__name__)
def test_a_tool_call_that_passes_arrives(path: Path, text: str) -> None:
    judge = FakeJudge()
    chat = GuardedChat(ScriptedChat(answers=[calls("save", {"note": "a fox", "n": 3}, text=text)]), judge)
    seen = path(chat, {})
    message = seen[0]
    for chunk in seen[1:]:
        message += chunk
    assert [(c["name"], c["args"], c["id"]) for c in message.tool_calls] == [
        ("save", {"note": "a fox", "n": 3}, "call-save")
    ]
    assert message.text == (text if text.strip() else "")
    assert "a fox" in judge.asked[-1]


def test_names_in_tool_definitions_are_not_the_models_words() -> None:
    def save_bad_note(note: str, bad: int) -> None:
        """Save a note."""

    judge = FakeJudge()
    model = ScriptedChat(answers=[calls("save_bad_note", {"note": "fine", "bad": 1})])
    message = GuardedChat(model, judge).bind_tools([save_bad_note]).invoke("hi")
    assert [c["name"] for c in message.tool_calls] == ["save_bad_note"]
    assert model.asked[0]["tools"][0]["function"]["name"] == "save_bad_note"
    refused = GuardedChat(model, FakeJudge()).invoke("hi")
    assert refused.tool_calls == []


def test_a_tool_call_without_words_needs_no_verdict() -> None:
    def now() -> None:
        """What time it is."""

    judge = FakeJudge()
    message = GuardedChat(ScriptedChat(answers=[calls("now", {})]), judge).bind_tools([now]).invoke("hi")
    assert message.tool_calls[0]["name"] == "now"
    assert message.response_metadata["taleward"] == {"released": True}
    assert judge.asked == []


def test_an_invalid_tool_call_is_judged_as_raw_text() -> None:
    broken = invalid_tool_call(name="save", args='{"note": "' + SECRET, id="1")
    model = ScriptedChat(answers=[[AIMessageChunk(content="", invalid_tool_calls=[broken])]])
    message = GuardedChat(model, FakeJudge()).invoke("hi")
    assert leaked(message) == ""
    assert message.invalid_tool_calls == []


@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_content_that_no_judge_has_seen_is_dropped(path: Path) -> None:
    chunk = AIMessageChunk(
        content=[
            {"type": "reasoning", "reasoning": SECRET},
            {"type": "thinking", "thinking": SECRET},
            {"type": "text", "text": FINE, "annotations": [{"type": "citation", "cited_text": SECRET}]},
            {"type": "image", "url": SECRET},
            {"type": "server_tool_result", "output": SECRET},
        ],
        additional_kwargs={"reasoning_content": SECRET, "audio": {"transcript": SECRET}},
        response_metadata={"logprobs": {"content": [{"token": SECRET}]}, "model_name": "m", "finish_reason": "stop"},
        usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
    )
    witness = Witness()
    seen = path(GuardedChat(ScriptedChat(answers=[[chunk]]), FakeJudge()), {"callbacks": [witness]})
    assert leaked(seen) == ""
    assert leaked(witness.heard) == ""
    assert "red tail" in repr(seen)
    if isinstance(seen[-1], AIMessage):
        assert seen[-1].usage_metadata == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        assert seen[-1].response_metadata["model_name"] == "m"


@pytest.mark.parametrize("where", ["kwargs", "block"])
def test_the_models_own_refusal_is_judged_like_its_text(where: str) -> None:
    def refusal(words: str) -> AIMessageChunk:
        if where == "kwargs":
            return AIMessageChunk(content="", additional_kwargs={"refusal": words})
        return AIMessageChunk(content=[{"type": "refusal", "refusal": words}])

    message = GuardedChat(ScriptedChat(answers=[[refusal("No, thank you.")]]), FakeJudge()).invoke("hi")
    assert message.content == "No, thank you."
    assert leaked(GuardedChat(ScriptedChat(answers=[[refusal(SECRET)]]), FakeJudge()).invoke("hi")) == ""


ESCAPED = json.dumps({"title": "fine", "story": "so b" + "ad"}).replace("bad", "\\u0062ad")


@pytest.mark.parametrize("text", [ESCAPED, f"```json\n{ESCAPED}\n```"])
@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_json_is_judged_as_it_reads_once_parsed(path: Path, text: str) -> None:
    assert "bad" not in text
    seen = path(GuardedChat(says(text), FakeJudge()), {})
    assert "u0062" not in repr(seen)
    assert "title" not in repr(seen)


class Story(BaseModel):
    """A story."""

    title: str
    text: str


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("include_raw", [False, True])
def test_structured_output_is_judged(asynchronous: bool, include_raw: bool) -> None:
    def ask(text: str) -> Any:
        model = ScriptedChat(answers=[calls("Story", {"title": "Fox", "text": text})])
        structured = GuardedChat(model, FakeJudge()).with_structured_output(Story, include_raw=include_raw)
        return asyncio.run(structured.ainvoke("hi")) if asynchronous else structured.invoke("hi")

    fine = ask(FINE)
    assert (fine["parsed"] if include_raw else fine) == Story(title="Fox", text=FINE)
    if include_raw:
        refused = ask(SECRET)
        assert leaked(refused) == ""
        assert refused["parsed"] is None
        assert isinstance(refused["parsing_error"], Refused)
        assert refused["raw"].response_metadata["taleward"]["released"] is False
    else:
        with pytest.raises(Refused, match=r"not released \(failed\): violence") as error:
            ask(SECRET)
        assert leaked(error.value) == ""


async def test_structured_output_is_not_in_events_before_its_verdict() -> None:
    model, witness = ScriptedChat(answers=[calls("Story", {"title": "Fox", "text": SECRET})]), Witness()
    structured = GuardedChat(model, FakeJudge()).with_structured_output(Story, include_raw=True)
    seen = [e async for e in structured.astream_events("hi", {"callbacks": [witness]}, version="v2")]
    assert leaked(seen) == ""
    assert leaked(witness.heard) == ""


# Callbacks of the wrapped model.


@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_no_callback_hears_the_wrapped_model(path: Path) -> None:
    model_witness, end_witness, ambient_witness = Witness(), EndWitness(), Witness()
    variable: ContextVar[Any] = ContextVar("variable", default=None)
    register_configure_hook(variable, True)
    token = variable.set(ambient_witness)
    try:
        model = ScriptedChat(answers=[list(cut(FINE + SECRET, 4))], callbacks=[model_witness])
        path(GuardedChat(model, FakeJudge()), {"callbacks": [end_witness]})
    finally:
        variable.reset(token)
        _configure_hooks[:] = [hook for hook in _configure_hooks if hook[0] is not variable]
    for witness in (model_witness, end_witness, ambient_witness):
        assert leaked(witness.heard) == ""
        assert "would rather" in repr(witness.heard)
    assert model.callbacks == [model_witness]


def test_tracers_keep_the_wrapped_models_words() -> None:
    tracer = RunCollectorCallbackHandler()
    GuardedChat(says(SECRET), FakeJudge()).invoke("hi", {"callbacks": [tracer]})
    assert "ЖЩ" in repr([child.outputs for run in tracer.traced_runs for child in run.child_runs])


def test_tokens_are_counted_once() -> None:
    usage: UsageMetadata = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    chunk = AIMessageChunk(content=FINE, usage_metadata=usage, response_metadata={"model_name": "m"})
    counter = UsageMetadataCallbackHandler()
    with get_usage_metadata_callback() as ambient_counter:
        GuardedChat(ScriptedChat(answers=[[chunk]]), FakeJudge()).invoke("hi", {"callbacks": [counter]})
    assert counter.usage_metadata["m"]["total_tokens"] == 7
    assert ambient_counter.usage_metadata["m"]["total_tokens"] == 7


def test_a_verdict_is_not_cached() -> None:
    set_llm_cache(InMemoryCache())
    try:
        model = says(FINE)
        assert "fox" in GuardedChat(model, FakeJudge()).invoke("hi").content
        assert "fox" not in GuardedChat(model, FakeJudge(abstains)).invoke("hi").content
        assert len(model.asked) == 1
    finally:
        set_llm_cache(None)


def test_arguments_reach_the_model() -> None:
    model = says(FINE)
    chat = GuardedChat(model, FakeJudge())
    chat.invoke("hi", stop=["end"], seed=7)
    list(chat.bind(seed=0).stream("hi"))
    assert [(call["stop"], call["seed"]) for call in model.asked] == [(["end"], 7), (None, 0)]


def test_a_single_sentence_is_judged_once() -> None:
    judge = FakeJudge()
    list(GuardedChat(says(END), judge).stream("hi"))
    assert judge.asked == [END]


def test_invalid_arguments() -> None:
    model = says(FINE)
    with pytest.raises(ConfigurationError, match="needs a LangChain chat model; got str"):
        GuardedChat("openai:gpt-5-mini", FakeJudge())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="needs a judge; got NoneType"):
        GuardedChat(model, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"seconds must be above 0.*got 0"):
        GuardedChat(model, FakeJudge(), timeout_s=0)

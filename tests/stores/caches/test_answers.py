"""The answer caches: the same question is answered once, and only passed answers are returned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation
from langchain_core.runnables import RunnableLambda
from pydantic import Field

from taleward.core.errors import ConfigurationError
from taleward.core.tale import digest
from taleward.core.verdict import Verdict
from taleward.moderation.guard.guard import Guard
from taleward.stores.caches.answers import AnswerCache
from taleward.stores.caches.cached_chat import CachedChat
from taleward.stores.caches.semantic_answers import SemanticAnswerCache, is_same_question, question_words
from taleward.testing import FakeJudge, WordEmbeddings


class CountingModel(BaseChatModel):
    """Numbers its answers, and takes `delay_s` seconds for each."""

    responses: list[str] = Field(default_factory=list)
    text: str = "a good tale"
    delay_s: float = 0.0
    size: int = 1

    @property
    def _llm_type(self) -> str:
        return "test"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"size": self.size}

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        time.sleep(self.delay_s)
        self.responses.append(f"{self.text} {len(self.responses) + 1}")
        if "raise" in messages[-1].text:
            raise OSError("the model is away")
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=self.responses[-1]))])


class StreamingModel(CountingModel):
    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        [generation] = self._generate(messages).generations
        for word in generation.text.split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word + " "))

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk


def verdict(outcome: Any = "pass", policy: str = "kids@1", band: str = "6-8") -> Verdict:
    return Verdict(outcome=outcome, judge="test", policy=policy, band=band)


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    return AnswerCache(tmp_path / "answers.db", policy="kids@1", band="6-8", judge=FakeJudge())


def test_a_passed_answer_is_returned_through_langchains_own_cache(cache: AnswerCache) -> None:
    model = CountingModel(cache=cache)
    first = model.invoke("tell me a tale")
    again = model.invoke("tell me a tale")
    assert first.content == again.content == "a good tale 1"
    assert again.response_metadata["cached"]
    assert model.invoke("tell me another").content == "a good tale 2"
    assert (cache.stats().hits, cache.stats().misses) == (1, 2)


@pytest.mark.parametrize("outcome", ["fail", "abstain", "unparsable", "error"])
def test_an_answer_without_a_pass_is_never_returned(tmp_path: Path, outcome: str) -> None:
    cache = AnswerCache(tmp_path / "answers.db", policy="kids@1", band="6-8")
    cache.update("prompt", "model", [Generation(text="a tale")])
    assert cache.lookup("prompt", "model") is None
    cache.record_verdict("a tale", verdict("pass", policy="kids@2"))
    cache.record_verdict("a tale", verdict("pass", band="9-12"))
    assert cache.lookup("prompt", "model") is None
    cache.record_verdict("a tale", verdict("pass"))
    assert cache.lookup("prompt", "model") == [Generation(text="a tale")]
    cache.record_verdict("a tale", verdict(outcome))
    assert cache.lookup("prompt", "model") is None
    assert cache.stats().withheld == 3


def test_the_judge_judges_a_text_once_and_again_after_an_error(tmp_path: Path) -> None:
    outcomes: list[Any] = ["error", "pass", "fail"]
    judged: list[str] = []

    def judge(text: str) -> Verdict:
        judged.append(text)
        return verdict(outcomes.pop(0))

    options: dict[str, Any] = {"policy": "kids@1", "band": "6-8", "judge": RunnableLambda(judge)}
    cache = AnswerCache(tmp_path / "answers.db", **options)
    cache.update("prompt", "model", [Generation(text="a tale")])
    assert cache.lookup("prompt", "model") is None
    assert cache.lookup("prompt", "model")
    assert cache.lookup("prompt", "model")
    assert judged == ["a tale"] * 2
    cache.update("other", "model", [Generation(text="a bad tale")])
    assert cache.lookup("other", "model") is None
    assert cache.lookup("other", "model") is None
    assert len(judged) == 3


def test_model_parameters_policy_and_band_are_parts_of_the_key(tmp_path: Path) -> None:
    def open_cache(policy: str = "kids@1", band: str = "6-8") -> AnswerCache:
        return AnswerCache(tmp_path / "answers.db", policy=policy, band=band)

    cache = open_cache()
    cache.update("prompt", "model", [Generation(text="a tale")])
    for policy in ("kids@1", "kids@2"):
        for band in ("6-8", "3-5"):
            cache.record_verdict("a tale", verdict(policy=policy, band=band))
    assert cache.lookup("prompt", "model")
    assert cache.lookup("prompt", "other model") is None
    assert cache.lookup("other prompt", "model") is None
    assert open_cache(policy="kids@2").lookup("prompt", "model") is None
    assert open_cache(band="3-5").lookup("prompt", "model") is None


def test_a_guard_records_its_verdicts_in_the_cache(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers.db", policy="kids@1", band="6-8")
    model = CountingModel(cache=cache)
    guard = Guard(RunnableLambda(lambda inputs: model.invoke(inputs["ask"]).text), FakeJudge(), recorder=cache)
    texts = [guard.invoke({"ask": "tell me a tale"}).text for _ in range(3)]
    assert texts == ["a good tale 1"] * 3
    bad = CountingModel(cache=cache, text="a bad tale")
    guard = Guard(RunnableLambda(lambda inputs: bad.invoke("x").text), FakeJudge(), attempts=2, recorder=cache)
    assert not guard.invoke({}).released
    assert len(bad.responses) == 2


def test_answers_expire_and_are_evicted_and_deleted(tmp_path: Path) -> None:
    now = [0.0]
    options: dict[str, Any] = {"policy": "kids@1", "band": "6-8", "judge": FakeJudge(), "clock": lambda: now[0]}
    cache = AnswerCache(tmp_path / "answers.db", ttl_s=1000, max_entries=2, **options)
    for i, name in enumerate(["a", "b", "c"]):
        now[0] = i * 100.0
        cache.update(name, "model", [Generation(text=f"tale {name}")])
        assert cache.lookup(name, "model")
    assert cache.lookup("a", "model") is None
    assert cache.delete([digest("tale b")]) == 1
    assert cache.lookup("b", "model") is None
    now[0] = 1200.0
    assert cache.lookup("c", "model") is None
    cache.clear()
    assert cache.stats().answers == 0
    assert not any(b"tale c" in file.read_bytes() for file in tmp_path.iterdir())


def test_a_failing_cache_never_fails_the_caller(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def failing_judge(text: str) -> Verdict:
        raise RuntimeError("no judge here")

    cache = AnswerCache(tmp_path / "a.db", policy="kids@1", band="6-8", judge=RunnableLambda(failing_judge))
    model = CountingModel(cache=cache)
    assert [model.invoke("x").text for _ in range(2)] == ["a good tale 1", "a good tale 2"]
    assert "no judge here" in caplog.text
    cache._database._timeout_s = 0.05
    cache.close()
    (tmp_path / "a.db").write_bytes(b"torn" * 5000)
    assert model.invoke("x").text == "a good tale 3"
    assert cache._failures >= 3
    with pytest.raises(ConfigurationError, match="max_entries"):
        AnswerCache(tmp_path / "b.db", policy="kids@1", band="6-8", max_entries=0)


def test_tool_calls_are_not_stored(cache: AnswerCache) -> None:
    call = AIMessage(content="x", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    cache.update("prompt", "model", [ChatGeneration(message=call)])
    cache.update("prompt", "model", [Generation(text="a"), Generation(text="b")])
    assert cache.stats().answers == 0


async def test_streams_fill_and_read_the_cache(cache: AnswerCache) -> None:
    model = StreamingModel()
    chat = CachedChat(model=model, answers=cache)
    chunks = [chunk.text for chunk in chat.stream("a tale") if chunk.text]
    assert len(chunks) > 1
    again = [chunk.text for chunk in chat.stream("a tale") if chunk.text]
    assert again == ["".join(chunks)]
    assert chat.invoke("a tale").text == "".join(chunks)
    assert "".join([chunk.text async for chunk in chat.astream("a tale")]) == "".join(chunks)
    assert len(model.responses) == 1
    abandoned = chat.stream("another")
    assert isinstance(abandoned, Generator)
    next(abandoned)
    abandoned.close()
    assert "".join([chunk.text async for chunk in chat.astream("another")]).startswith("a good tale 3")
    assert (await chat.ainvoke("another")).text == "a good tale 3 "


async def test_a_model_that_cannot_stream_is_cached_too(cache: AnswerCache) -> None:
    chat = CachedChat(model=CountingModel(), answers=cache)
    assert ["".join(c.text for c in chat.stream("x")) for _ in range(2)] == ["a good tale 1"] * 2
    assert ["".join([c.text async for c in chat.astream("y")]) for _ in range(2)] == ["a good tale 2"] * 2


def test_identical_concurrent_calls_are_one_call(cache: AnswerCache) -> None:
    chat = CachedChat(model=CountingModel(delay_s=0.2), answers=cache)
    with ThreadPoolExecutor(8) as pool:
        texts = [message.text for message in pool.map(chat.invoke, ["same"] * 8)]
    assert texts == ["a good tale 1"] * 8
    with ThreadPoolExecutor(8) as pool:
        errors = [future.exception() for future in [pool.submit(chat.invoke, "raise") for _ in range(8)]]
    assert {type(error) for error in errors} == {OSError}
    assert not chat._in_flight


async def test_identical_async_calls_survive_a_canceled_leader(cache: AnswerCache) -> None:
    class SlowModel(CountingModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
            await asyncio.sleep(0.1)
            return self._generate(args[0])

    chat = CachedChat(model=SlowModel(), answers=cache)
    calls = [asyncio.create_task(chat.ainvoke("same")) for _ in range(5)]
    await asyncio.sleep(0.05)
    calls[0].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {getattr(message, "text", message) for message in results[1:]} == {"a good tale 1"}


def test_the_parameters_are_part_of_the_key(cache: AnswerCache) -> None:
    chat = CachedChat(model=CountingModel(size=1), answers=cache)
    assert chat.invoke("x", seed=1).text != chat.invoke("x", seed=2).text
    assert chat.invoke("x", seed=1).text == "a good tale 1"
    assert (
        CachedChat(model=CountingModel(size=2, text="another"), answers=cache).invoke("x", seed=1).text == "another 1"
    )


# Semantic -----------------------------------------------------------------------------------------------------------

SAME = [
    ("a story about a fox and a hen", "Please tell me a story about a fox and the hen!"),
    ("Write a tale of two dragons", "tell us a tale of two dragons, please"),
]
DIFFERENT = [
    ("a story where the fox chases the hen", "a story where the hen chases the fox"),
    ("a tale of two dragons", "a tale of three dragons"),
    ("dogs are allowed in the castle", "dogs are not allowed in the castle"),
    ("a story about Anna", "a story about Hanna"),
    ("can the dragon fly", "the dragon can fly"),
    ("story", "story!"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_a_paraphrase_is_the_same_question(first: str, second: str) -> None:
    assert is_same_question(first, second)


@pytest.mark.parametrize(("first", "second"), DIFFERENT[:-2] + DIFFERENT[-1:])
def test_different_questions_are_distinguished(first: str, second: str) -> None:
    assert not is_same_question(first, second)


def test_question_words_keep_numbers_and_order() -> None:
    assert question_words("Please tell me 3.5 tales of a Fox, thanks") == ("3.5", "tales", "of", "fox")


def semantic(folder: Path, **options: Any) -> SemanticAnswerCache:
    return SemanticAnswerCache(
        folder / "answers", WordEmbeddings(), policy="kids@1", band="6-8", threshold=0.5, **options
    )


def test_a_paraphrased_question_gets_the_passed_answer(tmp_path: Path) -> None:
    cache = semantic(tmp_path, judge=FakeJudge())
    chat = CachedChat(model=CountingModel(), answers=cache)
    first = chat.invoke(SAME[0][0]).text
    assert chat.invoke(SAME[0][1]).text == first
    assert chat.invoke("a story about a hen and a fox").text != first
    assert chat.invoke([("system", "be brief"), ("human", SAME[0][1])]).text != first
    bad = CachedChat(model=CountingModel(text="bad"), answers=cache)
    assert [bad.invoke(question, seed=9).text for question in SAME[1]] == ["bad 1", "bad 2"]
    cache.delete([digest(first)])
    assert chat.invoke(SAME[0][1]).text != first
    cache.clear()
    cache.close()
    assert len(semantic(tmp_path)._questions) == 0


def test_an_evicted_answer_takes_its_question_with_it(tmp_path: Path) -> None:
    cache = semantic(tmp_path, judge=FakeJudge(), max_entries=1)
    for name in ("hen", "fox"):
        cache.update(f"a story about a red {name}", "model", [Generation(text=f"tale of the {name}")])
    assert [row for rows, _ in cache._questions.scan() for row in rows.texts] == ["a story about a red fox"]


def test_false_hits_are_measured(tmp_path: Path) -> None:
    pairs = [(*pair, True) for pair in SAME] + [(*pair, False) for pair in DIFFERENT]
    report = semantic(tmp_path).measure_false_hits(pairs)
    assert (report.same_pairs, report.hits, report.different_pairs) == (2, 2, 6)
    assert report.false_hit_rate == report.false_hits / 6


def test_a_policy_without_its_version_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="its id with a version, such as 'kids@1'; got 'kids'"):
        AnswerCache(tmp_path / "answers.db", policy="kids", band="6-8")

"""Callers share a model: each gets its own text, whoever else is there."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taleward.backends.base.embedded import embedded_path
from taleward.backends.chat_models import chat_model
from taleward.backends.engine.engine import Engine
from taleward.backends.engine.request import GenerationRequest
from taleward.backends.engine.sampling import Sampler, Sampling
from taleward.backends.onnx.llama import Llama
from taleward.core.errors import BackendError

GREEDY = Sampling(temperature=0)


class Counting:
    """A network whose next token is the sum of a row's tokens, modulo 97; it keeps each row's tokens."""

    def __init__(self, max_batch: int = 4, pause: float = 0.0) -> None:
        self.max_batch, self.pause, self.room = max_batch, pause, 10**6
        self.rows: list[list[int]] = [[] for _ in range(max_batch)]
        self.batches: list[int] = []

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        time.sleep(self.pause)
        self.batches.append(len(tokens))
        logits = np.zeros((len(tokens), 100), dtype=np.float32)
        for number, (new, length) in enumerate(zip(tokens, lengths, strict=True)):
            row = self.rows[first + number]
            row[:] = [*row[: length - len(new)], *new]
            assert len(row) == length
            if 13 in row:
                raise RuntimeError("the network broke")
            logits[number, sum(row) % 97] = 1.0
            if row[0] == 7:
                logits[number] = np.nan
        return logits

    def move(self, row: int, to: int, length: int) -> None:
        self.rows[to][:] = self.rows[row][:length]

    def rest(self) -> None:
        pass


def alone(prompt: list[int], most: int) -> list[int]:
    row = list(prompt)
    while len(row) < len(prompt) + most and (token := sum(row) % 97) != 0:
        row.append(token)
    return row[len(prompt) :]


def prompts(count: int) -> list[list[int]]:
    return [[n % 7 + 20] * (n % 9 + 1) + [n] for n in range(20, 20 + count)]


def test_everyone_gets_their_own_text() -> None:
    networks = [Counting(), Counting()]
    engine = Engine(networks, ends={0})
    asked = [(p, 5 + n % 11) for n, p in enumerate(prompts(60)) if 13 not in alone(p, 20)]
    with ThreadPoolExecutor(30) as pool:
        found = list(pool.map(lambda a: engine.write(GenerationRequest(a[0], GREEDY, 0, a[1])).written, asked))
    assert found == [alone(p, most) for p, most in asked]
    assert max(max(n.batches) for n in networks) > 1
    assert all(len(n.batches) > 5 for n in networks)


async def test_async_and_streams_are_the_same() -> None:
    engine = Engine([Counting()], ends={0})
    asked = [p for p in prompts(20) if 13 not in alone(p, 9)]

    async def stream(prompt: list[int]) -> list[int]:
        async with await engine.aopen(GenerationRequest(prompt, GREEDY, 0, 9)) as text:
            return [token async for token in text]

    expected = [alone(p, 9) for p in asked]
    written = await asyncio.gather(*(engine.awrite(GenerationRequest(p, GREEDY, 0, 9)) for p in asked))
    assert [text.written for text in written] == expected
    assert await asyncio.gather(*(stream(p) for p in asked)) == expected
    assert [list(engine.open(GenerationRequest(p, GREEDY, 0, 9))) for p in asked] == expected


def test_whoever_leaves_frees_the_place() -> None:
    network = Counting(max_batch=1, pause=0.005)
    engine = Engine([network], ends={99})
    with engine.open(GenerationRequest([1], GREEDY, 0, 10**6)) as endless:
        assert next(iter(endless)) == 1
    assert engine.write(GenerationRequest([5], GREEDY, 0, 2)).written == alone([5], 2)


async def test_a_cancelled_caller_frees_the_place() -> None:
    engine = Engine([Counting(max_batch=1, pause=0.005)], ends={99})
    task = asyncio.create_task(engine.awrite(GenerationRequest([1], GREEDY, 0, 10**6)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await asyncio.wait_for(engine.awrite(GenerationRequest([5], GREEDY, 0, 2)), 5)).written == alone([5], 2)


def test_a_network_that_breaks_tells_its_callers_and_goes_on() -> None:
    engine = Engine([Counting()], ends={0})
    with pytest.raises(BackendError, match="failed while it was writing: the network broke"):
        engine.write(GenerationRequest([13], GREEDY, 0, 5))
    assert engine.write(GenerationRequest([5], GREEDY, 0, 2)).written == alone([5], 2)


def test_one_text_that_fails_leaves_the_others_alone() -> None:
    engine = Engine([Counting(pause=0.001)], ends={0})
    with ThreadPoolExecutor(2) as pool:
        prompt = next(p for p in prompts(60) if 13 not in alone(p, 40))
        good = pool.submit(engine.write, GenerationRequest(prompt, GREEDY, 0, 40))
        with pytest.raises(BackendError, match="logits are not numbers"):
            list(engine.open(GenerationRequest([7], GREEDY, 0, 5)))
        assert good.result().written == alone(prompt, 40)


async def test_a_deadline_frees_the_place() -> None:
    engine = Engine([Counting(max_batch=1, pause=0.002)], ends={99})

    def late() -> GenerationRequest:
        return GenerationRequest([1], GREEDY, 0, 10**6, deadline=time.monotonic() + 0.05)

    with pytest.raises(BackendError, match=r"the time was up after \d+ of up to 1000000 tokens") as caught:
        engine.write(late())
    assert caught.value.retryable
    with pytest.raises(BackendError, match="the time was up"):
        await engine.awrite(late())
    assert (await engine.awrite(GenerationRequest([5], GREEDY, 0, 2))).written == alone([5], 2)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Counting(max_batch=4)
    network.room = 30
    engine = Engine([network], ends={99})
    with ThreadPoolExecutor(8) as pool:  # each may grow to 11 tokens, so that two fit
        list(pool.map(lambda n: engine.write(GenerationRequest([n], GREEDY, 0, 10)), range(20, 28)))
    assert max(network.batches) <= 2
    assert (
        len(engine.write(GenerationRequest([20] * 50, GREEDY, 0, 3)).written) == 3
    )  # more than there is room for: alone
    monkeypatch.setattr("taleward.backends.engine.engine.WAITING", 1)
    network.pause = 0.2
    with ThreadPoolExecutor(4) as pool, pytest.raises(BackendError, match="1 requests wait for this model already"):
        list(pool.map(lambda n: engine.write(GenerationRequest([n] * 20, GREEDY, 0, 3)), range(4)))


def test_threads_end_with_their_engine() -> None:
    engine = Engine([Counting()], ends={0})
    engine.write(GenerationRequest([5], GREEDY, 0, 2))
    threads = [t for t in threading.enumerate() if t._target == engine._line.work]  # type: ignore[attr-defined]
    assert len(threads) == 1
    del engine
    gc.collect()
    threads[0].join(5)
    assert not threads[0].is_alive()


def test_a_late_caller_joins_the_batch_at_work() -> None:
    network = Counting(pause=0.01)
    engine = Engine([network], ends={99})
    first = threading.Thread(target=lambda: engine.write(GenerationRequest([1], GREEDY, 0, 40)).written)
    first.start()
    time.sleep(0.1)
    begun = time.monotonic()
    engine.write(GenerationRequest([2], GREEDY, 0, 5))
    assert time.monotonic() - begun < 0.25
    first.join()
    assert 2 in network.batches


@pytest.fixture(scope="module")
def llama() -> Llama:
    return Llama(embedded_path("storyteller"), replicas=2, rows=5)


def test_a_text_does_not_depend_on_its_neighbours(llama: Llama) -> None:
    starts = ["Once", "There was a fox who lived near the sea and", "Tom ran. " * 30, "One day, a very small bird"]
    asked = [llama.prompt([{"role": "assistant", "content": starts[n % 4]}]) for n in range(24)]
    drawn = Sampling(temperature=0.8, top_p=0.9, repetition_penalty=1.1)
    by_itself = [llama.engine.write(GenerationRequest(p, drawn, n, 20 + n)).written for n, p in enumerate(asked)]
    with ThreadPoolExecutor(24) as pool:
        together = list(
            pool.map(lambda n: llama.engine.write(GenerationRequest(asked[n], drawn, n, 20 + n)).written, range(24))
        )
    assert together == by_itself


def test_many_answers_at_once(tmp_path: Path) -> None:
    model = chat_model("embedded:storyteller", max_tokens=20, seed=3)
    answers = model.batch(["Once upon a time"] * 12)
    assert len({a.text for a in answers}) == 1
    assert all(a.usage_metadata["output_tokens"] == 20 for a in answers)  # type: ignore[index]


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_tokens_are_drawn_as_often_as_they_are_likely(top_p: float, temperature: float) -> None:
    logits = np.random.default_rng(0).normal(size=1000).astype(np.float32) * 3
    chances = np.exp(logits.astype(float) / temperature)
    chances /= chances.sum()
    order = np.argsort(-chances)
    kept = order[: int(np.searchsorted(chances[order].cumsum(), top_p)) + 1]
    expected = np.zeros(1000)
    expected[kept] = chances[kept] / chances[kept].sum()
    sampler = Sampler(Sampling(temperature=temperature, top_p=top_p), 0, [])
    drawn = np.bincount([sampler.choose(logits, 1) for _ in range(4000)], minlength=1000) / 4000
    assert set(np.flatnonzero(drawn)) <= set(kept)
    assert np.abs(drawn - expected).max() < 0.04


def test_repetition_is_penalised() -> None:
    logits = np.array([2.0, 1.9, -1.0], dtype=np.float32)
    assert Sampler(GREEDY, 0, [0]).choose(logits, 1) == 0
    assert Sampler(Sampling(temperature=0, repetition_penalty=1.2), 0, [0]).choose(logits, 1) == 1
    twice = Sampler(Sampling(temperature=0, repetition_penalty=1.2), 0, [])
    assert [twice.choose(logits, 1), twice.choose(logits, 1)] == [0, 1]


@pytest.mark.parametrize("size", [1, 3])
def test_no_tokens_come_twice_in_a_row_as_in_transformers(llama: Llama, size: int) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    prompt = llama.prompt([{"role": "assistant", "content": "The fox ran and ran and"}])
    drawn = Sampling(temperature=0, no_repeat_ngram_size=size)
    ours = llama.engine.write(GenerationRequest(prompt, drawn, None, 60)).written
    theirs = AutoModelForCausalLM.from_pretrained(embedded_path("storyteller"), dtype=torch.float32).generate(
        torch.tensor([prompt]), do_sample=False, repetition_penalty=1.0, no_repeat_ngram_size=size, max_new_tokens=60
    )
    assert ours == theirs[0, len(prompt) :].tolist()

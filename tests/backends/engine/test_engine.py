"""Continuous batching: concurrent callers share a model, and each gets its own text."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from taleward.backends.base.shipped_models import embedded_path
from taleward.backends.chat_models import chat_model
from taleward.backends.engine.engine import Engine
from taleward.backends.engine.request import GenerationRequest
from taleward.backends.engine.sampling import Sampler, Sampling
from taleward.backends.onnx.llama import EmbeddedLlama
from taleward.core.errors import BackendError

GREEDY = Sampling(temperature=0)


class SummingBatch:
    """A fake network whose next token is the sum of a row's tokens, modulo 97; it records each row's tokens."""

    def __init__(self, max_batch: int = 4, pause: float = 0.0) -> None:
        self.max_batch, self.pause, self.token_capacity = max_batch, pause, 10**6
        self.rows: list[list[int]] = [[] for _ in range(max_batch)]
        self.batch_sizes: list[int] = []

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        time.sleep(self.pause)
        self.batch_sizes.append(len(tokens))
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

    def release(self) -> None:
        pass


def expected_tokens(prompt: list[int], max_tokens: int) -> list[int]:
    row = list(prompt)
    while len(row) < len(prompt) + max_tokens and (token := sum(row) % 97) != 0:
        row.append(token)
    return row[len(prompt) :]


def prompts(count: int) -> list[list[int]]:
    return [[n % 7 + 20] * (n % 9 + 1) + [n] for n in range(20, 20 + count)]


def test_each_caller_gets_its_own_text() -> None:
    networks = [SummingBatch(), SummingBatch()]
    engine = Engine(networks, eos_token_ids={0})
    requests = [(p, 5 + n % 11) for n, p in enumerate(prompts(60)) if 13 not in expected_tokens(p, 20)]
    with ThreadPoolExecutor(30) as pool:
        texts = list(pool.map(lambda r: engine.write(GenerationRequest(r[0], GREEDY, 0, r[1])).written, requests))
    assert texts == [expected_tokens(p, max_tokens) for p, max_tokens in requests]
    assert max(max(n.batch_sizes) for n in networks) > 1
    assert all(len(n.batch_sizes) > 5 for n in networks)


async def test_async_and_streaming_give_the_same_tokens() -> None:
    engine = Engine([SummingBatch()], eos_token_ids={0})
    inputs = [p for p in prompts(20) if 13 not in expected_tokens(p, 9)]

    async def stream(prompt: list[int]) -> list[int]:
        async with await engine.aopen(GenerationRequest(prompt, GREEDY, 0, 9)) as text:
            return [token async for token in text]

    expected = [expected_tokens(p, 9) for p in inputs]
    written = await asyncio.gather(*(engine.awrite(GenerationRequest(p, GREEDY, 0, 9)) for p in inputs))
    assert [text.written for text in written] == expected
    assert await asyncio.gather(*(stream(p) for p in inputs)) == expected
    assert [list(engine.open(GenerationRequest(p, GREEDY, 0, 9))) for p in inputs] == expected


def test_closing_a_stream_frees_its_row() -> None:
    network = SummingBatch(max_batch=1, pause=0.005)
    engine = Engine([network], eos_token_ids={99})
    with engine.open(GenerationRequest([1], GREEDY, 0, 10**6)) as endless:
        assert next(iter(endless)) == 1
    assert engine.write(GenerationRequest([5], GREEDY, 0, 2)).written == expected_tokens([5], 2)


async def test_canceling_a_caller_frees_its_row() -> None:
    engine = Engine([SummingBatch(max_batch=1, pause=0.005)], eos_token_ids={99})
    task = asyncio.create_task(engine.awrite(GenerationRequest([1], GREEDY, 0, 10**6)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await asyncio.wait_for(engine.awrite(GenerationRequest([5], GREEDY, 0, 2)), 5)).written == expected_tokens(
        [5], 2
    )


def test_callers_get_the_error_of_a_failing_network_and_the_engine_survives() -> None:
    engine = Engine([SummingBatch()], eos_token_ids={0})
    with pytest.raises(BackendError, match="generation failed: the network broke"):
        engine.write(GenerationRequest([13], GREEDY, 0, 5))
    assert engine.write(GenerationRequest([5], GREEDY, 0, 2)).written == expected_tokens([5], 2)


def test_one_failing_sequence_leaves_the_others_alone() -> None:
    engine = Engine([SummingBatch(pause=0.001)], eos_token_ids={0})
    with ThreadPoolExecutor(2) as pool:
        prompt = next(p for p in prompts(60) if 13 not in expected_tokens(p, 40))
        good = pool.submit(engine.write, GenerationRequest(prompt, GREEDY, 0, 40))
        with pytest.raises(BackendError, match="logits are not finite numbers"):
            list(engine.open(GenerationRequest([7], GREEDY, 0, 5)))
        assert good.result().written == expected_tokens(prompt, 40)


async def test_a_deadline_frees_its_row() -> None:
    engine = Engine([SummingBatch(max_batch=1, pause=0.002)], eos_token_ids={99})

    def with_deadline() -> GenerationRequest:
        return GenerationRequest([1], GREEDY, 0, 10**6, deadline=time.monotonic() + 0.05)

    with pytest.raises(BackendError, match=r"deadline exceeded after \d+ of up to 1000000 tokens") as caught:
        engine.write(with_deadline())
    assert caught.value.retryable
    with pytest.raises(BackendError, match="deadline exceeded"):
        await engine.awrite(with_deadline())
    assert (await engine.awrite(GenerationRequest([5], GREEDY, 0, 2))).written == expected_tokens([5], 2)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SummingBatch(max_batch=4)
    network.token_capacity = 30
    engine = Engine([network], eos_token_ids={99})
    with ThreadPoolExecutor(8) as pool:  # each may grow to 11 tokens, so that two fit
        list(pool.map(lambda n: engine.write(GenerationRequest([n], GREEDY, 0, 10)), range(20, 28)))
    assert max(network.batch_sizes) <= 2
    over_capacity = engine.write(GenerationRequest([20] * 50, GREEDY, 0, 3))  # runs alone
    assert len(over_capacity.written) == 3
    monkeypatch.setattr("taleward.backends.engine.engine.MAX_WAITING", 1)
    network.pause = 0.2
    with (
        ThreadPoolExecutor(4) as pool,
        pytest.raises(BackendError, match="queue for this model is full: 1 requests are waiting"),
    ):
        list(pool.map(lambda n: engine.write(GenerationRequest([n] * 20, GREEDY, 0, 3)), range(4)))


def test_threads_end_when_the_engine_is_collected() -> None:
    engine = Engine([SummingBatch()], eos_token_ids={0})
    engine.write(GenerationRequest([5], GREEDY, 0, 2))
    threads = [t for t in threading.enumerate() if t._target == engine._scheduler.run_replica]  # type: ignore[attr-defined]
    assert len(threads) == 1
    del engine
    gc.collect()
    threads[0].join(5)
    assert not threads[0].is_alive()


def test_a_late_request_joins_the_running_batch() -> None:
    network = SummingBatch(pause=0.01)
    engine = Engine([network], eos_token_ids={99})
    first = threading.Thread(target=lambda: engine.write(GenerationRequest([1], GREEDY, 0, 40)).written)
    first.start()
    time.sleep(0.1)
    start = time.monotonic()
    engine.write(GenerationRequest([2], GREEDY, 0, 5))
    assert time.monotonic() - start < 0.25
    first.join()
    assert 2 in network.batch_sizes


@pytest.fixture(scope="module")
def llama() -> EmbeddedLlama:
    return EmbeddedLlama(embedded_path("storyteller-mini"), replicas=2, rows=5)


def test_a_text_does_not_depend_on_its_batch(llama: EmbeddedLlama) -> None:
    starts = ["Once", "There was a fox who lived near the sea and", "Tom ran. " * 30, "One day, a very small bird"]
    inputs = [llama.prompt([{"role": "assistant", "content": starts[n % 4]}]) for n in range(24)]
    sampling = Sampling(temperature=0.8, top_p=0.9, repetition_penalty=1.1)
    requests = [GenerationRequest(p, sampling, n, 20 + n) for n, p in enumerate(inputs)]
    alone = [llama.engine.write(request).written for request in requests]
    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(lambda request: llama.engine.write(request).written, requests))
    assert together == alone


def test_a_batch_of_equal_requests() -> None:
    model = chat_model("embedded:storyteller-mini", max_tokens=20, seed=3)
    answers = model.batch(["Once upon a time"] * 12)
    assert len({a.text for a in answers}) == 1
    assert all(a.usage_metadata["output_tokens"] == 20 for a in answers)  # type: ignore[index]


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_tokens_are_sampled_as_often_as_they_are_likely(top_p: float, temperature: float) -> None:
    logits = np.random.default_rng(0).normal(size=1000).astype(np.float32) * 3
    probabilities = np.exp(logits.astype(float) / temperature)
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities)
    nucleus = order[: int(np.searchsorted(probabilities[order].cumsum(), top_p)) + 1]
    expected = np.zeros(1000)
    expected[nucleus] = probabilities[nucleus] / probabilities[nucleus].sum()
    sampler = Sampler(Sampling(temperature=temperature, top_p=top_p), 0, [])
    frequencies = np.bincount([sampler.choose(logits, 1) for _ in range(4000)], minlength=1000) / 4000
    assert set(np.flatnonzero(frequencies)) <= set(nucleus)
    assert np.abs(frequencies - expected).max() < 0.04


def test_repetition_penalty() -> None:
    logits = np.array([2.0, 1.9, -1.0], dtype=np.float32)
    assert Sampler(GREEDY, 0, [0]).choose(logits, 1) == 0
    assert Sampler(Sampling(temperature=0, repetition_penalty=1.2), 0, [0]).choose(logits, 1) == 1
    sampler = Sampler(Sampling(temperature=0, repetition_penalty=1.2), 0, [])
    assert [sampler.choose(logits, 1), sampler.choose(logits, 1)] == [0, 1]


@pytest.mark.parametrize("size", [1, 3])
def test_no_repeat_ngram_size_matches_transformers(llama: EmbeddedLlama, size: int) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    prompt = llama.prompt([{"role": "assistant", "content": "The fox ran and ran and"}])
    sampling = Sampling(temperature=0, no_repeat_ngram_size=size)
    ours = llama.engine.write(GenerationRequest(prompt, sampling, None, 60)).written
    theirs = AutoModelForCausalLM.from_pretrained(embedded_path("storyteller-mini"), dtype=torch.float32).generate(
        torch.tensor([prompt]), do_sample=False, repetition_penalty=1.0, no_repeat_ngram_size=size, max_new_tokens=60
    )
    assert ours == theirs[0, len(prompt) :].tolist()

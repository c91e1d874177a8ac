"""The local backend against langchain-huggingface on the same weights, the embedded storyteller's.

The peer is installed apart: `pip install langchain-huggingface`. All sample 128 tokens after one prompt.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.table import Row, run
from taleward.backends.chat import chat_model
from taleward.backends.embedded import embedded_path

PROMPT = "Once upon a time, there was a little girl named Lily who lived in a house by the sea. One day, she"
TOKENS = 128


def pipeline() -> Any:
    """HuggingFacePipeline as its documentation makes it."""
    from langchain_huggingface import HuggingFacePipeline

    folder = str(embedded_path("storyteller"))
    settings = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": True, "return_full_text": False}
    return HuggingFacePipeline.from_model_id(folder, task="text-generation", pipeline_kwargs=settings)


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median of several runs, after one that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def measure(quick: bool) -> Iterator[Row]:
    """All rows, in tokens a second."""
    repeats = 2 if quick else 5
    # The end token is as likely as any other while the peer may not end early: both write all 128.
    model, peer = chat_model("embedded:storyteller", max_tokens=TOKENS), pipeline()

    def tokens(answers: list[Any]) -> int:
        return sum(a.usage_metadata["output_tokens"] for a in answers)

    def rate(call: Callable[[], list[Any]]) -> float:
        counts: list[int] = []

        def work() -> None:
            counts.append(tokens(call()))

        taken = seconds(work, repeats)
        return statistics.mean(counts[1:]) / taken

    async def together(count: int) -> list[Any]:
        return list(await asyncio.gather(*(model.ainvoke(PROMPT) for _ in range(count))))

    one = rate(lambda: [model.invoke(PROMPT)])
    theirs = TOKENS / seconds(lambda: peer.invoke(PROMPT), repeats)
    batch = rate(lambda: model.batch([PROMPT] * 32))
    gathered = rate(lambda: asyncio.run(together(32)))
    theirs_batch = 32 * TOKENS / seconds(lambda: peer.batch([PROMPT] * 32), 1 if quick else 3)
    name = "HuggingFacePipeline.invoke"
    unit = "tokens a second"
    yield Row("one call", unit, one, theirs, name, one / theirs, ">= 6 times", one >= 6 * theirs)
    yield Row("32 at once, batch", unit, batch, theirs, name, batch / theirs, ">= 30 times", batch >= 30 * theirs)
    yield Row("32 at once, batch", unit, batch, theirs_batch, "HuggingFacePipeline.batch", batch / theirs_batch)
    yield Row(
        "32 at once, ainvoke", unit, gathered, batch, "our batch", gathered / batch, ">= 0.85", gathered >= 0.85 * batch
    )


if __name__ == "__main__":
    run("backends", measure)

"""Metrics: the same numbers as the libraries that define them, and their speed; then evaluation runs.

`python -m benchmarks.evaluation`, with `OMP_NUM_THREADS=1`; needs `pip install -e '.[all]' rouge-score`. Texts for
ROUGE and BLEU are random words with the frequencies of a language; those for perplexity are the shipped stories.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from benchmarks import evaluation_runs
from benchmarks.backends import seconds
from benchmarks.table import Row, run

T = TypeVar("T")
_WORDS = 200
_VOCABULARY = 600


def texts(count: int, seed: int) -> list[str]:
    """Texts of 200 words in sentences; word k comes with a frequency of 1 / (k + 1), as Zipf's law has it."""
    draw = random.Random(seed)
    words, weights = [f"word{k}" for k in range(_VOCABULARY)], [1 / (k + 1) for k in range(_VOCABULARY)]
    made = []
    for _ in range(count):
        drawn = draw.choices(words, weights, k=_WORDS)
        made.append("\n".join(" ".join(drawn[at : at + 10]) + "." for at in range(0, _WORDS, 10)))
    return made


def overlap(quick: bool) -> Iterator[Row]:
    """ROUGE and BLEU."""
    import sacrebleu

    from taleward.evaluation.sample import as_samples

    count = 200 if quick else 2_000
    outputs, references = texts(count, 1), texts(count, 2)
    pairs = list(zip(outputs, references, strict=True))
    samples = as_samples([{"output": o, "references": r} for o, r in pairs])
    largest, ours_s, theirs_s = 0.0, 0.0, 0.0
    for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        ours, mine = timed(partial(_ours, kind, samples))
        theirs, other = timed(partial(_theirs, kind, pairs))
        ours_s, theirs_s = ours_s + mine, theirs_s + other
        largest = max([largest, *(abs(float(a) - b) for a, b in zip(ours, theirs, strict=True))])
        yield Row(f"{kind} of {count:,} pairs", "s", mine, other, "rouge-score", other / mine)
    yield Row(
        "all four", "s", ours_s, theirs_s, "rouge-score", theirs_s / ours_s, ">= 10 times", theirs_s >= 10 * ours_s
    )
    yield Row("largest difference of a score", "", largest, None, "rouge-score", None, "<= 1e-9", largest <= 1e-9)
    score, mine = timed(lambda: _corpus("bleu", samples))
    peer, other = timed(lambda: sacrebleu.corpus_bleu(outputs, [references]).score)
    same = abs(score - peer) <= 1e-9
    yield Row(f"BLEU of {count:,} pairs", "0-100", score, peer, "sacrebleu", None, "the same", same)
    yield Row("its time", "s", mine, other, "sacrebleu", other / mine)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and its seconds."""
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


def _ours(kind: str, samples: Any) -> Any:
    from taleward.evaluation.metrics import metric
    from taleward.evaluation.metrics.base import MeanMetric

    found = metric(kind)
    if not isinstance(found, MeanMetric):
        raise TypeError(type(found))
    return found.numbers(samples)


def _corpus(kind: str, samples: Any) -> float:
    from taleward.evaluation.metrics import metric

    found = metric(kind)
    return float(found.value(found.statistics(samples).sum(axis=0)))


def _theirs(kind: str, pairs: list[tuple[str, str]]) -> list[float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind])
    return [scorer.score(reference, output)[kind].fmeasure for output, reference in pairs]


def perplexity(quick: bool) -> Iterator[Row]:
    """The embedded storyteller's perplexity of stories, batched, and one at a time with transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    from taleward.backends.base.embedded import embedded_path
    from taleward.backends.chat_models import chat_model
    from taleward.evaluation.datasets import load_dataset

    stories = [text for sample in load_dataset("stories") for text in sample.references]
    stories = stories[:40] if quick else stories
    ours: Any = chat_model("embedded:storyteller")
    plain: Any = AutoModelForCausalLM.from_pretrained(embedded_path("storyteller"), dtype=torch.float32).eval()

    def one_by_one() -> tuple[float, int]:
        total, tokens = 0.0, 0
        with torch.inference_mode():
            for text in stories:
                ids = torch.tensor([[plain.config.bos_token_id, *ours._loaded.encode(text)]])
                scores = torch.log_softmax(plain(ids).logits[0, :-1], -1).gather(1, ids[0, 1:, None])
                total, tokens = total + scores.double().sum().item(), tokens + len(scores)
        return total, tokens

    found = ours.likelihood(stories)
    tokens = sum(len(f.logprobs) for f in found)
    mine = math.exp(-sum(float(f.logprobs.sum()) for f in found) / tokens)
    total, counted = one_by_one()
    theirs = math.exp(-total / counted)
    name = "transformers, one text at a time"
    same = counted == tokens and abs(mine - theirs) <= 1e-4 * theirs
    yield Row(f"perplexity of {len(stories)} stories", "", mine, theirs, name, None, "the same to 1e-4", same)
    speed, other = (tokens / took for took in seconds(lambda: ours.likelihood(stories), one_by_one, repeats=3))
    yield Row("its speed", "tokens/s", speed, other, name, speed / other, ">= 4 times", speed >= 4 * other)


def measure(quick: bool) -> Iterator[Row]:
    """All rows."""
    yield from overlap(quick)
    yield from perplexity(quick)
    yield from evaluation_runs.measure(quick)


if __name__ == "__main__":
    run("evaluation", measure)

"""Metrics: equality with the libraries that define them, and speed; then evaluation runs.

`OMP_NUM_THREADS=1 python -m benchmarks.evaluation`; needs `pip install -e '.[all]' rouge-score`. ROUGE and BLEU are
measured on random words with the frequencies of a natural language, perplexity on the stories that ship with Taleward.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from benchmarks import evaluation_runs
from benchmarks.backends import median_seconds
from benchmarks.table import Row, Size, is_installed, pick, run

T = TypeVar("T")
_WORDS_PER_TEXT = 200
_VOCABULARY_SIZE = 600


def random_texts(count: int, seed: int) -> list[str]:
    """Return texts of 200 words in sentences; word k has the frequency 1 / (k + 1), as in Zipf's law."""
    rng = random.Random(seed)
    vocabulary = [f"word{k}" for k in range(_VOCABULARY_SIZE)]
    weights = [1 / (k + 1) for k in range(_VOCABULARY_SIZE)]
    texts = []
    for _ in range(count):
        words = rng.choices(vocabulary, weights, k=_WORDS_PER_TEXT)
        texts.append("\n".join(" ".join(words[at : at + 10]) + "." for at in range(0, _WORDS_PER_TEXT, 10)))
    return texts


def overlap(size: Size) -> Iterator[Row]:
    """ROUGE and BLEU."""
    import sacrebleu

    from taleward.evaluation.sample import as_samples

    count = pick(size, full=2_000, quick=200, smoke=2)
    outputs, references = random_texts(count, 1), random_texts(count, 2)
    samples = as_samples([{"output": o, "references": r} for o, r in zip(outputs, references, strict=True)])
    if is_installed("rouge_score", "rouge-score"):
        yield from _rouge(samples, outputs, references)
    ours, ours_s = _timed(lambda: _corpus_score("bleu", samples))
    peer, peer_s = _timed(lambda: sacrebleu.corpus_bleu(outputs, [references]).score)
    is_equal = abs(ours - peer) <= 1e-9
    yield Row(f"BLEU of {count:,} pairs", "0-100", ours, peer, "sacrebleu", None, "equal", is_equal)
    yield Row("its time", "s", ours_s, peer_s, "sacrebleu", peer_s / ours_s)


def _rouge(samples: Any, outputs: list[str], references: list[str]) -> Iterator[Row]:
    total_s = peer_total_s = largest_difference = 0.0
    for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        ours, ours_s = _timed(partial(_sample_scores, kind, samples))
        peer, peer_s = _timed(partial(_peer_scores, kind, outputs, references))
        total_s, peer_total_s = total_s + ours_s, peer_total_s + peer_s
        differences = (abs(float(a) - b) for a, b in zip(ours, peer, strict=True))
        largest_difference = max(largest_difference, *differences)
        yield Row(f"{kind} of {len(outputs):,} pairs", "s", ours_s, peer_s, "rouge-score", peer_s / ours_s)
    ratio, goal = peer_total_s / total_s, ">= 10 times"
    yield Row("all four", "s", total_s, peer_total_s, "rouge-score", ratio, goal, ratio >= 10)
    goal, met = "<= 1e-9", largest_difference <= 1e-9
    yield Row("largest difference of a score", "", largest_difference, None, "rouge-score", None, goal, met)


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return the result of a call, and its duration in seconds."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def _sample_scores(kind: str, samples: Any) -> Any:
    from taleward.evaluation.metrics import metric
    from taleward.evaluation.metrics.base import MeanMetric

    mean_metric = metric(kind)
    if not isinstance(mean_metric, MeanMetric):
        raise TypeError(type(mean_metric))
    return mean_metric.numbers(samples)


def _corpus_score(kind: str, samples: Any) -> float:
    from taleward.evaluation.metrics import metric

    corpus_metric = metric(kind)
    return float(corpus_metric.value(corpus_metric.statistics(samples).sum(axis=0)))


def _peer_scores(kind: str, outputs: list[str], references: list[str]) -> list[float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind])
    return [scorer.score(r, o)[kind].fmeasure for o, r in zip(outputs, references, strict=True)]


def perplexity(size: Size) -> Iterator[Row]:
    """The small storyteller's perplexity of stories: batched, and one at a time with transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    from taleward.backends.base.shipped_models import embedded_path
    from taleward.backends.chat_models import chat_model
    from taleward.evaluation.datasets import load_dataset

    stories = [text for sample in load_dataset("stories") for text in sample.references]
    stories = stories[: pick(size, full=None, quick=40, smoke=2)]
    model: Any = chat_model("embedded:storyteller-mini")
    reference: Any = AutoModelForCausalLM.from_pretrained(embedded_path("storyteller-mini"), dtype=torch.float32).eval()

    def one_by_one() -> tuple[float, int]:
        total, token_count = 0.0, 0
        with torch.inference_mode():
            for text in stories:
                ids = torch.tensor([[reference.config.bos_token_id, *model._loaded.encode(text)]])
                logprobs = torch.log_softmax(reference(ids).logits[0, :-1], -1).gather(1, ids[0, 1:, None])
                total, token_count = total + logprobs.double().sum().item(), token_count + len(logprobs)
        return total, token_count

    scores = model.likelihood(stories)
    token_count = sum(len(s.logprobs) for s in scores)
    ours = math.exp(-sum(float(s.logprobs.sum()) for s in scores) / token_count)
    peer_total, peer_token_count = one_by_one()
    peer = math.exp(-peer_total / peer_token_count)
    name = "transformers, one text at a time"
    is_equal = peer_token_count == token_count and abs(ours - peer) <= 1e-4 * peer
    yield Row(f"perplexity of {len(stories)} stories", "", ours, peer, name, None, "equal to 1e-4", is_equal)
    repeats = pick(size, full=3, quick=3, smoke=1)
    durations = median_seconds(lambda: model.likelihood(stories), one_by_one, repeats=repeats)
    ours, peer = (token_count / duration_s for duration_s in durations)
    yield Row("its speed", "tokens/s", ours, peer, name, ours / peer, ">= 4 times", ours >= 4 * peer)


def measure(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    yield from overlap(size)
    yield from perplexity(size)
    yield from evaluation_runs.measure(size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    return run("evaluation", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())

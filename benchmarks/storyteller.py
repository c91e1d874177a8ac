"""The embedded storyteller against stories260K: `python -m benchmarks.storyteller --data DIR`.

`--data` is the corpus that `training.storyteller_mini.train` describes. `--peer stories260K.bin --peer-tokenizer tok512.bin`
is llama2.c's model of 260,032 parameters (`karpathy/tinyllamas`, MIT); without it, the peer's column is empty.
`training.storyteller_mini.measure` measures the figures, which are also in the model's card.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import Row, Size, pick, run
from taleward.backends.base.shipped_models import embedded_path

_PEER = "stories260K"


def measure(size: Size, data: Path, peer: Path | None, peer_tokenizer: Path | None) -> Iterator[Row]:
    """Yield all rows."""
    from training.storyteller_mini import measure as report

    # `--quick` changes nothing: the goals are for this many requests.
    requests = pick(size, full=report.REQUESTS, quick=report.REQUESTS, smoke=1)
    figures = report.measure(data, embedded_path("storyteller"), peer, peer_tokenizer, requests=requests)
    yield from _likelihood_rows(figures)
    yield from _story_rows(figures)


def _likelihood_rows(figures: dict[str, Any]) -> Iterator[Row]:
    peer_bits = figures.get("peer_bits_per_char", {})
    for source, ours in figures["bits_per_char"].items():
        peer = peer_bits.get(source)
        ratio = peer / ours if peer else None
        goal, met = "", True
        if source == "tinystories":
            goal, met = "<= 0.9 of the peer", peer is None or ours <= 0.9 * peer
        metric = f"bits per character, {figures['held_out'][source]} held-out {source}"
        yield Row(metric, "bits", ours, peer, _PEER if peer else "", ratio, goal, met)


def _story_rows(figures: dict[str, Any]) -> Iterator[Row]:
    ended, words, best_coverage = figures["ended"], figures["words"], figures["mentioned_best"]
    longest_copy = figures["longest_copy"]["max"]
    yield Row("stories that end by themselves", "share", ended, goal=">= 0.9", met=ended >= 0.9)
    yield Row("words per story", "words", words, goal="150 to 400", met=150 <= words <= 400)
    yield Row("values mentioned", "share", figures["mentioned"])
    yield Row("values mentioned, best of 4", "share", best_coverage, goal=">= 0.8", met=best_coverage >= 0.8)
    yield Row("all six values mentioned, best of 4", "share", figures["all_mentioned_best"])
    yield Row("passed by the embedded judge", "share", figures["passed"])
    yield Row("Automated Readability Index, median", "grade", figures["reading_index"])
    yield Row("longest run of copied words", "words", longest_copy, goal="<= 30", met=longest_copy <= 30)
    repetition, peer_repetition = figures["repetition"], figures["repetition_of_stories"]
    goal, met = "<= 1.5 times", repetition <= 1.5 * peer_repetition
    name = "as many training stories"
    yield Row("repeated 4-grams", "share", repetition, peer_repetition, name, None, goal, met)
    yield Row("distinct 2-grams", "share", figures["distinct"], figures["distinct_of_stories"], name)
    yield Row("self-BLEU", "0-100", figures["self_bleu"], figures["self_bleu_of_stories"], name)
    yield Row("speed, 32 at once", "tokens/s", figures["tokens_per_second"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data", type=Path, required=True, help="folder with the corpus")
    parser.add_argument("--peer", type=Path, help="stories260K.bin")
    parser.add_argument("--peer-tokenizer", type=Path, help="tok512.bin")
    options, _ = parser.parse_known_args(arguments)
    return run(
        "storyteller",
        lambda size: measure(size, options.data, options.peer, options.peer_tokenizer),
        arguments,
        parser,
    )


if __name__ == "__main__":
    sys.exit(main())

"""The embedded storyteller: what it predicts beside stories260K, and what its stories are like.

`python -m benchmarks.storyteller --data DIR --peer stories260K.bin --peer-tokenizer tok512.bin`: the corpus that
`training.storyteller.train` names, and llama2.c's model of 260,032 parameters (`karpathy/tinyllamas`, MIT). Without
the peer its column is empty. `training.storyteller.report` measures the figures, which the card holds too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.table import Row, run
from taleward.backends.base.embedded import embedded_path

_PEER = "stories260K"


def rows(figures: dict[str, Any]) -> Iterator[Row]:
    """The figures of the report against the goals."""
    theirs = figures.get("peer_bits_per_char", {})
    for source, ours in figures["bits_per_char"].items():
        peer = theirs.get(source)
        goal, met = (
            ("<= 0.9 of the peer", peer is None or ours <= 0.9 * peer) if source == "tinystories" else ("", True)
        )
        name = f"bits a character, {figures['held_out'][source]} held-out {source}"
        yield Row(name, "bits", ours, peer, _PEER if peer else "", peer / ours if peer else None, goal, met)
    own = figures["repetition_of_stories"]
    copied, repeated = figures["longest_copy"]["max"], figures["repetition"]
    for name, unit, value, goal, met in (
        ("stories that end by themselves", "share", figures["ended"], ">= 0.9", figures["ended"] >= 0.9),
        ("words a story", "words", figures["words"], "150 to 400", 150 <= figures["words"] <= 400),
        ("values spoken of", "share", figures["mentioned"], "", True),
        ("values spoken of, best of 4", "share", figures["mentioned_best"], ">= 0.8", figures["mentioned_best"] >= 0.8),
        ("speaks of all six, best of 4", "share", figures["all_mentioned_best"], "", True),
        ("passed by the embedded judge", "share", figures["passed"], "", True),
        ("Automated Readability Index, median", "grade", figures["reading_index"], "", True),
        ("longest run of words copied", "words", copied, "<= 30", copied <= 30),
    ):
        yield Row(name, unit, value, None, "", None, goal, met)
    for name, unit, value, peer, goal, met in (
        ("4-grams repeated", "share", repeated, own, "<= 1.5 times", repeated <= 1.5 * own),
        ("distinct 2-grams", "share", figures["distinct"], figures["distinct_of_stories"], "", True),
        ("self-BLEU", "0-100", figures["self_bleu"], figures["self_bleu_of_stories"], "", True),
    ):
        yield Row(name, unit, value, peer, "as many training stories", None, goal, met)
    yield Row("speed, 32 at once", "tokens/s", figures["tokens_per_second"])


def measure(given: argparse.Namespace) -> Iterator[Row]:
    """All rows."""
    from training.storyteller.report import measure as report

    yield from rows(report(given.data, embedded_path("storyteller"), given.peer, given.peer_tokenizer))


if __name__ == "__main__":
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--data", type=Path, required=True, help="folder with the corpus")
    options.add_argument("--peer", type=Path, help="stories260K.bin")
    options.add_argument("--peer-tokenizer", type=Path, help="tok512.bin")
    chosen, _ = options.parse_known_args()
    run("storyteller", lambda _quick: measure(chosen), options)

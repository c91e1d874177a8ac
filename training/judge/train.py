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

The frames of `templates.yaml` and `frames/` and the stories of `stories.jsonl` are added. The windows of
`labeled_windows.csv` and the passages of `passages.csv` were labeled by hand. The same data, seed and PyTorch version
give the same weights on the same kind of processor.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save
from scipy.optimize import minimize_scalar

from taleward.backends.onnx.minilm import SHA256, MiniLM
from taleward.core.policy import SEVERITIES
from taleward.moderation.judges.embedded.head import TextAggregation
from taleward.moderation.policies.load import load_policy
from taleward.moderation.text.normalize import undisguise
from training.judge.fine_tune_encoder import fine_tune
from training.judge.labeled_windows import CATEGORIES, WINDOW, Example, Split
from training.judge.training_set import calm_documents, load_examples

Floats = npt.NDArray[np.float32]
OUTPUTS = len(CATEGORIES) * 3
_HIDDEN = 128
_EPOCHS = 12
_ENCODER_EPOCHS = 2
_BAND = "6-8"
# Share of calm documents that may fail: the false-alarm rate that the judge is calibrated to.
_CALM_FAILURE_SHARE = 0.05
# How the windows of a text are combined; see `TextAggregation`.
_TEMPERATURE = 0.7
_DREAD = 1.2
_DREAD_WINDOWS = 4.0
_CALM_DOCUMENTS = 800
_ENSEMBLE_SIZE = 3


@dataclass(slots=True)
class LabelTable:
    """Examples as arrays.

    Attributes:
        vectors: The encoder's vectors, shape (n, 384), or (n, 0) if they are not needed.
        labels: Labels, shape (n, 33), with NaN for unknown ones.
        weights: Weights in the loss, shape (n,).
        sources: The data set of each example, shape (n,).
    """

    vectors: Floats
    labels: Floats
    weights: Floats
    sources: npt.NDArray[Any]


def table_of_split(examples: Sequence[Example], vectors: Floats, split: Split) -> LabelTable:
    """Return the examples of a split as a table; `vectors` has a row for each of all examples."""
    rows = [i for i, e in enumerate(examples) if e.split == split]
    labels = [[np.nan if v is None else v for row in examples[i].labels for v in row] for i in rows]
    return LabelTable(
        vectors[rows],
        np.array(labels, dtype=np.float32),
        np.array([examples[i].weight for i in rows], dtype=np.float32),
        np.array([examples[i].source for i in rows]),
    )


def fit_head(train: LabelTable, valid: LabelTable, seed: int) -> dict[str, Floats]:
    """Train a perceptron and return the weights of the epoch with the lowest validation loss."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(384, _HIDDEN), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(_HIDDEN, OUTPUTS)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, weight_decay=0.2)
    generator = torch.Generator().manual_seed(seed)

    def loss(table: LabelTable, rows: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        labels = torch.from_numpy(table.labels)[rows]
        known = ~labels.isnan()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            model(vectors), labels.nan_to_num(), reduction="none"
        )
        weights = known * torch.from_numpy(table.weights)[rows, None]
        return (losses * weights).sum() / weights.sum().clamp(min=1.0)

    best_loss, best_weights = float("inf"), {k: v.clone() for k, v in model.state_dict().items()}
    x, x_valid = (torch.from_numpy(t.vectors * np.float32(384**0.5)) for t in (train, valid))
    for epoch in range(_EPOCHS):
        model.train()
        for rows in torch.randperm(len(x), generator=generator).split(256):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            noise = torch.randn(len(rows), 384, generator=generator) * 0.15
            loss(train, rows, x[rows] + noise).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        with torch.no_grad():
            valid_loss = loss(valid, torch.arange(len(x_valid)), x_valid).item()
        if valid_loss < best_loss:
            best_loss, best_weights = valid_loss, {k: v.clone() for k, v in model.state_dict().items()}
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: validation loss {valid_loss:.4f}, best {best_loss:.4f}")
    return {
        "w1": (best_weights["0.weight"].T * 384**0.5).contiguous().numpy(),
        "b1": best_weights["0.bias"].numpy(),
        "w2": best_weights["3.weight"].T.contiguous().numpy(),
        "b2": best_weights["3.bias"].numpy(),
    }


def average_heads(members: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Combine perceptrons into a single one whose output is the mean of theirs."""
    return {
        "w1": np.concatenate([m["w1"] for m in members], axis=1),
        "b1": np.concatenate([m["b1"] for m in members]),
        "w2": (np.concatenate([m["w2"] for m in members]) / len(members)).astype(np.float32),
        "b2": np.mean([m["b2"] for m in members], axis=0, dtype=np.float32),
    }


def calibrate(weights: dict[str, Floats], valid: LabelTable, calm: Sequence[Floats]) -> TextAggregation:
    """Calibrate the head's outputs.

    First, temperature scaling on the validation split (Guo et al. 2017). Then the log-odds of all categories are
    shifted so that a share of `_CALM_FAILURE_SHARE` of the calm documents fails in the band 6-8.

    Args:
        weights: The weights of the head; `scale` is added to them.
        valid: The validation split.
        calm: Vectors of the windows of each calm document, shape (windows, 384).

    Returns:
        How the log-odds of a text's windows are combined.
    """
    scale = weights["scale"] = np.array([_temperature(_logits(weights, valid.vectors), valid.labels)], dtype=np.float32)
    logits = _logits(weights, np.concatenate(list(calm)))
    # A text can be at least severe only if it is at least moderate.
    log_odds = np.minimum.accumulate((logits * scale).reshape(len(logits), len(CATEGORIES), 3), axis=2)
    dread = CATEGORIES.index("frightening")
    usual = [float(value) for value in log_odds[:, dread].mean(axis=0)]
    aggregation = TextAggregation(
        temperature=_TEMPERATURE, offset=0.0, dread=_DREAD, dread_windows=_DREAD_WINDOWS,
        dread_usual=(usual[0], usual[1], usual[2]),
    )  # fmt: skip
    policy = load_policy("kids")
    levels = [SEVERITIES.index(policy.tolerance(c, _BAND)) for c in CATEGORIES]
    thresholds = np.array([policy.threshold(c, _BAND) for c in CATEGORIES])
    excess = log_odds[:, np.arange(len(CATEGORIES)), levels] - np.log(thresholds / (1 - thresholds))
    document_excess = []
    for document in np.split(np.arange(len(log_odds)), np.cumsum([len(c) for c in calm[:-1]])):
        windows = excess[document]
        windows[:, dread] += aggregation.dread_buildup(log_odds[document, dread, levels[dread]], levels[dread])
        document_excess.append(aggregation.combined_log_odds(windows))
    return aggregation.model_copy(update={"offset": -float(np.quantile(document_excess, 1 - _CALM_FAILURE_SHARE))})


def _logits(weights: dict[str, Floats], vectors: Floats) -> Floats:
    hidden = np.maximum(vectors @ weights["w1"] + weights["b1"], 0.0)
    logits: Floats = hidden @ weights["w2"] + weights["b2"]
    return logits


def _temperature(logits: Floats, labels: Floats) -> float:
    """Return the factor of the logits with the lowest log loss on the known labels."""
    known = ~np.isnan(labels)
    margin = np.where(labels[known] == 1, 1.0, -1.0) * logits[known]
    return float(minimize_scalar(lambda factor: float(np.logaddexp(0, -factor * margin).mean()), bounds=(0.2, 5.0)).x)


def _load_or_train_encoder(examples: Sequence[Example], path: Path | None, work: Path, seed: int) -> dict[str, Any]:
    """Return the weights of the encoder's trained layers."""
    if path is not None:
        return dict(load_file(path))
    no_vectors = np.zeros((len(examples), 0), dtype=np.float32)
    train, valid = (table_of_split(examples, no_vectors, s) for s in ("train", "valid"))
    train_rows, valid_rows = ([i for i, e in enumerate(examples) if e.split == s] for s in ("train", "valid"))
    return fine_tune(
        [e.text for e in examples], train, valid, (train_rows, valid_rows), epochs=_ENCODER_EPOCHS, seed=seed, work=work
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, calibrate and write `encoder.safetensors`, `head.safetensors` and `config.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--top", type=Path, default=None, help="file of trained encoder layers to use instead of training them"
    )
    parser.add_argument("--work", type=Path, default=None, help="folder for checkpoints (default: OUT-work)")
    options = parser.parse_args(arguments)
    work = options.work or options.out.with_name(f"{options.out.name}-work")
    examples = load_examples(options.data, options.seed)
    # The judge undoes disguises before it encodes a text.
    vocabulary = MiniLM()
    for example in examples:
        example.text = undisguise(example.text, vocabulary.knows)
    print(f"{len(examples)} windows", flush=True)
    trained_layers = _load_or_train_encoder(examples, options.top, work, options.seed)
    # In the precision of the shipped judge, so that the head is trained on the vectors that it will get.
    encoder = MiniLM(trained_layers, precision="int8")
    vectors = encoder.encode([e.text for e in examples])
    train, valid = (table_of_split(examples, vectors, s) for s in ("train", "valid"))
    weights = average_heads([fit_head(train, valid, 100 * options.seed + member) for member in range(_ENSEMBLE_SIZE)])
    calm = calm_documents(options.data, options.seed, _CALM_DOCUMENTS)
    calm_vectors = iter(
        encoder.encode([undisguise(window, vocabulary.knows) for windows in calm for window in windows])
    )
    aggregation = calibrate(weights, valid, [np.stack([next(calm_vectors) for _ in windows]) for windows in calm])
    print(
        f"with an offset of {aggregation.offset:.2f}, {_CALM_FAILURE_SHARE:.0%} of {len(calm)} calm documents fail "
        f"in the band {_BAND}"
    )
    layer_bytes = save(trained_layers)
    head_bytes = save({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in weights.items()})
    config = {
        "categories": list(CATEGORIES),
        "encoder_sha256": SHA256,
        "top_sha256": hashlib.sha256(layer_bytes).hexdigest(),
        "weights_sha256": hashlib.sha256(head_bytes).hexdigest(),
        "window_sentences": WINDOW["size"],
        "window_words": WINDOW["max_words"],
        "window_overlap": WINDOW["overlap"],
        "whole": aggregation.model_dump(),
        "seed": options.seed,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "encoder.safetensors").write_bytes(layer_bytes)
    (options.out / "head.safetensors").write_bytes(head_bytes)
    (options.out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {len(layer_bytes) + len(head_bytes)} bytes to {options.out}")


if __name__ == "__main__":
    main()

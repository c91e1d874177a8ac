"""Make the embedded judge: `python -m taleward.training.judge --data DIR --out DIR --seed 0`.

`--data` is a folder with the following, gzip each; where to get public copies:

* `stories/tinystories.jsonl.gz` (`text`): TinyStories, arXiv 2305.07759, `roneneldan/TinyStories`, CDLA-Sharing-1.0.
* `stories/storybooks_ccby.jsonl.gz` (`pages`): CC-BY picture books of StoryWeaver, African Storybook, Book Dash.
* `stories/fairytaleqa_train.jsonl.gz` (`title`, `sections`): `uci-soe/FairytaleQAData` on GitHub, Apache-2.0.
* `stories/gutenberg_children.jsonl.gz` (`title`, `text`) and `judge/gutenberg_adult_passages.jsonl.gz` (`text`, 180
  words): books for children and fiction for adults of the 19th century from gutenberg.org, public domain.
* `judge/davidson_tweets.csv.gz`: t-davidson/hate-speech-and-offensive-language on GitHub, MIT.
* `judge/surge_toxicity.csv.gz`: surge-ai/toxicity on GitHub, MIT.
* `judge/wikipedia_comments.csv.gz`: conversationai/unintended-ml-bias-analysis on GitHub, CC-BY-4.0.

The sentences of `judge_templates.yaml` are added. The same data, seed and torch version give the same weights on
the same kind of processor.
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

from taleward.backends.minilm import SHA256, MiniLM
from taleward.core.policy import SEVERITIES
from taleward.moderation.policy import load_policy
from taleward.training.judge_data import CATEGORIES, WINDOW, Example, Split, calm_documents, examples
from taleward.training.judge_encoder import tuned

Floats = npt.NDArray[np.float32]
OUTPUTS = len(CATEGORIES) * 3
_HIDDEN = 128
_EPOCHS = 12
_TUNED_EPOCHS = 2
_BAND = "6-8"
_GENTLE_DOCUMENTS = 0.1
_BUDGETS = {"frightening": 3}
"""Fear is most of what speaks against a story for children: it may turn down more gentle ones than another category."""
_CALM = 800
_MEMBERS = 3
_HOLD = 0.02


@dataclass(slots=True)
class Table:
    """Examples as arrays: vectors (n, 384), labels (n, 33) with NaN where not known, weights (n,)."""

    vectors: Floats
    labels: Floats
    weights: Floats
    sources: npt.NDArray[Any]


def table(found: Sequence[Example], vectors: Floats, split: Split) -> Table:
    """The examples of one split."""
    rows = [i for i, e in enumerate(found) if e.split == split]
    labels = [[np.nan if v is None else v for row in found[i].labels for v in row] for i in rows]
    return Table(
        vectors[rows],
        np.array(labels, dtype=np.float32),
        np.array([found[i].weight for i in rows], dtype=np.float32),
        np.array([found[i].source for i in rows]),
    )


def fit(train: Table, valid: Table, seed: int) -> dict[str, Floats]:
    """Train the perceptron; the epoch with the least loss on the validation part is kept."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(384, _HIDDEN), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(_HIDDEN, OUTPUTS)
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-4, weight_decay=0.2)
    positive = np.nansum(train.labels == 1, axis=0)
    balance = torch.tensor(np.clip(np.sqrt(len(train.labels) / (positive + 1.0)), 1.0, 6.0), dtype=torch.float32)
    noise = torch.Generator().manual_seed(seed)

    def loss(part: Table, rows: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        labels = torch.from_numpy(part.labels)[rows]
        known = ~labels.isnan()
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            model(vectors), labels.nan_to_num(), pos_weight=balance, reduction="none"
        )
        weight = known * torch.from_numpy(part.weights)[rows, None]
        return (each * weight).sum() / weight.sum().clamp(min=1.0)

    best, kept = float("inf"), {k: v.clone() for k, v in model.state_dict().items()}
    x, x_valid = (torch.from_numpy(t.vectors * np.float32(384**0.5)) for t in (train, valid))
    for epoch in range(_EPOCHS):
        model.train()
        for rows in torch.randperm(len(x), generator=noise).split(256):  # type: ignore[no-untyped-call]
            optimiser.zero_grad()
            jitter = torch.randn(len(rows), 384, generator=noise) * 0.15
            loss(train, rows, x[rows] + jitter).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        model.eval()
        with torch.no_grad():
            now = loss(valid, torch.arange(len(x_valid)), x_valid).item()
        if now < best:
            best, kept = now, {k: v.clone() for k, v in model.state_dict().items()}
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: validation loss {now:.4f}, best {best:.4f}")
    return {
        "w1": (kept["0.weight"].T * 384**0.5).contiguous().numpy(),
        "b1": kept["0.bias"].numpy(),
        "w2": kept["3.weight"].T.contiguous().numpy(),
        "b2": kept["3.bias"].numpy(),
    }


def stack(members: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Perceptrons side by side as one, whose outputs are the mean of theirs."""
    return {
        "w1": np.concatenate([m["w1"] for m in members], axis=1),
        "b1": np.concatenate([m["b1"] for m in members]),
        "w2": (np.concatenate([m["w2"] for m in members]) / len(members)).astype(np.float32),
        "b2": np.mean([m["b2"] for m in members], axis=0, dtype=np.float32),
    }


def calibrate(weights: dict[str, Floats], valid: Table, calm: Sequence[Floats]) -> float:
    """Platt scaling on the validation part, then a shift of each category that gentle documents need.

    Each output's sigmoid is fitted (Platt 1999) to the known labels and to the windows in `calm`, one array a
    document, as harmless; both sides count one half, so that one more false alarm buys as much recall in every
    category. Then each category is shifted so that the same share of documents in `calm` fails by it alone, times its
    part in `_BUDGETS`, and no larger share of the validation part's harmless windows: the largest at which at most
    `_GENTLE_DOCUMENTS` of the documents fail in all, in the band 6-8.

    Returns:
        The share of the documents that fail.
    """
    logits = _logits(weights, valid.vectors)
    gentle = _logits(weights, np.concatenate(list(calm)))
    scale, fitted = np.ones(OUTPUTS, dtype=np.float32), np.zeros(OUTPUTS, dtype=np.float32)
    for i in range(OUTPUTS):
        known = ~np.isnan(valid.labels[:, i])
        truth = np.concatenate([valid.labels[known, i], np.zeros(len(gentle), dtype=np.float32)])
        if truth.sum() >= 8:
            scale[i], fitted[i] = _platt(np.concatenate([logits[known, i], gentle[:, i]]), truth)
    policy = load_policy("kids")
    columns = [3 * i + SEVERITIES.index(policy.tolerance(c, _BAND)) for i, c in enumerate(CATEGORIES)]
    bounds = _logit(np.array([policy.threshold(c, _BAND) for c in CATEGORIES]))
    over = (gentle * scale + fitted)[:, columns] - bounds
    worst = np.maximum.reduceat(over, np.cumsum([0, *(len(c) for c in calm[:-1])]))
    others = (logits * scale + fitted)[:, columns] - bounds
    others[valid.labels[:, columns] != 0] = np.nan
    shift, failed = np.zeros(len(CATEGORIES)), 1.0
    for allowed in range(len(calm)):
        kept = [max(0.0, 1 - _BUDGETS.get(c, 1) * allowed / len(calm)) for c in CATEGORIES]
        needed = [max(np.quantile(w, k), np.nanquantile(o, k)) for w, o, k in zip(worst.T, others.T, kept, strict=True)]
        tried = -np.array(needed) - 1e-3
        share = float((worst + tried >= 0).any(1).mean())
        if allowed and share > _GENTLE_DOCUMENTS:
            break
        shift, failed = tried, share
    weights["scale"], weights["shift"] = scale, (fitted + np.repeat(shift, 3)).astype(np.float32)
    return failed


def _logit(chance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    odds: npt.NDArray[np.float64] = np.log(chance / (1 - chance))
    return odds


def _logits(weights: dict[str, Floats], vectors: Floats) -> Floats:
    hidden = np.maximum(vectors @ weights["w1"] + weights["b1"], 0.0)
    raw: Floats = hidden @ weights["w2"] + weights["b2"]
    return raw


def _platt(logits: Floats, labels: Floats) -> tuple[float, float]:
    """Slope and intercept by Newton's method on the log loss, both labels weighing one half.

    The slope is held near 1, by `_HOLD` of the loss's weight: what a category's few labels separate without an error
    would else become a step. A step of Newton's that does not lower the loss is halved.
    """
    each = np.where(labels == 1, 0.5 / (labels == 1).sum(), 0.5 / (labels == 0).sum())

    def loss(a: float, b: float) -> float:
        margin = np.where(labels == 1, 1.0, -1.0) * (a * logits + b)
        return float((each * np.logaddexp(0, -margin)).sum() + _HOLD * (a - 1) ** 2 / 2)

    a, b = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(a * logits + b, -30, 30)))
        gradient = np.array([(each * (p - labels) * logits).sum() + _HOLD * (a - 1), (each * (p - labels)).sum()])
        w = each * p * (1 - p)
        mixed = (w * logits).sum()
        step = np.linalg.solve([[(w * logits**2).sum() + _HOLD, mixed], [mixed, w.sum() + 1e-9]], gradient)
        part = 1.0
        while part > 1e-4 and loss(a - part * step[0], b - part * step[1]) > loss(a, b):
            part /= 2
        a, b = a - part * float(step[0]), b - part * float(step[1])
        if part <= 1e-4 or np.abs(part * step).max() < 1e-6:
            break
    return max(a, 0.2), b


def _top(found: Sequence[Example], path: Path | None, work: Path, seed: int) -> dict[str, Any]:
    if path is not None:
        return dict(load_file(path))
    no_vectors = np.zeros((len(found), 0), dtype=np.float32)
    train, valid = (table(found, no_vectors, s) for s in ("train", "valid"))
    places = tuple([i for i, e in enumerate(found) if e.split == s] for s in ("train", "valid"))
    return tuned(
        [e.text for e in found], train, valid, (places[0], places[1]), epochs=_TUNED_EPOCHS, seed=seed, work=work
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, calibrate and write `head.safetensors` and `config.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--top", type=Path, default=None, help="take the encoder's trained layers from this file")
    parser.add_argument(
        "--work", type=Path, default=None, help="folder for the state of the training (default: OUT-work)"
    )
    options = parser.parse_args(arguments)
    work = options.work or options.out.with_name(f"{options.out.name}-work")
    found = examples(options.data, options.seed)
    print(f"{len(found)} windows", flush=True)
    top = _top(found, options.top, work, options.seed)
    # Rounded as it will run, so that the head learns what it will see.
    encoder = MiniLM(top, precision="int8")
    vectors = encoder.encode([e.text for e in found])
    train, valid = (table(found, vectors, s) for s in ("train", "valid"))
    weights = stack([fit(train, valid, 100 * options.seed + member) for member in range(_MEMBERS)])
    calm = calm_documents(options.data, options.seed, _CALM)
    rows = iter(encoder.encode([piece for pieces in calm for piece in pieces]))
    failed = calibrate(weights, valid, [np.stack([next(rows) for _ in pieces]) for pieces in calm])
    print(f"{failed:.1%} of {len(calm)} gentle documents of the validation part fail in the band {_BAND}")
    layers = save(top)
    data = save({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in weights.items()})
    config = {
        "categories": list(CATEGORIES),
        "encoder_sha256": SHA256,
        "top_sha256": hashlib.sha256(layers).hexdigest(),
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "window_sentences": WINDOW["size"],
        "window_words": WINDOW["max_words"],
        "window_overlap": WINDOW["overlap"],
        "seed": options.seed,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "encoder.safetensors").write_bytes(layers)
    (options.out / "head.safetensors").write_bytes(data)
    (options.out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {len(layers) + len(data)} bytes to {options.out}")


if __name__ == "__main__":
    main()

"""Make the embedded judge: `python -m training.judge.train --data DIR --out DIR --seed 0`.

`--data` is a folder with the following, gzip each; where to get public copies:

* `stories/tinystories.jsonl.gz` (`text`): TinyStories, arXiv 2305.07759, `roneneldan/TinyStories`, CDLA-Sharing-1.0.
* `stories/storybooks_ccby.jsonl.gz` (`pages`): CC-BY picture books of StoryWeaver, African Storybook, Book Dash.
* `stories/fairytaleqa_train.jsonl.gz` (`title`, `sections`): `uci-soe/FairytaleQAData` on GitHub, Apache-2.0.
* `stories/gutenberg_children.jsonl.gz` (`title`, `text`) and `judge/gutenberg_adult_passages.jsonl.gz` (`text`, 180
  words): books for children and fiction for adults of the 19th century from gutenberg.org, public domain.
* `judge/davidson_tweets.csv.gz`: t-davidson/hate-speech-and-offensive-language on GitHub, MIT.
* `judge/surge_toxicity.csv.gz`: surge-ai/toxicity on GitHub, MIT.
* `judge/wikipedia_comments.csv.gz`: conversationai/unintended-ml-bias-analysis on GitHub, CC-BY-4.0.

The frames of `templates.yaml` and `frames/` and the stories of `stories.jsonl` are added; windows in
`labeled_windows.csv` and passages in `passages.csv` have the labels that they were given by reading. The same
data, seed and torch version give the same weights on the same kind of processor.
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
from training.judge.encoder import tuned
from training.judge.labeled_windows import CATEGORIES, WINDOW, Example, Split
from training.judge.training_set import calm_documents, examples

Floats = npt.NDArray[np.float32]
OUTPUTS = len(CATEGORIES) * 3
_HIDDEN = 128
_EPOCHS = 12
_TUNED_EPOCHS = 2
_BAND = "6-8"
_GENTLE_DOCUMENTS = 0.05
_TEMPERATURE = 0.7
_DREAD = 1.2
_DREAD_WINDOWS = 4.0
_CALM = 800
_MEMBERS = 3


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
    noise = torch.Generator().manual_seed(seed)

    def loss(part: Table, rows: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        labels = torch.from_numpy(part.labels)[rows]
        known = ~labels.isnan()
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            model(vectors), labels.nan_to_num(), reduction="none"
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


def calibrate(weights: dict[str, Floats], valid: Table, calm: Sequence[Floats]) -> TextAggregation:
    """Temperature scaling on the validation part (Guo et al. 2017), then what gentle documents need.

    All categories together are moved so that `_GENTLE_DOCUMENTS` of the documents in `calm`, arrays of their windows'
    vectors, fail in the band 6-8.
    """
    scale = weights["scale"] = np.array([_temperature(_logits(weights, valid.vectors), valid.labels)], dtype=np.float32)
    gentle = _logits(weights, np.concatenate(list(calm)))
    odds = np.minimum.accumulate((gentle * scale).reshape(len(gentle), len(CATEGORIES), 3), axis=2)
    dread = CATEGORIES.index("frightening")
    usual = [float(value) for value in odds[:, dread].mean(axis=0)]
    aggregation = TextAggregation(
        temperature=_TEMPERATURE, offset=0.0, dread=_DREAD, dread_windows=_DREAD_WINDOWS,
        dread_usual=(usual[0], usual[1], usual[2]),
    )  # fmt: skip
    policy = load_policy("kids")
    levels = [SEVERITIES.index(policy.tolerance(c, _BAND)) for c in CATEGORIES]
    thresholds = np.array([policy.threshold(c, _BAND) for c in CATEGORIES])
    beyond = odds[:, np.arange(len(CATEGORIES)), levels] - np.log(thresholds / (1 - thresholds))
    reached = []
    for document in np.split(np.arange(len(odds)), np.cumsum([len(c) for c in calm[:-1]])):
        parts = beyond[document]
        parts[:, dread] += aggregation.dread_buildup(odds[document, dread, levels[dread]], levels[dread])
        reached.append(aggregation.combined_log_odds(parts))
    return aggregation.model_copy(update={"offset": -float(np.quantile(reached, 1 - _GENTLE_DOCUMENTS))})


def _logits(weights: dict[str, Floats], vectors: Floats) -> Floats:
    hidden = np.maximum(vectors @ weights["w1"] + weights["b1"], 0.0)
    raw: Floats = hidden @ weights["w2"] + weights["b2"]
    return raw


def _temperature(logits: Floats, labels: Floats) -> float:
    """The factor by which the logits have the least log loss on the known labels."""
    known = ~np.isnan(labels)
    margin = np.where(labels[known] == 1, 1.0, -1.0) * logits[known]
    return float(minimize_scalar(lambda a: float(np.logaddexp(0, -a * margin).mean()), bounds=(0.2, 5.0)).x)


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
    words = MiniLM()
    for example in found:
        example.text = undisguise(example.text, words.knows)
    print(f"{len(found)} windows", flush=True)
    top = _top(found, options.top, work, options.seed)
    # Rounded as it will run, so that the head learns what it will see.
    encoder = MiniLM(top, precision="int8")
    vectors = encoder.encode([e.text for e in found])
    train, valid = (table(found, vectors, s) for s in ("train", "valid"))
    weights = stack([fit(train, valid, 100 * options.seed + member) for member in range(_MEMBERS)])
    calm = calm_documents(options.data, options.seed, _CALM)
    rows = iter(encoder.encode([undisguise(piece, words.knows) for pieces in calm for piece in pieces]))
    aggregation = calibrate(weights, valid, [np.stack([next(rows) for _ in pieces]) for pieces in calm])
    print(
        f"moved by {aggregation.offset:.2f}, {_GENTLE_DOCUMENTS:.0%} of {len(calm)} gentle documents fail "
        f"in the band {_BAND}"
    )
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
        "whole": aggregation.model_dump(),
        "seed": options.seed,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "encoder.safetensors").write_bytes(layers)
    (options.out / "head.safetensors").write_bytes(data)
    (options.out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {len(layers) + len(data)} bytes to {options.out}")


if __name__ == "__main__":
    main()

"""The judge's encoder: the layers of all-MiniLM-L6-v2, trained on with the labelled windows.

What lies below the trained layers, the embeddings at least, stays as it is, so each window is read by it once and kept.
What is trained is small enough to ship beside the head; the rest comes from the package with the encoder. Training is
kept in a folder as it goes, and goes on from there when it was cut off.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModel

from taleward.backends.onnx.minilm import model_folder, verify

if TYPE_CHECKING:
    from training.judge.train import Table

FROZEN = 0
"""Layers from the bottom that stay as they are; the embeddings below them always do."""
_PIECES = 128
_TOKENS = 2048
"""Word pieces in a step, padding included."""
_RATE = 2e-4
_RATE_OUT = 2e-3
_FALL = 0.8
"""A layer learns at this share of the rate of the one above it."""
_SAVE_SECONDS = 120.0


class _Training(torch.nn.Module):
    """The trained layers, and a linear layer on the mean of their states that is thrown away."""

    def __init__(self, layers: Any, outputs: int) -> None:
        super().__init__()
        self.top = layers
        self.out = torch.nn.Linear(384, outputs)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        x, mask = _padded(states)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = x.float()
            hidden = _hidden(mask)
            for layer in self.top:
                x = _state(layer(x, hidden))
        x = x.float()
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        scores: Tensor = self.out(torch.nn.functional.normalize(mean, dim=1) * 384**0.5)
        return scores


def tuned(
    texts: Sequence[str],
    train: Table,
    valid: Table,
    rows: tuple[Sequence[int], Sequence[int]],
    *,
    epochs: int,
    seed: int,
    work: Path,
    frozen: int = FROZEN,
) -> dict[str, npt.NDArray[np.float16]]:
    """Train the layers above `frozen`, in bfloat16 where that is exact enough.

    Args:
        texts: All windows.
        train: Labels and weights to learn from.
        valid: Labels and weights by which the best epoch is kept.
        rows: Which texts are those of `train`, and of `valid`.
        epochs: Passes over `train`.
        seed: Of the order, the dropout and the linear layer.
        work: Folder that the state is kept in; a run that was cut off goes on from it.
        frozen: Layers that stay as they are.

    Returns:
        Names in a checkpoint of `BertModel` to float16 weights, of the trained layers alone.

    Raises:
        ValueError: `work` holds the state of a training with other windows or settings.
    """
    torch.manual_seed(seed)
    folder = model_folder()
    verify(folder / "model.safetensors")
    model = AutoModel.from_pretrained(folder, attn_implementation="eager")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(_PIECES)
    tokenizer.no_padding()
    lower = _lower(model, [e.ids for e in tokenizer.encode_batch(list(texts))], frozen)
    net = _Training(model.encoder.layer[frozen:], train.labels.shape[1])
    depth = len(net.top) - 1
    groups = [
        {"params": list(layer.parameters()), "rate": _RATE * _FALL ** (depth - i)} for i, layer in enumerate(net.top)
    ]
    groups.append({"params": list(net.out.parameters()), "rate": _RATE_OUT})
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    plans = [list(_batches(rows[0], lower, seed + epoch)) for epoch in range(epochs)]
    order = [(epoch, batch) for epoch, plan in enumerate(plans) for batch in plan]
    ends = set(np.cumsum([len(plan) for plan in plans]).tolist())
    kept = _Kept(work, net, optimiser, _fingerprint(texts, train, (epochs, seed, frozen, _TOKENS, _RATE, _FALL)))
    kept.restore()
    saved = time.monotonic()
    for step in range(kept.step, len(order)):
        epoch, batch = order[step]
        torch.manual_seed(1_000_003 * seed + step)
        net.train()
        share = min(1.0, 10 * (step + 1) / len(order)) * (1 - step / len(order))
        for group in optimiser.param_groups:
            group["lr"] = group["rate"] * share
        optimiser.zero_grad()
        total, weight = _loss(net, lower, train, rows[0], batch)
        (total / weight).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        kept.step = step + 1
        if kept.step in ends:
            net.eval()
            with torch.no_grad():
                sums = [_loss(net, lower, valid, rows[1], b) for b in _batches(rows[1], lower, 0)]
            now = float(sum(total for total, _ in sums) / sum(weight for _, weight in sums))
            print(f"encoder, epoch {epoch + 1}: validation loss {now:.4f}", flush=True)
            kept.judge(now)
        if kept.step in ends or time.monotonic() - saved > _SAVE_SECONDS:
            kept.save()
            saved = time.monotonic()
            print(f"encoder, step {kept.step} of {len(order)}", flush=True)
    names = {
        f"encoder.layer.{frozen + int(k.partition('.')[0])}.{k.partition('.')[2]}": v for k, v in kept.best.items()
    }
    return {name: value.numpy().astype(np.float16) for name, value in names.items()}


class _Kept:
    """A training's state, and its best layers so far, on disk."""

    def __init__(self, work: Path, net: _Training, optimiser: torch.optim.Optimizer, of: str) -> None:
        self._work, self._net, self._optimiser, self._of = work, net, optimiser, of
        self.step, self._loss, self._file = 0, float("inf"), ""
        self.best = {k: v.clone() for k, v in net.top.state_dict().items()}

    def judge(self, loss: float) -> None:
        """Keep the layers as they are now if none were better."""
        if loss < self._loss:
            self._loss = loss
            self.best = {k: v.clone() for k, v in self._net.top.state_dict().items()}

    def save(self) -> None:
        """Weights first, then the note that names them, so that a cut at any moment leaves one whole state."""
        self._work.mkdir(parents=True, exist_ok=True)
        tensors = {f"net/{k}": v for k, v in self._net.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        for number, state in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{k}": v for k, v in state.items()}
        old, self._file = self._file, f"step{self.step}.safetensors"
        save_file({k: v.clone() for k, v in tensors.items()}, self._work / self._file)
        note = {"of": self._of, "step": self.step, "loss": self._loss, "file": self._file}
        part = self._work / "state.json.part"
        part.write_text(json.dumps(note))
        part.replace(self._work / "state.json")
        if old not in ("", self._file):
            (self._work / old).unlink(missing_ok=True)

    def restore(self) -> None:
        """Go on from what is on disk, if there is anything."""
        path = self._work / "state.json"
        if not path.is_file():
            return
        note = json.loads(path.read_text())
        if note["of"] != self._of:
            msg = (
                f"{path} is of a training with other windows or settings; delete its folder or name another with --work"
            )
            raise ValueError(msg)
        self.step, self._loss, self._file = note["step"], note["loss"], note["file"]
        tensors = load_file(self._work / self._file)
        self._net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net/")})
        self.best = {k[5:]: v for k, v in tensors.items() if k.startswith("best/")}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser/"):
                _, number, key = name.split("/")
                state.setdefault(int(number), {})[key] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})


def _fingerprint(texts: Sequence[str], train: Table, settings: tuple[object, ...]) -> str:
    found = hashlib.sha256(repr(settings).encode())
    found.update("\0".join(texts).encode())
    found.update(train.labels.tobytes() + train.weights.tobytes())
    return found.hexdigest()


@torch.no_grad()
def _lower(model: Any, pieces: Sequence[Sequence[int]], frozen: int) -> list[Tensor]:
    """States behind the frozen layers, float16, shape (pieces, 384) each; multiplied in bfloat16."""
    model.eval()
    found: list[Tensor | None] = [None] * len(pieces)
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
    for at in range(0, len(order), 64):
        group = order[at : at + 64]
        ids, mask = _padded([torch.tensor(pieces[i]) for i in group])
        x = model.embeddings(input_ids=ids)
        hidden = _hidden(mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for layer in model.encoder.layer[:frozen]:
                x = _state(layer(x, hidden))
        for row, i in enumerate(group):
            found[i] = x[row, : len(pieces[i])].to(torch.float16)
    return [state for state in found if state is not None]


def _batches(rows: Sequence[int], lower: Sequence[Tensor], seed: int) -> Iterator[list[int]]:
    """Places in `rows`, texts of like length together, in an order that the seed decides."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(len(rows), generator=generator).tolist()
    order = sorted(range(len(rows)), key=lambda p: len(lower[rows[p]]) + 6 * noise[p])
    groups: list[list[int]] = [[]]
    for place in order:
        longest = len(lower[rows[place]]) + 6
        if groups[-1] and (len(groups[-1]) + 1) * longest > _TOKENS:
            groups.append([])
        groups[-1].append(place)
    for number in torch.randperm(len(groups), generator=generator).tolist():
        yield groups[number]


def _loss(
    net: _Training, lower: Sequence[Tensor], part: Table, rows: Sequence[int], batch: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The weighted sum of the known labels' cross-entropies, and the sum of the weights."""
    scores = net([lower[rows[place]] for place in batch])
    labels = torch.from_numpy(part.labels[list(batch)])
    known = ~labels.isnan()
    each = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels.nan_to_num(), reduction="none")
    weight = known * torch.from_numpy(part.weights[list(batch)])[:, None]
    return (each * weight).sum(), weight.sum().clamp(min=1.0)


def _padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return padded, (torch.arange(padded.shape[1])[None] < lengths[:, None]).float()


def _hidden(mask: Tensor) -> Tensor:
    """The mask as attention adds it: what is padding is out of reach."""
    return (1 - mask)[:, None, None, :] * torch.finfo(torch.float32).min


def _state(found: Any) -> Tensor:
    state: Tensor = found[0] if isinstance(found, tuple) else found
    return state

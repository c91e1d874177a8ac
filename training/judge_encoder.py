"""The judge's encoder: the top layers of all-MiniLM-L6-v2, trained on with the labelled windows.

The layers below stay as they are, so each window is read by them once and kept. What is trained is small enough to ship
beside the head; the rest comes from the package with the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModel

from taleward.backends.minilm import model_folder, verify

if TYPE_CHECKING:
    from taleward.training.judge import Table

FROZEN = 4
"""Layers from the bottom that stay as they are."""
_PIECES = 128
_TOKENS = 2048
"""Word pieces in a step, padding included."""


def tuned(
    texts: Sequence[str],
    train: Table,
    valid: Table,
    rows: tuple[Sequence[int], Sequence[int]],
    *,
    epochs: int,
    seed: int,
) -> dict[str, npt.NDArray[np.float16]]:
    """Train the layers above `FROZEN`, with a linear layer on their mean that is thrown away.

    Args:
        texts: All windows.
        train: Labels and weights to learn from.
        valid: Labels and weights by which the best epoch is kept.
        rows: Which texts are those of `train`, and of `valid`.
        epochs: Passes over `train`.
        seed: Of the order, the dropout and the linear layer.

    Returns:
        Names in a checkpoint of `BertModel` to float16 weights, of the trained layers alone.
    """
    torch.manual_seed(seed)
    folder = model_folder()
    verify(folder / "model.safetensors")
    model = AutoModel.from_pretrained(folder, attn_implementation="eager")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(_PIECES)
    tokenizer.no_padding()
    lower = _lower(model, [e.ids for e in tokenizer.encode_batch(list(texts))])
    top, out = model.encoder.layer[FROZEN:], torch.nn.Linear(384, train.labels.shape[1])
    optimiser = torch.optim.AdamW(
        [{"params": top.parameters(), "lr": 1e-4}, {"params": out.parameters(), "lr": 2e-3}], weight_decay=0.01
    )
    steps = epochs * sum(1 for _ in _batches(rows[0], lower, seed))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, 10 * (step + 1) / steps) * max(0.0, 1 - step / steps)
    )
    best, kept = float("inf"), {k: v.clone() for k, v in top.state_dict().items()}
    for epoch in range(epochs):
        top.train()
        for batch in _batches(rows[0], lower, seed + epoch):
            optimiser.zero_grad()
            total, weight = _loss(top, out, lower, train, rows[0], batch)
            (total / weight).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        top.eval()
        with torch.no_grad():
            sums = [_loss(top, out, lower, valid, rows[1], batch) for batch in _batches(rows[1], lower, 0)]
        now = float(sum(total for total, _ in sums) / sum(weight for _, weight in sums))
        print(f"encoder, epoch {epoch + 1}: validation loss {now:.4f}", flush=True)
        if now < best:
            best, kept = now, {k: v.clone() for k, v in top.state_dict().items()}
    names = {f"encoder.layer.{FROZEN + int(k.partition('.')[0])}.{k.partition('.')[2]}": v for k, v in kept.items()}
    return {name: value.numpy().astype(np.float16) for name, value in names.items()}


@torch.no_grad()
def _lower(model: Any, pieces: Sequence[Sequence[int]]) -> list[Tensor]:
    """States behind the frozen layers, float16, shape (pieces, 384) each."""
    model.eval()
    found: list[Tensor | None] = [None] * len(pieces)
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
    for at in range(0, len(order), 64):
        group = order[at : at + 64]
        ids, mask = _padded([torch.tensor(pieces[i]) for i in group])
        x = model.embeddings(input_ids=ids)
        hidden = _hidden(mask)
        for layer in model.encoder.layer[:FROZEN]:
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
    top: Any, out: Any, lower: Sequence[Tensor], part: Table, rows: Sequence[int], batch: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The weighted sum of the known labels' cross-entropies, and the sum of the weights."""
    x, mask = _padded([lower[rows[place]].float() for place in batch])
    hidden = _hidden(mask)
    for layer in top:
        x = _state(layer(x, hidden))
    mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    scores = out(torch.nn.functional.normalize(mean, dim=1) * 384**0.5)
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

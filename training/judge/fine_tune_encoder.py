"""Fine-tune the judge's encoder: the layers of all-MiniLM-L6-v2, trained on the labeled windows.

The layers below the trained ones, and always the embeddings, stay as they are, so their output is computed once for
each window. The trained layers are small enough to ship with the head; the rest comes from the encoder's package. An
interrupted training continues from its last checkpoint.
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
    from training.judge.train import LabelTable

FROZEN_LAYERS = 0
"""Layers from the bottom that are not trained; neither are the embeddings below them."""
_MAX_TOKENS = 128
_BATCH_TOKENS = 2048
"""Tokens in a step, with padding."""
_LEARNING_RATE = 2e-4
_OUTPUT_LEARNING_RATE = 2e-3
# A layer's learning rate is this share of that of the layer above it.
_LAYER_DECAY = 0.8
_SAVE_SECONDS = 120.0


class _TrainedLayers(torch.nn.Module):
    """The trained layers, with a linear layer on their mean states that is discarded after training."""

    def __init__(self, layers: Any, outputs: int) -> None:
        super().__init__()
        self.top = layers
        self.out = torch.nn.Linear(384, outputs)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        x, mask = _pad(states)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = x.float()
            bias = _attention_bias(mask)
            for layer in self.top:
                x = _hidden_states(layer(x, bias))
        x = x.float()
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        logits: Tensor = self.out(torch.nn.functional.normalize(mean, dim=1) * 384**0.5)
        return logits


def fine_tune(
    texts: Sequence[str],
    train: LabelTable,
    valid: LabelTable,
    rows: tuple[Sequence[int], Sequence[int]],
    *,
    epochs: int,
    seed: int,
    work: Path,
    frozen: int = FROZEN_LAYERS,
) -> dict[str, npt.NDArray[np.float16]]:
    """Train the layers above the frozen ones, with matrix products in bfloat16.

    Args:
        texts: All windows.
        train: Labels and weights to train on.
        valid: Labels and weights for selecting the best epoch.
        rows: The indices in `texts` of the windows of `train`, and of those of `valid`.
        epochs: Passes over `train`.
        seed: Seed of the order, the dropout and the linear layer.
        work: Folder for checkpoints; an interrupted training continues from it.
        frozen: Layers from the bottom that are not trained.

    Returns:
        The weights of the trained layers in float16, by their names in a checkpoint of `BertModel`.

    Raises:
        ValueError: If `work` has a checkpoint of a training with other windows or settings.
    """
    torch.manual_seed(seed)
    folder = model_folder()
    verify(folder / "model.safetensors")
    model = AutoModel.from_pretrained(folder, attn_implementation="eager")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.no_padding()
    inputs = _frozen_states(model, [e.ids for e in tokenizer.encode_batch(list(texts))], frozen)
    net = _TrainedLayers(model.encoder.layer[frozen:], train.labels.shape[1])
    depth = len(net.top) - 1
    groups = [
        {"params": list(layer.parameters()), "rate": _LEARNING_RATE * _LAYER_DECAY ** (depth - i)}
        for i, layer in enumerate(net.top)
    ]
    groups.append({"params": list(net.out.parameters()), "rate": _OUTPUT_LEARNING_RATE})
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    epoch_batches = [list(_batches(rows[0], inputs, seed + epoch)) for epoch in range(epochs)]
    steps = [(epoch, batch) for epoch, batches in enumerate(epoch_batches) for batch in batches]
    epoch_ends = set(np.cumsum([len(batches) for batches in epoch_batches]).tolist())
    settings = (epochs, seed, frozen, _BATCH_TOKENS, _LEARNING_RATE, _LAYER_DECAY)
    checkpoint = _TrainingCheckpoint(work, net, optimizer, _fingerprint(texts, train, settings))
    checkpoint.restore()
    saved_at = time.monotonic()
    for step in range(checkpoint.step, len(steps)):
        epoch, batch = steps[step]
        # Seeded in every step, so that a continued training has the same dropout.
        torch.manual_seed(1_000_003 * seed + step)
        net.train()
        rate_factor = min(1.0, 10 * (step + 1) / len(steps)) * (1 - step / len(steps))
        # Warmup over the first tenth of the steps, then linear decay.
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * rate_factor
        optimizer.zero_grad()
        total, weight = _loss(net, inputs, train, rows[0], batch)
        (total / weight).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        checkpoint.step = step + 1
        if checkpoint.step in epoch_ends:
            net.eval()
            with torch.no_grad():
                sums = [_loss(net, inputs, valid, rows[1], b) for b in _batches(rows[1], inputs, 0)]
            valid_loss = float(sum(total for total, _ in sums) / sum(weight for _, weight in sums))
            print(f"encoder, epoch {epoch + 1}: validation loss {valid_loss:.4f}", flush=True)
            checkpoint.keep_if_best(valid_loss)
        if checkpoint.step in epoch_ends or time.monotonic() - saved_at > _SAVE_SECONDS:
            checkpoint.save()
            saved_at = time.monotonic()
            print(f"encoder, step {checkpoint.step} of {len(steps)}", flush=True)
    weights = {
        f"encoder.layer.{frozen + int(k.partition('.')[0])}.{k.partition('.')[2]}": v
        for k, v in checkpoint.best.items()
    }
    return {name: value.numpy().astype(np.float16) for name, value in weights.items()}


class _TrainingCheckpoint:
    """The state of a training on disk, with the best layers so far.

    Args:
        work: The folder.
        net: The layers in training.
        optimizer: Their optimizer.
        fingerprint: Identifies the data and settings; a checkpoint with another fingerprint is not restored.

    Attributes:
        step: Number of steps done.
        best: State dict of the layers with the lowest validation loss.
    """

    def __init__(self, work: Path, net: _TrainedLayers, optimizer: torch.optim.Optimizer, fingerprint: str) -> None:
        self._work, self._net, self._optimizer, self._fingerprint = work, net, optimizer, fingerprint
        self.step, self._best_loss, self._file = 0, float("inf"), ""
        self.best = {k: v.clone() for k, v in net.top.state_dict().items()}

    def keep_if_best(self, loss: float) -> None:
        """Keep the current layers if their validation loss is the lowest so far."""
        if loss < self._best_loss:
            self._best_loss = loss
            self.best = {k: v.clone() for k, v in self._net.top.state_dict().items()}

    def save(self) -> None:
        """Write the weights, then the state that names them: a kill at any moment leaves one valid checkpoint."""
        self._work.mkdir(parents=True, exist_ok=True)
        tensors = {f"net/{k}": v for k, v in self._net.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        for number, parameter_state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{k}": v for k, v in parameter_state.items()}
        previous, self._file = self._file, f"step{self.step}.safetensors"
        save_file({k: v.clone() for k, v in tensors.items()}, self._work / self._file)
        state = {"of": self._fingerprint, "step": self.step, "loss": self._best_loss, "file": self._file}
        temporary = self._work / "state.json.part"
        temporary.write_text(json.dumps(state))
        temporary.replace(self._work / "state.json")
        if previous not in ("", self._file):
            (self._work / previous).unlink(missing_ok=True)

    def restore(self) -> None:
        """Restore the state on disk, if there is one."""
        path = self._work / "state.json"
        if not path.is_file():
            return
        state = json.loads(path.read_text())
        if state["of"] != self._fingerprint:
            msg = (
                f"{path} is of a training with other windows or settings; delete its folder or give another with --work"
            )
            raise ValueError(msg)
        self.step, self._best_loss, self._file = state["step"], state["loss"], state["file"]
        tensors = load_file(self._work / self._file)
        self._net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net/")})
        self.best = {k[5:]: v for k, v in tensors.items() if k.startswith("best/")}
        optimizer_state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer/"):
                _, number, key = name.split("/")
                optimizer_state.setdefault(int(number), {})[key] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": optimizer_state})


def _fingerprint(texts: Sequence[str], train: LabelTable, settings: tuple[object, ...]) -> str:
    sha256 = hashlib.sha256(repr(settings).encode())
    sha256.update("\0".join(texts).encode())
    sha256.update(train.labels.tobytes() + train.weights.tobytes())
    return sha256.hexdigest()


@torch.no_grad()
def _frozen_states(model: Any, token_ids: Sequence[Sequence[int]], frozen: int) -> list[Tensor]:
    """Compute the output of the frozen layers for each text, in float16, shape (tokens, 384)."""
    model.eval()
    states: list[Tensor | None] = [None] * len(token_ids)
    by_length = sorted(range(len(token_ids)), key=lambda i: len(token_ids[i]))
    for start in range(0, len(by_length), 64):
        batch = by_length[start : start + 64]
        ids, mask = _pad([torch.tensor(token_ids[i]) for i in batch])
        x = model.embeddings(input_ids=ids)
        bias = _attention_bias(mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for layer in model.encoder.layer[:frozen]:
                x = _hidden_states(layer(x, bias))
        for row, i in enumerate(batch):
            states[i] = x[row, : len(token_ids[i])].to(torch.float16)
    return [state for state in states if state is not None]


def _batches(rows: Sequence[int], inputs: Sequence[Tensor], seed: int) -> Iterator[list[int]]:
    """Yield batches of indices in `rows`, of texts of similar length, in an order decided by the seed."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(len(rows), generator=generator).tolist()
    order = sorted(range(len(rows)), key=lambda i: len(inputs[rows[i]]) + 6 * noise[i])
    batches: list[list[int]] = [[]]
    for index in order:
        # Because of the noise, a text before this one can be up to six tokens longer.
        max_length = len(inputs[rows[index]]) + 6
        if batches[-1] and (len(batches[-1]) + 1) * max_length > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(index)
    for number in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[number]


def _loss(
    net: _TrainedLayers, inputs: Sequence[Tensor], table: LabelTable, rows: Sequence[int], batch: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of the cross-entropies of the known labels, and the sum of the weights."""
    logits = net([inputs[rows[index]] for index in batch])
    labels = torch.from_numpy(table.labels[list(batch)])
    known = ~labels.isnan()
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
    weights = known * torch.from_numpy(table.weights[list(batch)])[:, None]
    return (losses * weights).sum(), weights.sum().clamp(min=1.0)


def _pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return padded, (torch.arange(padded.shape[1])[None] < lengths[:, None]).float()


def _attention_bias(mask: Tensor) -> Tensor:
    """Return what is added to the attention scores, so that padding gets no attention."""
    return (1 - mask)[:, None, None, :] * torch.finfo(torch.float32).min


def _hidden_states(layer_output: Any) -> Tensor:
    # Some versions of transformers return a tuple.
    states: Tensor = layer_output[0] if isinstance(layer_output, tuple) else layer_output
    return states

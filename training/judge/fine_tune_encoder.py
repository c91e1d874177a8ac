"""Fine-tune the judge's encoder, all-MiniLM-L6-v2, with the linear layer on top of it, on labeled texts.

The embeddings stay as they are and come from the encoder's package; the six layers are small enough to ship. An
interrupted training continues from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel

from taleward.backends.onnx.minilm import DIMENSIONS, model_folder, verify
from training.corpus.reader import BANDS
from training.judge.labeled_text import OUTPUTS, LabeledText, limits
from training.judge.training_sections import TrainingSection, batches, epoch_sections

_BATCH_PIECES = 4096
_LEARNING_RATE = 2e-4
_OUTPUT_LEARNING_RATE = 2e-3
# A layer's learning rate is this share of that of the layer above it.
_LAYER_DECAY = 0.8
_WARMUP = 0.05
_OUTCOME_WEIGHT = 0.3
"""Weight of the loss of whole sections against that of sentences."""
_SENTENCE_SCALE = OUTPUTS / 4
"""Most labels are easy zeros, so the mean over all of them is small."""
_FIRST_BIAS = -3.0
_THREADS = 2
"""The number of threads decides the order of sums, and so the weights to the last bit."""
_SAVE_SECONDS = 120.0
_LIMITS = [torch.tensor(limits(band)) for band in BANDS]


class TrainedJudge(NamedTuple):
    """Trained weights.

    Attributes:
        layers: The encoder's layers in float16, by their names in a checkpoint of `BertModel`.
        weight: The linear layer's weight, shape (384, outputs).
        bias: Its bias, shape (outputs,).
    """

    layers: dict[str, npt.NDArray[np.float16]]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


class _Net(torch.nn.Module):
    """The encoder and the linear layer: sections to the log-odds of each of their sentences."""

    def __init__(self) -> None:
        super().__init__()
        verify(model_folder() / "model.safetensors")
        # Dropout of attention would take the slow path, and most of the time of a step.
        self.bert: Any = AutoModel.from_pretrained(
            model_folder(), attn_implementation="eager", attention_probs_dropout_prob=0.0
        )
        self.bert.pooler = None
        for parameter in self.bert.embeddings.parameters():
            parameter.requires_grad = False
        self.out = torch.nn.Linear(DIMENSIONS, OUTPUTS)
        torch.nn.init.constant_(self.out.bias, _FIRST_BIAS)
        # What a band adds to the log-sum-exp of a section's log-odds; learned, so that these need not be calibrated.
        self.band_offsets = torch.nn.Parameter(torch.zeros(len(BANDS)))

    def forward(self, sections: Sequence[TrainingSection]) -> Tensor:
        pieces = _pad([s.pieces for s in sections], 0)
        numbers = _pad([s.sentence_of_piece for s in sections], -1)
        mask = (torch.arange(pieces.shape[1])[None] < torch.tensor([[len(s.pieces)] for s in sections])).long()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = self.bert(input_ids=pieces, attention_mask=mask).last_hidden_state
        inside = numbers >= 0
        sentence_of_state = (numbers + _first_sentences(sections)[:, None])[inside]
        count = sum(s.sentences for s in sections)
        sums = torch.zeros(count, DIMENSIONS).index_add(0, sentence_of_state, states.float()[inside])
        # The mean has the direction of the sum, and only the direction counts.
        logits: Tensor = self.out(functional.normalize(sums, dim=1) * DIMENSIONS**0.5)
        return logits


def fine_tune(texts: Sequence[LabeledText], *, epochs: int, seed: int, work: Path) -> TrainedJudge:
    """Train all layers and the linear layer, with matrix products in bfloat16.

    Args:
        texts: The texts to train on, tokenized.
        epochs: Passes over them.
        seed: Seed of the order, the cuts, the dropout and the linear layer.
        work: Folder for checkpoints; an interrupted training continues from it.

    Raises:
        ValueError: If `work` has a checkpoint of a training with other texts or settings.
    """
    torch.set_num_threads(_THREADS)
    torch.manual_seed(seed)
    net = _Net()
    depth = len(net.bert.encoder.layer) - 1
    parameters = [
        {"params": list(layer.parameters()), "rate": _LEARNING_RATE * _LAYER_DECAY ** (depth - n)}
        for n, layer in enumerate(net.bert.encoder.layer)
    ]
    parameters.append({"params": [*net.out.parameters(), net.band_offsets], "rate": _OUTPUT_LEARNING_RATE})
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.01)
    checkpoint = _TrainingCheckpoint(work, net, optimizer, _fingerprint(texts, (epochs, seed, _BATCH_PIECES)))
    checkpoint.restore()
    net.train()
    saved_at = time.monotonic()
    for epoch in range(epochs):
        steps = _epoch_batches(texts, seed, epoch)
        losses: list[float] = []
        for number, sections in enumerate(steps):
            if (epoch, number) < checkpoint.next_step:
                continue
            # Seeded in every step, so that a continued training has the same dropout.
            torch.manual_seed(1_000_003 * seed + 100_003 * epoch + number)
            progress = (epoch + number / len(steps)) / epochs
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * min(1.0, (progress + 1e-3) / _WARMUP) * (1 - progress)
            optimizer.zero_grad()
            loss = _loss(net, sections)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            checkpoint.next_step = (epoch, number + 1)
            if time.monotonic() - saved_at > _SAVE_SECONDS:
                checkpoint.save()
                saved_at = time.monotonic()
                mean = np.mean(losses[-100:])
                print(f"epoch {epoch + 1}, step {number + 1} of {len(steps)}: loss {mean:.3f}", flush=True)
        checkpoint.next_step = max(checkpoint.next_step, (epoch + 1, 0))
    checkpoint.save()
    layers = {f"encoder.{k}": v.numpy().astype(np.float16) for k, v in net.bert.encoder.state_dict().items()}
    weight = net.out.weight.detach().T * DIMENSIONS**0.5
    return TrainedJudge(layers, weight.contiguous().numpy(), net.out.bias.detach().numpy())


def _epoch_batches(texts: Sequence[LabeledText], seed: int, epoch: int) -> list[list[TrainingSection]]:
    rng = random.Random(f"epoch {seed} {epoch}")
    whole = [t for t in texts if t.is_whole]
    windows = [t for t in texts if not t.is_whole]
    return batches(list(epoch_sections(whole, windows, rng)), _BATCH_PIECES, rng)


def _loss(net: _Net, sections: Sequence[TrainingSection]) -> Tensor:
    """Return the loss of the labels of sentences, and of whether sections fail each band."""
    logits = net(sections)
    of_sentences = _sentence_loss(logits, sections)
    of_outcomes = _outcome_loss(logits, net.band_offsets, sections)
    return _SENTENCE_SCALE * of_sentences + _OUTCOME_WEIGHT * of_outcomes


def _sentence_loss(logits: Tensor, sections: Sequence[TrainingSection]) -> Tensor:
    """Return the mean cross-entropy of the known labels of the groups.

    A group is harmful unless all of its sentences are harmless (noisy-or), so which of them is harmful is learned.
    """
    groups = [
        (first, group)
        for first, section in zip(_first_sentences(sections).tolist(), sections, strict=True)
        for group in section.groups
    ]
    if not groups:
        return logits.sum() * 0
    members = torch.tensor([first + n for first, group in groups for n in group.sentences])
    group_of_member = torch.tensor([n for n, (_, group) in enumerate(groups) for _ in group.sentences])
    labels = torch.tensor([group.labels for _, group in groups])
    harmless = torch.zeros_like(labels).index_add(0, group_of_member, -functional.softplus(logits)[members])
    harmless = harmless.clamp(max=-1e-6)  # log-probabilities
    harmful = torch.log(-torch.expm1(harmless))
    known = ~labels.isnan()
    weights = known * torch.tensor([[group.weight] for _, group in groups])
    losses = -torch.where(labels == 1, harmful, harmless)
    return (losses * weights).sum() / weights.sum().clamp(min=1.0)


def _outcome_loss(logits: Tensor, band_offsets: Tensor, sections: Sequence[TrainingSection]) -> Tensor:
    """Return the mean cross-entropy of the known outcomes; the score is the one that the judge decides by."""
    section_of_sentence = torch.repeat_interleave(
        torch.arange(len(sections)), torch.tensor([s.sentences for s in sections])
    )
    outcomes = torch.tensor([s.outcomes for s in sections])
    total, count = logits.sum() * 0, 0
    for band, columns in enumerate(_LIMITS):
        known = ~outcomes[:, band].isnan()
        score = _grouped_logsumexp(torch.logsumexp(logits[:, columns], dim=1), section_of_sentence, len(sections))
        score = score + band_offsets[band]
        total = total + functional.binary_cross_entropy_with_logits(
            score[known], outcomes[known, band], reduction="sum"
        )
        count += int(known.sum())
    return total / max(count, 1)


def _grouped_logsumexp(values: Tensor, group: Tensor, groups: int) -> Tensor:
    highest = torch.full((groups,), -torch.inf).scatter_reduce(0, group, values.detach(), "amax")
    return torch.zeros(groups).index_add(0, group, torch.exp(values - highest[group])).log() + highest


def _first_sentences(sections: Sequence[TrainingSection]) -> Tensor:
    """Return the index of each section's first sentence among those of all sections."""
    counts = torch.tensor([s.sentences for s in sections])
    return counts.cumsum(0) - counts


def _pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


class _TrainingCheckpoint:
    """The state of a training on disk.

    Args:
        work: The folder.
        net: The network in training.
        optimizer: Its optimizer.
        fingerprint: Identifies the data and settings; a checkpoint with another fingerprint is not restored.

    Attributes:
        next_step: The epoch and the number of the next step.
    """

    def __init__(self, work: Path, net: _Net, optimizer: torch.optim.Optimizer, fingerprint: str) -> None:
        self._work, self._net, self._optimizer, self._fingerprint = work, net, optimizer, fingerprint
        self.next_step, self._file = (0, 0), ""

    def save(self) -> None:
        """Write the weights, then the state that names them: a kill at any moment leaves one valid checkpoint."""
        self._work.mkdir(parents=True, exist_ok=True)
        tensors = {f"net/{k}": v for k, v in self._trained()}
        for number, parameter_state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{k}": v for k, v in parameter_state.items()}
        previous, self._file = self._file, f"step{self.next_step[0]}-{self.next_step[1]}.safetensors"
        save_file({k: v.clone() for k, v in tensors.items()}, self._work / self._file)
        state = {"of": self._fingerprint, "next": self.next_step, "file": self._file}
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
            msg = f"{path} is of a training with other texts or settings; delete its folder or give another with --work"
            raise ValueError(msg)
        self.next_step, self._file = tuple(state["next"]), state["file"]
        tensors = load_file(self._work / self._file)
        self._net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net/")}, strict=False)
        optimizer_state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer/"):
                _, number, key = name.split("/")
                optimizer_state.setdefault(int(number), {})[key] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": optimizer_state})

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        return ((k, v) for k, v in self._net.state_dict().items() if not k.startswith("bert.embeddings"))


def _fingerprint(texts: Sequence[LabeledText], settings: tuple[object, ...]) -> str:
    sha256 = hashlib.sha256(repr(settings).encode())
    for text in texts:
        sha256.update(repr((text.sentences, text.groups, text.source)).encode())
    return sha256.hexdigest()

"""Reading a model in llama2.c's float32 layout, to compare the storyteller with it on the same characters.

Layout: `run.c` and `export.py` (version 0) of https://github.com/karpathy/llama2.c.
"""

import itertools
import re
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.storyteller.model import Llama, Shape

_HEADER = struct.Struct("<7i")
_BOS = 1
_FIRST_BYTE = 3
"""Tokens 3 to 258 stand for single bytes."""


def read_model(path: Path) -> Llama:
    """The model of a `.bin` file with shared embeddings.

    Raises:
        ValueError: The file's size does not fit the sizes in its header.
    """
    raw = path.read_bytes()
    hidden, inner, layers, heads, kv_heads, vocab, positions = _HEADER.unpack_from(raw)
    shape = Shape(
        vocab=vocab, hidden=hidden, inner=inner, layers=layers, heads=heads, kv_heads=kv_heads, positions=positions
    )
    kv_width = kv_heads * shape.head_dim
    # One block a kind of weight, all layers in a row; the order is that of the file.
    blocks = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv_width, hidden),
        "self_attn.v_proj": (kv_width, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "mlp.up_proj": (inner, hidden),
    }
    numbers = torch.from_numpy(np.frombuffer(raw, dtype="<f4", offset=_HEADER.size).copy())
    angles = positions * shape.head_dim
    wanted = vocab * hidden + layers * sum(int(np.prod(size)) for size in blocks.values()) + hidden + angles
    if len(numbers) != wanted:
        msg = f"{path.name!r} holds {len(numbers)} numbers, its header asks for {wanted}: is it llama2.c version 0?"
        raise ValueError(msg)
    weights = {"model.embed_tokens.weight": numbers[: vocab * hidden].view(vocab, hidden)}
    at = vocab * hidden
    for name, size in blocks.items():
        count = int(np.prod(size))
        for layer in range(layers):
            weight = numbers[at : at + count].view(size)
            if name.endswith(("q_proj", "k_proj")):
                weight = _halves(weight, shape.head_dim)
            weights[f"model.layers.{layer}.{name}.weight"] = weight
            at += count
    weights["model.norm.weight"] = numbers[at : at + hidden]
    model = Llama(shape, generator=torch.Generator().manual_seed(0))
    model.load_state_dict(weights)
    return model


def _halves(weight: Tensor, head_dim: int) -> Tensor:
    """Rows of each head from rotary pairs side by side to pairs half a head apart."""
    return weight.view(-1, head_dim // 2, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


class PeerTokenizer:
    """The tokenizer file of llama2.c: byte-pair merges, best score first, with single bytes to fall back on."""

    def __init__(self, path: Path) -> None:
        """Read a `tokN.bin` file."""
        raw, at = path.read_bytes(), 4
        self._numbers: dict[bytes, int] = {}
        self._scores: list[float] = []
        self._known: dict[str, list[int]] = {}
        while at < len(raw):
            score, size = struct.unpack_from("<fi", raw, at)
            self._numbers.setdefault(raw[at + 8 : at + 8 + size], len(self._scores))
            self._scores.append(score)
            at += 8 + size
        self._words = [word for word, _ in sorted(self._numbers.items(), key=lambda item: item[1])]

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text, `<s>` first. No token holds a blank inside, so words are encoded one by one."""
        ids = [_BOS]
        for word in re.findall(r" ?[^ ]*", " " + text):
            if word not in self._known:
                self._known[word] = self._merge(word)
            ids += self._known[word]
        return ids

    def _merge(self, word: str) -> list[int]:
        parts = [char.encode() for char in word]
        while True:
            best = max(
                (
                    (self._scores[self._numbers[a + b]], -i)
                    for i, (a, b) in enumerate(itertools.pairwise(parts))
                    if a + b in self._numbers
                ),
                default=None,
            )
            if best is None:
                break
            i = -best[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids: list[int] = []
        for part in parts:
            known = self._numbers.get(part)
            ids += [known] if known is not None else [byte + _FIRST_BYTE for byte in part]
        return ids

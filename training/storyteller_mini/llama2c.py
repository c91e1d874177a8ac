"""Read a model in llama2.c's float32 format, to compare the storyteller with it on the same texts.

Format: `run.c` and `export.py` (version 0) of https://github.com/karpathy/llama2.c.
"""

import itertools
import re
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.storyteller_mini.model import Llama, Shape

_HEADER = struct.Struct("<7i")
_BOS = 1
# Tokens 3 to 258 are single bytes.
_FIRST_BYTE = 3


def read_model(path: Path) -> Llama:
    """Read the model of a `.bin` file with tied embeddings.

    Raises:
        ValueError: If the size of the file does not match its header.
    """
    raw = path.read_bytes()
    hidden, inner, layers, heads, kv_heads, vocab, positions = _HEADER.unpack_from(raw)
    shape = Shape(
        vocab=vocab, hidden=hidden, inner=inner, layers=layers, heads=heads, kv_heads=kv_heads, positions=positions
    )
    kv_width = kv_heads * shape.head_dim
    # The file has one block per kind of weight, in this order, with all layers in each.
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
    rotary_angles = positions * shape.head_dim
    expected = vocab * hidden + layers * sum(int(np.prod(size)) for size in blocks.values()) + hidden + rotary_angles
    if len(numbers) != expected:
        msg = (
            f"{path.name!r} has {len(numbers)} numbers, but its header requires {expected}. "
            "Give a llama2.c file of version 0."
        )
        raise ValueError(msg)
    weights = {"model.embed_tokens.weight": numbers[: vocab * hidden].view(vocab, hidden)}
    offset = vocab * hidden
    for name, size in blocks.items():
        count = int(np.prod(size))
        for layer in range(layers):
            weight = numbers[offset : offset + count].view(size)
            if name.endswith(("q_proj", "k_proj")):
                weight = _split_rotary_pairs(weight, shape.head_dim)
            weights[f"model.layers.{layer}.{name}.weight"] = weight
            offset += count
    weights["model.norm.weight"] = numbers[offset : offset + hidden]
    model = Llama(shape, generator=torch.Generator().manual_seed(0))
    model.load_state_dict(weights)
    return model


def _split_rotary_pairs(weight: Tensor, head_dim: int) -> Tensor:
    """Reorder the rows of each head: llama2.c has rotary pairs side by side, Hugging Face half a head apart."""
    return weight.view(-1, head_dim // 2, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


class PeerTokenizer:
    """The tokenizer of llama2.c: byte-pair merges, highest score first, with single bytes as fallback.

    Args:
        path: A `tokN.bin` file.
    """

    def __init__(self, path: Path) -> None:
        raw, offset = path.read_bytes(), 4
        self._ids: dict[bytes, int] = {}
        self._scores: list[float] = []
        self._ids_by_word: dict[str, list[int]] = {}
        while offset < len(raw):
            score, size = struct.unpack_from("<fi", raw, offset)
            self._ids.setdefault(raw[offset + 8 : offset + 8 + size], len(self._scores))
            self._scores.append(score)
            offset += 8 + size

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, with `<s>` first."""
        ids = [_BOS]
        # No token has a space after its first character, so each word can be encoded, and cached, on its own.
        for word in re.findall(r" ?[^ ]*", " " + text):
            if word not in self._ids_by_word:
                self._ids_by_word[word] = self._merge(word)
            ids += self._ids_by_word[word]
        return ids

    def _merge(self, word: str) -> list[int]:
        parts = [char.encode() for char in word]
        while True:
            best = max(
                (
                    (self._scores[self._ids[a + b]], -i)
                    for i, (a, b) in enumerate(itertools.pairwise(parts))
                    if a + b in self._ids
                ),
                default=None,
            )
            if best is None:
                break
            i = -best[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids: list[int] = []
        for part in parts:
            token_id = self._ids.get(part)
            ids += [token_id] if token_id is not None else [byte + _FIRST_BYTE for byte in part]
        return ids

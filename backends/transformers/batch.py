"""Texts under way in a model of `transformers`: a batch that texts join and leave between two tokens."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

_ROOM = 1 << 30
"""Bytes of key and value caches on a CPU, unless one text alone needs more."""
_KNOWN = frozenset({"DynamicLayer", "DynamicSlidingWindowLayer", "LinearAttentionLayer", "DummyLayer"})
"""Layers of caches that can be joined."""


class TorchBatch:
    """The rows of one model; see `DecodingBatch`.

    All rows end at the same place of the caches and are padded in front, so that each step writes one column, whatever
    the layers are: full or sliding attention, or states of a fixed size. A text that joins is read by itself or with
    others that join, then put beside the rows at work.

    Args:
        model: A causal language model.
        max_batch: Rows at most.
        room: Bytes that their caches may take; by default a GiB, on a GPU half of what is free there.
    """

    def __init__(self, model: Any, *, max_batch: int = 64, room: int | None = None) -> None:
        import torch
        from transformers import DynamicCache

        self._torch, self._model = torch, model
        self._new_cache = partial(DynamicCache, config=model.config)
        layers = self._new_cache().layers
        known = bool(layers) and all(type(layer).__name__ in _KNOWN for layer in layers)
        self.max_batch = max_batch if known else 1
        # States of a fixed size would take in the padding: such texts are read one by one.
        self._one_by_one = not known or any(hasattr(layer, "recurrent_states") for layer in layers)
        self._attends = any(hasattr(layer, "keys") for layer in layers)
        self.token_capacity = (room or _room(model.device)) // _bytes_a_token(model)
        self._takes = frozenset(inspect.signature(model.forward).parameters)
        self._cache: Any = None
        self._rows = self._width = 0

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        """See `DecodingBatch.advance`."""
        with self._torch.inference_mode():
            begun = len(tokens[0]) < lengths[0]
            logits = self._step(tokens, lengths) if begun else self._join(first, tokens)
            return logits.float().cpu().numpy()

    def move(self, row: int, to: int, length: int) -> None:
        """See `DecodingBatch.move`."""

        def copied(tensor: Any) -> Any:
            tensor[to] = tensor[row]
            return tensor

        with self._torch.inference_mode():
            self._change(copied)

    def release(self) -> None:
        """See `DecodingBatch.release`."""
        self._cache = None
        self._rows = self._width = 0

    def _join(self, first: int, texts: Sequence[Sequence[int]]) -> Any:
        if first == 0:
            self.release()
        self._keep(first)
        found = []
        for group in [[text] for text in texts] if self._one_by_one else [texts]:
            cache, width = self._new_cache(), max(map(len, group))
            ids = [[0] * (width - len(text)) + list(text) for text in group]
            found.append(self._forward(ids, [len(text) for text in group], cache, width))
            if self._cache is None:
                self._cache, self._width = cache, width
            else:
                self._put_beside(cache, width)
            self._rows += len(group)
        return self._torch.cat(found)

    def _step(self, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        self._keep(len(tokens))
        spare = self._width + 1 - max(lengths)
        if spare > max(64, self._width // 4):
            for layer in self._cache.layers:
                _narrow(layer, self._width - spare)
            self._width -= spare
        self._width += 1
        return self._forward(tokens, lengths, self._cache, self._width)

    def _forward(self, ids: Sequence[Sequence[int]], lengths: Sequence[int], cache: Any, width: int) -> Any:
        """Logits behind the last token of each row, shape (rows, vocabulary); the cache takes the tokens."""
        torch, device = self._torch, self._model.device
        new, many = len(ids[0]), torch.tensor(lengths, device=device)[:, None]
        inputs = {"input_ids": torch.tensor([list(row) for row in ids], device=device), cache_name(self._model): cache}
        if self._attends and any(length < width for length in lengths):
            inputs["attention_mask"] = (torch.arange(width, device=device)[None] >= width - many).long()
        if "position_ids" in self._takes:
            inputs["position_ids"] = (torch.arange(new, device=device)[None] - new + many).clamp(min=0)
        if "logits_to_keep" in self._takes:
            inputs["logits_to_keep"] = 1
        return self._model(**inputs, use_cache=True).logits[:, -1]

    def _keep(self, rows: int) -> None:
        """Forget the rows behind these: their texts ended."""
        if rows < self._rows:
            self._change(lambda tensor: tensor[:rows])
        self._rows = rows

    def _put_beside(self, cache: Any, width: int) -> None:
        """Put the rows of another cache behind one's own."""
        self._width = max(self._width, width)
        for mine, theirs in zip(self._cache.layers, cache.layers, strict=True):
            for layer in (mine, theirs):
                _widen(layer, self._width)
            rows = iter(_tensors(theirs))
            _set(mine, [self._torch.cat([tensor, next(rows)]) for tensor in _tensors(mine)])

    def _change(self, change: Callable[[Any], Any]) -> None:
        for layer in self._cache.layers:
            _set(layer, [change(tensor) for tensor in _tensors(layer)])


def cache_name(model: Any) -> str:
    """What a model's `forward` calls its cache."""
    takes = inspect.signature(model.forward).parameters
    # transformers says `cache` since 5.24, and drops `past_key_values` with 5.40.
    return next((name for name in ("cache_params", "cache") if name in takes), "past_key_values")


def _tensors(layer: Any) -> list[Any]:
    """What a layer keeps for each row, rows first."""
    if hasattr(layer, "recurrent_states"):
        return [t for states in (layer.conv_states, layer.recurrent_states) for t in states.values() if t is not None]
    return [] if layer.keys is None else [layer.keys, layer.values]


def _set(layer: Any, tensors: Sequence[Any]) -> None:
    if not hasattr(layer, "recurrent_states"):
        if tensors:
            layer.keys, layer.values = tensors
        return
    rest = iter(tensors)
    for states in (layer.conv_states, layer.recurrent_states):
        for name, tensor in states.items():
            if tensor is not None:
                states[name] = next(rest)


def _seen(layer: Any, width: int) -> int:
    """How many of the columns an attention layer keeps; one with a window keeps the last ones."""
    return min(width, layer.sliding_window - 1) if hasattr(layer, "sliding_window") else width


def _widen(layer: Any, width: int) -> None:
    """Pad an attention layer in front, as if its rows were so long."""
    import torch

    if getattr(layer, "keys", None) is None:
        return
    lacks = _seen(layer, width) - layer.keys.shape[-2]
    if lacks > 0:
        layer.keys, layer.values = (torch.nn.functional.pad(t, (0, 0, lacks, 0)) for t in (layer.keys, layer.values))
    if hasattr(layer, "cumulative_length"):
        layer.cumulative_length = width


def _narrow(layer: Any, width: int) -> None:
    """Drop columns in front of an attention layer, which are padding in all rows."""
    if getattr(layer, "keys", None) is None:
        return
    keep = _seen(layer, width)
    layer.keys, layer.values = layer.keys[:, :, -keep:], layer.values[:, :, -keep:]
    if hasattr(layer, "cumulative_length"):
        layer.cumulative_length = width


def _room(device: Any) -> int:
    if device.type != "cuda":
        return _ROOM
    import torch

    # The other half is for the steps themselves, and for the moment in which caches are copied.
    return max(_ROOM, torch.cuda.mem_get_info(device)[0] // 2)


def _bytes_a_token(model: Any) -> int:
    config = model.config.get_text_config()
    queries = getattr(config, "num_attention_heads", 0)
    if not queries:  # states of a fixed size alone
        return 1
    heads = getattr(config, "num_key_value_heads", None) or queries
    size = getattr(config, "head_dim", None) or config.hidden_size // queries
    return int(config.num_hidden_layers * heads * size * 2 * model.dtype.itemsize)

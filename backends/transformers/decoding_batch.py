"""Continuous batching for causal models of transformers: sequences join and leave the batch between two tokens."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

_CPU_CACHE_BYTES = 1 << 30
"""Memory for the key-value caches on a CPU; a single sequence may exceed it."""
_BATCHABLE_LAYERS = frozenset({"DynamicLayer", "DynamicSlidingWindowLayer", "LinearAttentionLayer", "DummyLayer"})
"""The classes of cache layers whose rows can be concatenated."""


class TorchBatch:
    """The sequences being decoded by one model, as rows of its caches; a `DecodingBatch`.

    All rows end in the same column of the caches and are padded on the left, so that each step appends one column to
    every kind of layer: full attention, sliding attention, and states of a fixed size. Sequences that join are read in
    a batch of their own, whose rows are then appended to the running ones.

    Args:
        model: A causal language model.
        max_batch: Maximum number of rows.
        cache_bytes: Memory for the caches; defaults to 1 GiB on a CPU and to half of the free memory on a GPU.
    """

    def __init__(self, model: Any, *, max_batch: int = 64, cache_bytes: int | None = None) -> None:
        import torch
        from transformers import DynamicCache

        self._torch, self._model = torch, model
        self._new_cache = partial(DynamicCache, config=model.config)
        layers = self._new_cache().layers
        is_batchable = bool(layers) and all(type(layer).__name__ in _BATCHABLE_LAYERS for layer in layers)
        self.max_batch = max_batch if is_batchable else 1
        # A state of a fixed size would absorb the padding, so such models read each joining sequence by itself.
        self._reads_one_by_one = not is_batchable or any(_is_recurrent(layer) for layer in layers)
        self._has_attention = any(hasattr(layer, "keys") for layer in layers)
        self.token_capacity = (cache_bytes or _default_cache_bytes(model.device)) // _cache_bytes_per_token(model)
        self._forward_parameters = frozenset(inspect.signature(model.forward).parameters)
        self._cache: Any = None
        self._rows = self._width = 0

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        """See `DecodingBatch.advance`."""
        with self._torch.inference_mode():
            is_running = len(tokens[0]) < lengths[0]
            logits = self._step(tokens, lengths) if is_running else self._join(first, tokens)
            return logits.float().cpu().numpy()

    def move(self, row: int, to: int, length: int) -> None:
        """See `DecodingBatch.move`."""

        def copy_row(tensor: Any) -> Any:
            tensor[to] = tensor[row]
            return tensor

        with self._torch.inference_mode():
            self._map_tensors(copy_row)

    def release(self) -> None:
        """See `DecodingBatch.release`."""
        self._cache = None
        self._rows = self._width = 0

    def _join(self, first: int, texts: Sequence[Sequence[int]]) -> Any:
        if first == 0:
            self.release()
        self._drop_rows_from(first)
        logits = []
        for group in [[text] for text in texts] if self._reads_one_by_one else [texts]:
            cache, width = self._new_cache(), max(map(len, group))
            padded = [[0] * (width - len(text)) + list(text) for text in group]
            logits.append(self._forward(padded, [len(text) for text in group], cache, width))
            if self._cache is None:
                self._cache, self._width = cache, width
            else:
                self._append_rows(cache, width)
            self._rows += len(group)
        return self._torch.cat(logits)

    def _step(self, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        self._drop_rows_from(len(tokens))
        unused = self._width + 1 - max(lengths)
        # Once the longest rows have ended, their columns are padding for all others. Dropping them copies the caches.
        if unused > max(64, self._width // 4):
            for layer in self._cache.layers:
                _narrow(layer, self._width - unused)
            self._width -= unused
        self._width += 1
        return self._forward(tokens, lengths, self._cache, self._width)

    def _forward(self, tokens: Sequence[Sequence[int]], lengths: Sequence[int], cache: Any, width: int) -> Any:
        """Return the logits after each row's last token, shape (rows, vocabulary), and extend the cache in place."""
        torch, device = self._torch, self._model.device
        new, row_lengths = len(tokens[0]), torch.tensor(lengths, device=device)[:, None]
        inputs = {
            "input_ids": torch.tensor([list(row) for row in tokens], device=device),
            cache_argument(self._model): cache,
        }
        if self._has_attention and any(length < width for length in lengths):
            inputs["attention_mask"] = (torch.arange(width, device=device)[None] >= width - row_lengths).long()
        if "position_ids" in self._forward_parameters:
            positions = torch.arange(new, device=device)[None] - new + row_lengths
            inputs["position_ids"] = positions.clamp(min=0)
        if "logits_to_keep" in self._forward_parameters:
            inputs["logits_to_keep"] = 1
        return self._model(**inputs, use_cache=True).logits[:, -1]

    def _drop_rows_from(self, first: int) -> None:
        if first < self._rows:
            self._map_tensors(lambda tensor: tensor[:first])
        self._rows = first

    def _append_rows(self, cache: Any, width: int) -> None:
        self._width = max(self._width, width)
        for layer, joining in zip(self._cache.layers, cache.layers, strict=True):
            for padded_layer in (layer, joining):
                _widen(padded_layer, self._width)
            joining_tensors = iter(_row_tensors(joining))
            _set_row_tensors(
                layer, [self._torch.cat([tensor, next(joining_tensors)]) for tensor in _row_tensors(layer)]
            )

    def _map_tensors(self, function: Callable[[Any], Any]) -> None:
        for layer in self._cache.layers:
            _set_row_tensors(layer, [function(tensor) for tensor in _row_tensors(layer)])


def cache_argument(model: Any) -> str:
    """Return the name of the cache among the arguments of a model's `forward`."""
    parameters = inspect.signature(model.forward).parameters
    # transformers renames `past_key_values` to `cache` in 5.24, and removes the old name in 5.40.
    return next((name for name in ("cache_params", "cache") if name in parameters), "past_key_values")


def _is_recurrent(layer: Any) -> bool:
    return hasattr(layer, "recurrent_states")


def _row_tensors(layer: Any) -> list[Any]:
    """Return a layer's tensors, whose first dimension is the rows."""
    if _is_recurrent(layer):
        states = (layer.conv_states, layer.recurrent_states)
        return [tensor for by_name in states for tensor in by_name.values() if tensor is not None]
    return [] if layer.keys is None else [layer.keys, layer.values]


def _set_row_tensors(layer: Any, tensors: Sequence[Any]) -> None:
    """Replace the tensors that `_row_tensors` returns, in the same order."""
    if not _is_recurrent(layer):
        if tensors:
            layer.keys, layer.values = tensors
        return
    remaining = iter(tensors)
    for states in (layer.conv_states, layer.recurrent_states):
        for name, tensor in states.items():
            if tensor is not None:
                states[name] = next(remaining)


def _stored_columns(layer: Any, width: int) -> int:
    """Return how many of the columns an attention layer stores; one with a sliding window stores the last ones."""
    return min(width, layer.sliding_window - 1) if hasattr(layer, "sliding_window") else width


def _widen(layer: Any, width: int) -> None:
    """Pad an attention layer on the left to a number of columns."""
    import torch

    if getattr(layer, "keys", None) is None:
        return
    missing = _stored_columns(layer, width) - layer.keys.shape[-2]
    if missing > 0:
        layer.keys, layer.values = (
            torch.nn.functional.pad(tensor, (0, 0, missing, 0)) for tensor in (layer.keys, layer.values)
        )
    if hasattr(layer, "cumulative_length"):
        layer.cumulative_length = width


def _narrow(layer: Any, width: int) -> None:
    """Drop an attention layer's first columns, which are padding in all rows."""
    if getattr(layer, "keys", None) is None:
        return
    stored = _stored_columns(layer, width)
    layer.keys, layer.values = layer.keys[:, :, -stored:], layer.values[:, :, -stored:]
    if hasattr(layer, "cumulative_length"):
        layer.cumulative_length = width


def _default_cache_bytes(device: Any) -> int:
    if device.type != "cuda":
        return _CPU_CACHE_BYTES
    import torch

    # The other half is for the forward passes, and for the moments in which caches are copied.
    return max(_CPU_CACHE_BYTES, torch.cuda.mem_get_info(device)[0] // 2)


def _cache_bytes_per_token(model: Any) -> int:
    config = model.config.get_text_config()
    query_heads = getattr(config, "num_attention_heads", 0)
    if not query_heads:  # a model without attention, whose states have a fixed size
        return 1
    heads = getattr(config, "num_key_value_heads", None) or query_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // query_heads
    return int(config.num_hidden_layers * heads * size * 2 * model.dtype.itemsize)

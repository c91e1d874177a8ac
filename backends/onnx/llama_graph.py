"""The network of the Llama family as an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taleward.backends.onnx.graph import Graph, Session
from taleward.backends.onnx.weights import Weights, int8_weights

_FAMILY = ("llama", "mistral", "qwen2", "qwen3")


def why_not(config: Mapping[str, Any]) -> str:
    """Why a model cannot be run here, by its `config.json`; empty where it can."""
    rope = _rope(config)
    wanted = {
        "model_type": _FAMILY,
        "hidden_act": ("silu",),
        "quantization_config": (None,),
        "use_sliding_window": (None, False),
        "rope_type": ("default", "linear", "llama3"),
        "partial_rotary_factor": (None, 1, 1.0),
    }
    told = {**config, "rope_type": rope["rope_type"], "partial_rotary_factor": rope.get("partial_rotary_factor")}
    other = {name: told.get(name) for name, taken in wanted.items() if told.get(name) not in taken}
    if not other and _size(config) % 16:
        other = {"head_dim": _size(config)}
    return f"its config.json has {other}" if other else ""


def llama_session(config: Mapping[str, Any], files: Sequence[Path], precision: str) -> Session:
    """The network: tokens (texts, new) and the cache of earlier ones to logits (texts, vocabulary).

    `last` holds each text's last position from 0, `length` the longest text's tokens, `picked` (texts, 1) which of the
    new tokens the logits are for. `past_key0` and the like have shape (texts, key heads, room, head size); given out
    where they came in, they grow in place. More than one new token behind a cache is taken for one text at a time.

    Args:
        config: The model's `config.json`, see `why_not`.
        files: Its safetensors files.
        precision: `float32` or `int8`.
    """
    return _Builder(config, files, precision).session()


def reading_session(config: Mapping[str, Any], files: Sequence[Path], precision: str) -> Session:
    """The network without caches: tokens (texts, new) to what it expects of some of them.

    `picked` (many, 2) holds text and position of the tokens before those that are scored, `target` (many, 1) the scored
    ones. Given out are `logprob` (many, 1), their log-probabilities, and `best` (many, 1), the most likely tokens.

    Args:
        config: The model's `config.json`, see `why_not`.
        files: Its safetensors files.
        precision: `float32` or `int8`.
    """
    return _Builder(config, files, precision).reading()


class _Builder:
    def __init__(self, config: Mapping[str, Any], files: Sequence[Path], precision: str) -> None:
        self.config, self.graph = config, Graph()
        self.epsilon, self.size = float(config["rms_norm_eps"]), _size(config)
        self.heads = int(config["num_attention_heads"])
        self.key_heads = int(config.get("num_key_value_heads") or self.heads)
        self.layers = int(config["num_hidden_layers"])
        plain = Weights(files)
        self.head = "lm_head.weight" if "lm_head.weight" in plain else "model.embed_tokens.weight"
        linear = [name for name in plain if name.endswith("_proj.weight")]
        self.weights = int8_weights(list(files), [*linear, self.head]) if precision == "int8" else plain

    def session(self) -> Session:
        graph = self.graph
        graph.output("logits", "float32", ("texts", self.config["vocab_size"]))
        x = self._hidden(cached=True)
        x = graph.node("GatherND", x, graph.input("picked", "int64", ("texts", 1)), batch_dims=1)
        graph.node("Identity", self._linear(x, self.head.removesuffix(".weight")), to=("logits",))
        return graph.session(threads=1)

    def reading(self) -> Session:
        graph = self.graph
        graph.output("logprob", "float32", ("many", 1))
        graph.output("best", "int64", ("many", 1))
        x = self._hidden(cached=False)
        x = graph.node("GatherND", x, graph.input("picked", "int64", ("many", 2)))
        logprobs = graph.node("LogSoftmax", self._linear(x, self.head.removesuffix(".weight")), axis=1)
        target = graph.input("target", "int64", ("many", 1))
        graph.node("GatherElements", logprobs, target, to=("logprob",), axis=1)
        graph.node("ArgMax", logprobs, to=("best",), axis=1, keepdims=1)
        return graph.session(threads=1)

    def _hidden(self, *, cached: bool) -> str:
        """The states behind the last layer, shape (texts, new, hidden)."""
        graph, weights = self.graph, self.weights
        tokens = graph.input("tokens", "int64", ("texts", "new"))
        self.where = graph.input("last", "int32", ("texts",)), graph.input("length", "int32", ())
        self.rotary = tuple(map(graph.constant, _rotary(self.config, self.size)))
        stream = graph.node("Gather", graph.constant(weights["model.embed_tokens.weight"]), tokens)
        x = self._norm(stream, "model.layers.0.input_layernorm.weight")
        for layer in range(self.layers):
            part = f"model.layers.{layer}."
            mixed = self._linear(self._attention(x, layer, cached), f"{part}self_attn.o_proj")
            stream, x = self._add_and_norm(stream, mixed, f"{part}post_attention_layernorm.weight")
            gate = self._linear(x, f"{part}mlp.gate_proj")
            wide = graph.node("Mul", gate, graph.node("Sigmoid", gate))
            wide = graph.node("Mul", wide, self._linear(x, f"{part}mlp.up_proj"))
            narrow = self._linear(wide, f"{part}mlp.down_proj")
            last = layer + 1 == self.layers
            after = "model.norm.weight" if last else f"model.layers.{layer + 1}.input_layernorm.weight"
            stream, x = self._add_and_norm(stream, narrow, after)
        return x

    def _attention(self, x: str, layer: int, cached: bool) -> str:
        graph, part = self.graph, f"model.layers.{layer}.self_attn."
        past, present = ["", ""], [f"key{layer}", f"value{layer}"]
        if cached:
            past = [
                graph.input(f"past_{name}{layer}", "float32", ("texts", self.key_heads, "past", self.size))
                for name in ("key", "value")
            ]
            for name in present:
                graph.output(name, "float32", ("texts", self.key_heads, "all", self.size))
        parts = [f"{part}{name}_proj" for name in "qkv"]
        if f"{part}q_norm.weight" in self.weights:
            query, key, value = (self._linear(x, name) for name in parts)
            states = (
                self._head_norm(query, f"{part}q_norm.weight", self.heads),
                self._head_norm(key, f"{part}k_norm.weight", self.key_heads),
                value,
            )
        else:
            states = (self._linear(x, *parts), "", "")
        window = self.config.get("sliding_window")
        return graph.node(
            "GroupQueryAttention",
            *(*states, *past, *self.where, *self.rotary),
            to=(f"mixed{layer}", *present),
            fused=True,
            num_heads=self.heads,
            kv_num_heads=self.key_heads,
            do_rotary=1,
            scale=self.size**-0.5,
            local_window_size=int(window) if window and self.config["model_type"] == "mistral" else -1,
        )

    def _linear(self, x: str, *names: str) -> str:
        """One linear layer, or several of one input at once."""
        import numpy

        biases = [self.weights[f"{name}.bias"] for name in names if f"{name}.bias" in self.weights]
        bias = numpy.concatenate(biases) if biases else None
        if f"{names[0]}.weight.int8" not in self.weights:
            joint = numpy.concatenate([self.weights[f"{name}.weight"] for name in names])
            return self.graph.linear(x, joint, bias)
        whole = numpy.concatenate([self.weights[f"{name}.weight.int8"] for name in names], axis=1)
        scales = numpy.concatenate([self.weights[f"{name}.weight.scales"] for name in names])
        return self.graph.linear_int8(x, whole, scales, bias)

    def _norm(self, x: str, name: str) -> str:
        scale = self.graph.constant(self.weights[name])
        return self.graph.node("SimplifiedLayerNormalization", x, scale, epsilon=self.epsilon, axis=-1)

    def _head_norm(self, x: str, name: str, heads: int) -> str:
        """Each head's part of the vectors by itself."""
        apart = self.graph.node("Reshape", x, self.graph.constant([0, 0, heads, self.size], "int64"))
        return self.graph.node(
            "Reshape", self._norm(apart, name), self.graph.constant([0, 0, heads * self.size], "int64")
        )

    def _add_and_norm(self, stream: str, x: str, name: str) -> tuple[str, str]:
        outputs = (f"normed {name}", "", "", f"stream {name}")
        inputs = (stream, x, self.graph.constant(self.weights[name]))
        normed = self.graph.node(
            "SkipSimplifiedLayerNormalization", *inputs, to=outputs, fused=True, epsilon=self.epsilon
        )
        return outputs[3], normed


def _size(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """How positions are told, whichever release of transformers wrote the configuration."""
    told = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {
        **told,
        "rope_theta": told.get("rope_theta", config.get("rope_theta", 10000.0)),
        "rope_type": told.get("rope_type", told.get("type", "default")),
    }


def _rotary(config: Mapping[str, Any], size: int) -> tuple[Any, Any]:
    """Cosines and sines of the angles by which positions turn (Su et al. 2021, arXiv 2104.09864).

    `llama3` slows the slow turns down, as Llama 3.1 does to reach further (its model card; the reference code of
    transformers, `modeling_rope_utils`).
    """
    import numpy

    rope = _rope(config)
    turns = float(rope["rope_theta"]) ** -(numpy.arange(0, size, 2) / size)
    if rope["rope_type"] == "linear":
        turns = turns / rope["factor"]
    elif rope["rope_type"] == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        waves = rope["original_max_position_embeddings"] * turns / (2 * math.pi)
        kept = numpy.clip((waves - low) / (high - low), 0, 1)
        turns = kept * turns + (1 - kept) * turns / rope["factor"]
    angles = numpy.outer(numpy.arange(int(config["max_position_embeddings"])), turns)
    return numpy.cos(angles), numpy.sin(angles)

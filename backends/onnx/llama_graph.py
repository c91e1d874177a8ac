"""The network of the Llama family as an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taleward.backends.onnx.graph import Graph, Session
from taleward.backends.onnx.quantized_weights import Weights, int8_weights

_MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")


def unsupported_reason(config: Mapping[str, Any]) -> str:
    """Explain why this engine cannot run a model.

    Args:
        config: The model's `config.json`.

    Returns:
        The reason, or an empty string if the model is supported.
    """
    rope = _rope_parameters(config)
    # A wrong guess here would not fail: the network would run and write nonsense. So every setting that changes the
    # computation is listed, and a value that is not known to be right sends the model to transformers.
    supported = {
        "model_type": _MODEL_TYPES,
        "hidden_act": ("silu",),
        "quantization_config": (None,),
        "use_sliding_window": (None, False),
        "rope_type": ("default", "linear", "llama3"),
        "partial_rotary_factor": (None, 1, 1.0),
    }
    settings = {**config, "rope_type": rope["rope_type"], "partial_rotary_factor": rope.get("partial_rotary_factor")}
    unsupported = {name: settings.get(name) for name, values in supported.items() if settings.get(name) not in values}
    # ONNX Runtime's GroupQueryAttention rotates heads of such sizes only.
    if not unsupported and _head_size(config) % 16:
        unsupported = {"head_dim": _head_size(config)}
    return f"its config.json has {unsupported}" if unsupported else ""


def llama_session(config: Mapping[str, Any], files: Sequence[Path], precision: str) -> Session:
    """Build the network for generation: new tokens and a key-value cache to next-token logits.

    Inputs:

    * `tokens` (texts, new): the new tokens, padded at the end.
    * `last` (texts,): position of each text's last token, from 0.
    * `length` (): length of the longest text.
    * `picked` (texts, 1): index of the new token whose logits are returned.
    * `past_key0`, `past_value0` and so on (texts, key heads, capacity, head size): the cache.

    Outputs are `logits` (texts, vocabulary) and the caches `key0`, `value0` and so on; bind these to the input arrays,
    and the caches grow in place. To add several new tokens behind a cache, run one text at a time.

    Args:
        config: The model's `config.json`, see `unsupported_reason`.
        files: Its safetensors files.
        precision: `float32` or `int8`.
    """
    return _LlamaGraphBuilder(config, files, precision).generation_session()


def scoring_session(config: Mapping[str, Any], files: Sequence[Path], precision: str) -> Session:
    """Build the network for scoring: tokens to the log-probabilities of some of them, without a cache.

    Inputs are `tokens`, `last` and `length` as for `llama_session`, and

    * `picked` (scored, 2): text and position of the token before each scored one.
    * `target` (scored, 1): the scored tokens.

    Outputs are `logprob` (scored, 1), the scored tokens' log-probabilities, and `best` (scored, 1), the most likely
    tokens.

    Args:
        config: The model's `config.json`, see `unsupported_reason`.
        files: Its safetensors files.
        precision: `float32` or `int8`.
    """
    return _LlamaGraphBuilder(config, files, precision).scoring_session()


class _LlamaGraphBuilder:
    """Builds one graph from a configuration and weights; use it once."""

    def __init__(self, config: Mapping[str, Any], files: Sequence[Path], precision: str) -> None:
        self.config, self.graph = config, Graph()
        self.epsilon, self.head_size = float(config["rms_norm_eps"]), _head_size(config)
        self.heads = int(config["num_attention_heads"])
        self.key_heads = int(config.get("num_key_value_heads") or self.heads)
        self.layers = int(config["num_hidden_layers"])
        checkpoint = Weights(files)
        # The checkpoint tells, not `tie_word_embeddings`: configurations omit it, and its default depends on the model.
        self.output_layer = "lm_head.weight" if "lm_head.weight" in checkpoint else "model.embed_tokens.weight"
        linear = [name for name in checkpoint if name.endswith("_proj.weight")]
        quantize = precision == "int8"
        self.weights = int8_weights(list(files), [*linear, self.output_layer]) if quantize else checkpoint

    def generation_session(self) -> Session:
        graph = self.graph
        graph.output("logits", "float32", ("texts", self.config["vocab_size"]))
        x = self._hidden_states(cached=True)
        # The output layer is the largest of a small model, and generation needs it for one token per text.
        x = graph.node("GatherND", x, graph.input("picked", "int64", ("texts", 1)), batch_dims=1)
        graph.node("Identity", self._linear(x, self.output_layer.removesuffix(".weight")), to=("logits",))
        # One thread per run: replicas, or batches when scoring, run in parallel instead.
        return graph.session(threads=1)

    def scoring_session(self) -> Session:
        graph = self.graph
        graph.output("logprob", "float32", ("scored", 1))
        graph.output("best", "int64", ("scored", 1))
        x = self._hidden_states(cached=False)
        x = graph.node("GatherND", x, graph.input("picked", "int64", ("scored", 2)))
        # The logits stay inside the graph: copied out, they would be the vocabulary times larger than the scores.
        logprobs = graph.node("LogSoftmax", self._linear(x, self.output_layer.removesuffix(".weight")), axis=1)
        target = graph.input("target", "int64", ("scored", 1))
        graph.node("GatherElements", logprobs, target, to=("logprob",), axis=1)
        graph.node("ArgMax", logprobs, to=("best",), axis=1, keepdims=1)
        return graph.session(threads=1)

    def _hidden_states(self, *, cached: bool) -> str:
        """Add all layers, and return the name of the normalized hidden states, shape (texts, new, hidden)."""
        graph, weights = self.graph, self.weights
        tokens = graph.input("tokens", "int64", ("texts", "new"))
        self.lengths = graph.input("last", "int32", ("texts",)), graph.input("length", "int32", ())
        self.rotary = tuple(map(graph.constant, _rotary_tables(self.config, self.head_size)))
        residual = graph.node("Gather", graph.constant(weights["model.embed_tokens.weight"]), tokens)
        x = self._norm(residual, "model.layers.0.input_layernorm.weight")
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}."
            attended = self._linear(self._attention(x, layer, cached), f"{prefix}self_attn.o_proj")
            residual, x = self._add_and_norm(residual, attended, f"{prefix}post_attention_layernorm.weight")
            gate = self._linear(x, f"{prefix}mlp.gate_proj")
            wide = graph.node("Mul", gate, graph.node("Sigmoid", gate))
            wide = graph.node("Mul", wide, self._linear(x, f"{prefix}mlp.up_proj"))
            narrow = self._linear(wide, f"{prefix}mlp.down_proj")
            # The fused operator adds and normalizes at once, so each layer ends with the next one's first norm.
            is_last = layer + 1 == self.layers
            next_norm = "model.norm.weight" if is_last else f"model.layers.{layer + 1}.input_layernorm.weight"
            residual, x = self._add_and_norm(residual, narrow, next_norm)
        return x

    def _attention(self, x: str, layer: int, cached: bool) -> str:
        graph, prefix = self.graph, f"model.layers.{layer}.self_attn."
        past, present = ["", ""], [f"key{layer}", f"value{layer}"]
        if cached:
            past = [
                graph.input(f"past_{name}{layer}", "float32", ("texts", self.key_heads, "past", self.head_size))
                for name in ("key", "value")
            ]
            for name in present:
                graph.output(name, "float32", ("texts", self.key_heads, "all", self.head_size))
        projections = [f"{prefix}{name}_proj" for name in "qkv"]
        if f"{prefix}q_norm.weight" in self.weights:  # Qwen3 normalizes queries and keys
            query, key, value = (self._linear(x, name) for name in projections)
            states = (
                self._head_norm(query, f"{prefix}q_norm.weight", self.heads),
                self._head_norm(key, f"{prefix}k_norm.weight", self.key_heads),
                value,
            )
        else:
            # Packed into one: a single larger product, which the operator takes as its first input.
            states = (self._linear(x, *projections), "", "")
        # Of the supported models only Mistral uses a window whenever its configuration has one; Qwen2 has the number
        # in its configuration, but off by default (`use_sliding_window`).
        window = self.config.get("sliding_window")
        return graph.node(
            "GroupQueryAttention",
            *(*states, *past, *self.lengths, *self.rotary),
            to=(f"mixed{layer}", *present),
            fused=True,
            num_heads=self.heads,
            kv_num_heads=self.key_heads,
            do_rotary=1,
            scale=self.head_size**-0.5,
            local_window_size=int(window) if window and self.config["model_type"] == "mistral" else -1,
        )

    def _linear(self, x: str, *names: str) -> str:
        """Add a linear layer, or several that share an input as one, with their outputs side by side."""
        import numpy

        biases = [self.weights[f"{name}.bias"] for name in names if f"{name}.bias" in self.weights]
        bias = numpy.concatenate(biases) if biases else None
        if f"{names[0]}.weight.int8" not in self.weights:
            weight = numpy.concatenate([self.weights[f"{name}.weight"] for name in names])
            return self.graph.linear(x, weight, bias)
        weight = numpy.concatenate([self.weights[f"{name}.weight.int8"] for name in names], axis=1)
        scales = numpy.concatenate([self.weights[f"{name}.weight.scales"] for name in names])
        return self.graph.linear_int8(x, weight, scales, bias)

    def _norm(self, x: str, name: str) -> str:
        scale = self.graph.constant(self.weights[name])
        return self.graph.node("SimplifiedLayerNormalization", x, scale, epsilon=self.epsilon, axis=-1)

    def _head_norm(self, x: str, name: str, heads: int) -> str:
        """Normalize each head's part of the vectors separately."""
        by_head = self.graph.node("Reshape", x, self.graph.constant([0, 0, heads, self.head_size], "int64"))
        return self.graph.node(
            "Reshape", self._norm(by_head, name), self.graph.constant([0, 0, heads * self.head_size], "int64")
        )

    def _add_and_norm(self, residual: str, x: str, name: str) -> tuple[str, str]:
        """Add `x` to the residual stream; return the names of the sum and of the normalized sum."""
        outputs = (f"normed {name}", "", "", f"stream {name}")
        inputs = (residual, x, self.graph.constant(self.weights[name]))
        normalized = self.graph.node(
            "SkipSimplifiedLayerNormalization", *inputs, to=outputs, fused=True, epsilon=self.epsilon
        )
        return outputs[3], normalized


def _head_size(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _rope_parameters(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of rotary embeddings, whichever release of transformers wrote the configuration."""
    # `rope_parameters` holds all of them since transformers 5; before, `rope_scaling` and `rope_theta` lay side by
    # side, and older files say `type` instead of `rope_type`.
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {
        **parameters,
        "rope_theta": parameters.get("rope_theta", config.get("rope_theta", 10000.0)),
        "rope_type": parameters.get("rope_type", parameters.get("type", "default")),
    }


def _rotary_tables(config: Mapping[str, Any], head_size: int) -> tuple[Any, Any]:
    """Compute cosines and sines of rotary position embeddings (Su et al. 2021, arXiv 2104.09864).

    `llama3` stretches the slowly rotating dimensions to extend the context, as in Llama 3.1's model card and
    `modeling_rope_utils` of transformers.

    Returns:
        Two arrays of shape (context length, head size / 2).
    """
    import numpy

    rope = _rope_parameters(config)
    frequencies = float(rope["rope_theta"]) ** -(numpy.arange(0, head_size, 2) / head_size)
    if rope["rope_type"] == "linear":
        frequencies = frequencies / rope["factor"]
    elif rope["rope_type"] == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        rotations = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
        unchanged = numpy.clip((rotations - low) / (high - low), 0, 1)
        frequencies = unchanged * frequencies + (1 - unchanged) * frequencies / rope["factor"]
    angles = numpy.outer(numpy.arange(int(config["max_position_embeddings"])), frequencies)
    return numpy.cos(angles), numpy.sin(angles)

"""Language models of the Llama architecture on ONNX Runtime (Touvron et al. 2023, arXiv 2302.13971)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from taleward.backends.graph import Graph, Session
from taleward.backends.sampling import Sampling, choose, generator
from taleward.core.errors import BackendError, MissingExtra


class Llama:
    """A small Llama in Hugging Face layout, in float32 on one thread of a CPU.

    Args:
        folder: Holds `config.json`, `generation_config.json`, `model.safetensors` and `tokenizer.json`.

    Raises:
        BackendError: The folder lacks a file, or its architecture is another one.
        MissingExtra: The extra `local` is not installed.
    """

    chat_template = False

    def __init__(self, folder: Path) -> None:
        try:
            from safetensors.numpy import load_file
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtra("an embedded model", "local") from error
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
            weights = load_file(folder / "model.safetensors")
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except (OSError, ValueError) as error:
            raise BackendError(f"the model in {folder} could not be loaded: {error}") from error
        _check(config, folder)
        # Text from people must never be read as a control token.
        self._tokenizer.encode_special_tokens = True
        self._start, self._end = int(config["bos_token_id"]), int(config["eos_token_id"])
        self.context_length = int(config["max_position_embeddings"])
        self.defaults = Sampling(
            temperature=generation["temperature"],
            top_p=generation["top_p"],
            repetition_penalty=generation["repetition_penalty"],
            max_tokens=generation["max_new_tokens"],
        )
        self._layers = int(config["num_hidden_layers"])
        self._empty = (1, int(config["num_key_value_heads"]), 0, int(config["head_dim"]))
        self._session = llama_session(config, weights)

    def encode(self, text: str) -> list[int]:
        """A text's tokens."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens; bytes that are no whole character become U+FFFD."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def prompt(self, turns: Sequence[Mapping[str, Any]]) -> list[int]:
        """The texts of all turns, joined by empty lines, behind the token that begins a text."""
        return [self._start, *self.encode("\n\n".join(str(turn["content"]) for turn in turns))]

    def tokens(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> Iterator[int]:
        """Tokens after the prompt, up to the model's end token (not given out) or `most` of them."""
        import numpy

        random, seen, fresh = generator(seed), list(prompt), list(prompt)
        names = [f"{part}{layer}" for layer in range(self._layers) for part in ("key", "value")]
        cache = {f"past_{name}": numpy.zeros(self._empty, dtype=numpy.float32) for name in names}
        for _ in range(most):
            logits, *present = self._session.run(
                {
                    "tokens": numpy.array([fresh], dtype=numpy.int64),
                    "last": numpy.array([len(seen) - 1], dtype=numpy.int32),
                    "length": numpy.array(len(seen), dtype=numpy.int32),
                    **cache,
                }
            )
            cache = {f"past_{name}": value for name, value in zip(names, present, strict=True)}
            token = choose(logits[0, -1], seen, sampling, random)
            if token == self._end:
                return
            yield token
            seen.append(token)
            fresh = [token]


def _check(config: Mapping[str, Any], folder: Path) -> None:
    expected = {
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
    }
    other = {k: config.get(k) for k, v in expected.items() if config.get(k) != v}
    if config.get("rope_parameters", {}).get("rope_type") != "default":
        other["rope_parameters"] = config.get("rope_parameters")
    if other:
        raise BackendError(
            f"the model in {folder} is no Llama that runs here: its config.json has {other}.",
            hint=f"Load it with transformers: 'hf:{folder}'.",
        )


def llama_session(config: Mapping[str, Any], weights: Mapping[str, Any]) -> Session:
    """The network: tokens (texts, new) and the cache of earlier ones to logits (texts, new, vocabulary).

    `last` holds each text's last position from 0, `length` the longest text's tokens; `past_key0` and the like have
    shape (texts, key heads, earlier, head size) and come back longer by the new tokens.
    """
    import numpy

    graph, epsilon = Graph(), config["rms_norm_eps"]
    heads, key_heads, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    inverse = config["rope_parameters"]["rope_theta"] ** -(numpy.arange(0, size, 2) / size)
    angles = numpy.outer(numpy.arange(config["max_position_embeddings"]), inverse)
    rotary = graph.constant(numpy.cos(angles)), graph.constant(numpy.sin(angles))
    graph.output("logits", "float32", ("texts", "new", config["vocab_size"]))
    tokens = graph.input("tokens", "int64", ("texts", "new"))
    where = graph.input("last", "int32", ("texts",)), graph.input("length", "int32", ())
    embeddings = weights["model.embed_tokens.weight"].astype(numpy.float32)
    stream = graph.node("Gather", graph.constant(embeddings), tokens)
    first = graph.constant(weights["model.layers.0.input_layernorm.weight"])
    x = graph.node("SimplifiedLayerNormalization", stream, first, epsilon=epsilon, axis=-1)

    def add_and_norm(stream: str, x: str, name: str) -> tuple[str, str]:
        outputs = (f"normed {name}", "", "", f"stream {name}")
        inputs = (stream, x, graph.constant(weights[name]))
        normed = graph.node("SkipSimplifiedLayerNormalization", *inputs, to=outputs, fused=True, epsilon=epsilon)
        return outputs[3], normed

    for layer in range(config["num_hidden_layers"]):
        part = f"model.layers.{layer}."
        joint = numpy.concatenate([weights[f"{part}self_attn.{name}_proj.weight"] for name in "qkv"])
        past = [
            graph.input(f"past_{name}{layer}", "float32", ("texts", key_heads, "past", size))
            for name in ("key", "value")
        ]
        present = [f"key{layer}", f"value{layer}"]
        for name in present:
            graph.output(name, "float32", ("texts", key_heads, "all", size))
        mixed = graph.node(
            "GroupQueryAttention",
            *(graph.linear(x, joint), "", "", *past, *where, *rotary),
            to=(f"mixed{layer}", *present),
            fused=True,
            num_heads=heads,
            kv_num_heads=key_heads,
            do_rotary=1,
            scale=size**-0.5,
        )
        mixed = graph.linear(mixed, weights[f"{part}self_attn.o_proj.weight"])
        stream, x = add_and_norm(stream, mixed, f"{part}post_attention_layernorm.weight")
        gate = graph.linear(x, weights[f"{part}mlp.gate_proj.weight"])
        wide = graph.node("Mul", gate, graph.node("Sigmoid", gate))
        wide = graph.node("Mul", wide, graph.linear(x, weights[f"{part}mlp.up_proj.weight"]))
        narrow = graph.linear(wide, weights[f"{part}mlp.down_proj.weight"])
        last = layer + 1 == config["num_hidden_layers"]
        after = "model.norm.weight" if last else f"model.layers.{layer + 1}.input_layernorm.weight"
        stream, x = add_and_norm(stream, narrow, after)
    graph.node("MatMul", x, graph.constant(embeddings.T), to=("logits",))
    return graph.session(threads=1)

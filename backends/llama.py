"""Language models of the Llama architecture on ONNX Runtime (Touvron et al. 2023, arXiv 2302.13971)."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from taleward.backends.engine import Engine
from taleward.backends.graph import Graph, Session
from taleward.backends.sampling import Sampling
from taleward.core.errors import BackendError, MissingExtra


class Llama:
    """A small Llama in Hugging Face layout, in float32 on CPUs; callers at the same time share its batches.

    Args:
        folder: Holds `config.json`, `generation_config.json`, `model.safetensors` and `tokenizer.json`.
        replicas: Copies at work at once, one thread each; `None` takes one a core, up to four.
        rows: Texts in a batch of a replica, at most.

    Raises:
        BackendError: The folder lacks a file, or its architecture is another one.
        MissingExtra: The extra `local` is not installed.
    """

    chat_template = False

    def __init__(self, folder: Path, *, replicas: int | None = None, rows: int = 32) -> None:
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
        self._start = int(config["bos_token_id"])
        self.context_length = int(config["max_position_embeddings"])
        self.defaults = Sampling(
            temperature=generation["temperature"],
            top_p=generation["top_p"],
            repetition_penalty=generation["repetition_penalty"],
            max_tokens=generation["max_new_tokens"],
        )
        session = llama_session(config, weights)
        copies = [LlamaRows(session, config, rows) for _ in range(replicas or min(4, os.cpu_count() or 1))]
        self._engine = Engine(copies, end=int(config["eos_token_id"]))

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

    def write(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> list[int]:
        """All tokens after the prompt, up to the model's end token (not given out) or `most` of them."""
        return self._engine.write(prompt, sampling, seed, most)

    async def awrite(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> list[int]:
        """As `write`, without blocking the event loop."""
        return await self._engine.awrite(prompt, sampling, seed, most)

    def tokens(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> Iterator[int]:
        """As `write`, token by token."""
        return self._engine.tokens(prompt, sampling, seed, most)

    def atokens(self, prompt: Sequence[int], sampling: Sampling, seed: int | None, most: int) -> AsyncIterator[int]:
        """As `tokens`, without blocking the event loop."""
        return self._engine.atokens(prompt, sampling, seed, most)


class LlamaRows:
    """Texts under way in one replica: row after row of the key and value caches, which the network writes in place.

    Args:
        session: The network; replicas share it.
        config: The model's `config.json`.
        most: Rows at most.
    """

    def __init__(self, session: Session, config: Mapping[str, Any], most: int) -> None:
        self.most = most
        self.context_length = int(config["max_position_embeddings"])
        self._session, self._vocabulary = session, int(config["vocab_size"])
        self._heads, self._size = int(config["num_key_value_heads"]), int(config["head_dim"])
        layers = range(int(config["num_hidden_layers"]))
        self._names = [f"{part}{layer}" for layer in layers for part in ("key", "value")]
        self._cache: dict[str, Any] = {}
        self._room = 0

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        """Read new tokens into the rows from `first` on.

        Args:
            first: The first of the rows.
            tokens: Each row's new tokens, at least one; more than one only for a row that begins.
            lengths: Each row's tokens in all, the new ones included.

        Returns:
            The logits behind each row's last token, float32, shape (rows, vocabulary).
        """
        import numpy

        self._fit(max(lengths))
        count, new = len(tokens), max(map(len, tokens))
        padded = numpy.zeros((count, new), dtype=numpy.int64)
        for row, ids in enumerate(tokens):
            padded[row, : len(ids)] = ids
        logits = numpy.empty((count, self._vocabulary), dtype=numpy.float32)
        rows = {name: cache[first : first + count] for name, cache in self._cache.items()}
        inputs = {
            "tokens": padded,
            "last": numpy.asarray(lengths, dtype=numpy.int32) - numpy.int32(1),
            "length": numpy.asarray(max(lengths), dtype=numpy.int32),
            "picked": numpy.array([[len(ids) - 1] for ids in tokens], dtype=numpy.int64),
            **{f"past_{name}": cache for name, cache in rows.items()},
        }
        self._session.run_into(inputs, {"logits": logits, **rows})
        return logits

    def move(self, row: int, to: int, length: int) -> None:
        """Put a row of so many tokens in the place of another."""
        for cache in self._cache.values():
            cache[to, :, :length] = cache[row, :, :length]

    def _fit(self, length: int) -> None:
        """Make room for texts of so many tokens; it doubles, up to the context length."""
        import numpy

        if length <= self._room:
            return
        before, self._room = self._room, min(self.context_length, max(length, 2 * self._room, 128))
        for name in self._names:
            grown = numpy.zeros((self.most, self._heads, self._room, self._size), dtype=numpy.float32)
            if before:
                grown[:, :, :before] = self._cache[name]
            self._cache[name] = grown


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
    """The network: tokens (texts, new) and the cache of earlier ones to logits (texts, vocabulary).

    `last` holds each text's last position from 0, `length` the longest text's tokens, `picked` (texts, 1) which of the
    new tokens the logits are for. `past_key0` and the like have shape (texts, key heads, room, head size); given out
    where they came in, they grow in place.
    """
    import numpy

    graph, epsilon = Graph(), config["rms_norm_eps"]
    heads, key_heads, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    inverse = config["rope_parameters"]["rope_theta"] ** -(numpy.arange(0, size, 2) / size)
    angles = numpy.outer(numpy.arange(config["max_position_embeddings"]), inverse)
    rotary = graph.constant(numpy.cos(angles)), graph.constant(numpy.sin(angles))
    graph.output("logits", "float32", ("texts", config["vocab_size"]))
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
    x = graph.node("GatherND", x, graph.input("picked", "int64", ("texts", 1)), batch_dims=1)
    graph.node("MatMul", x, graph.constant(embeddings.T), to=("logits",))
    return graph.session(threads=1)

"""Write a model's folder as a GGUF file, as llama.cpp's converter does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_CONTROL, _NORMAL = 3, 1
_ARCHITECTURES = {"gemma3_text": "gemma3"}


def write_gguf(folder: Path, file: Path, *, architecture: str | None = None, without: str = "") -> Path:
    """Write a GGUF file.

    Args:
        folder: A causal language model with a byte-level tokenizer, in Hugging Face layout.
        file: The file to write.
        architecture: The architecture to claim instead of the model's own.
        without: Part of the names of tensors to leave out.
    """
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    own = _ARCHITECTURES.get(config["model_type"], config["model_type"])
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    rope = config["rope_parameters"]
    writer = gguf.GGUFWriter(file, architecture or own)
    writer.add_name("Tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_key_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if own == "gemma3":
        writer.add_sliding_window(config["sliding_window"])
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", _llama3_factors(config))
    _add_tokenizer(writer, folder, config)
    [arch] = [number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == own]
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        written_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if without and without in written_name:
            continue
        if own == "llama" and "q_proj" in name:
            tensor = _interleave(tensor, heads)
        if own == "llama" and "k_proj" in name:
            tensor = _interleave(tensor, key_heads)
        if own == "gemma3" and name.endswith("norm.weight"):
            tensor = tensor + 1
        writer.add_tensor(written_name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    control = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    tokens = {token_id: token for token, token_id in tokenizer["model"]["vocab"].items()} | control
    ids = sorted(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([tokens[token_id] for token_id in ids])
    writer.add_token_types([_CONTROL if token_id in control else _NORMAL for token_id in ids])
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_token_merges(merges)
    writer.add_eos_token_id(config["eos_token_id"])
    for token_id, token in control.items():
        if token == "<unk>":
            writer.add_unk_token_id(token_id)
    template = folder / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(template.read_text())


def _interleave(weight: Any, heads: int) -> Any:
    """Reorder the rows of a query or key projection: llama.cpp rotates neighboring dimensions, transformers halves."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def _llama3_factors(config: dict[str, Any]) -> Any:
    import numpy as np
    import torch
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](LlamaConfig(**config), torch.device("cpu"))
    size = config["head_dim"]
    plain = config["rope_parameters"]["rope_theta"] ** -(np.arange(0, size, 2) / size)
    return (plain / scaled.numpy()).astype(np.float32)

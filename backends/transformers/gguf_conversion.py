"""Convert GGUF files to folders in Hugging Face layout, which every engine loads.

transformers can load GGUF files itself, but takes 60 CPU seconds for the 93 MB of SmolLM2-135M on every load, ignores
the rotary embeddings of Llama 3, and replaces missing weights by random ones. This conversion takes 10, once, and gives
the same weights.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.backends.base.cached_folder import complete_or_absent
from taleward.backends.onnx.quantized_weights import conversion_cache_folder
from taleward.backends.transformers.gguf_header import GgufHeader, GgufTensor, check_gguf_architecture, read_gguf_header
from taleward.backends.transformers.hub_files import translate_load_errors
from taleward.core.errors import BackendError, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_CONVERSION_VERSION = "gguf-1"
"""Part of the cache key; to change with the conversion."""

_CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
}
_MODEL_TYPES = {"gemma3": "gemma3_text"}  # the text model alone; pictures are read by another file
_SETTINGS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
"""Entries of `config.json` and the settings that they are read from; all are required."""

# https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/tensor_mapping.py
_OUTER_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_ADDED_LAYER_TENSORS: dict[str, dict[str, str]] = {
    "qwen3": _HEAD_NORMS,
    "gemma3": {
        **_HEAD_NORMS,
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
}
_BIASES = {"qwen2": ("attn_q", "attn_k", "attn_v")}
_ROPE_FACTORS = "rope_freqs.weight"

_LLAMA3_ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""Constants of Llama 3.1 to 3.3, from their `config.json`; only the factor differs."""
_GEMMA3_LOCAL_THETA = 10000.0
_GEMMA3_27B_LAYERS = 62


def converted_folder(file: Path) -> Path:
    """Return a folder in Hugging Face layout with the model of a GGUF file, converting it on first use.

    Weights are stored in float16. The folder is in `TALEWARD_CACHE`, by default `~/.cache/taleward`, and is used until
    the file or transformers changes.

    Raises:
        BackendError: If the file cannot be read or converted.
        ConfigurationError: If its architecture is not supported.
        MissingExtra: If the extra `local` is not installed.
    """
    header = read_gguf_header(file)
    check_gguf_architecture(header, file)
    if not all(find_spec(package) for package in ("gguf", "safetensors", "transformers")):
        raise MissingExtra("a GGUF file", "local")
    path, stat = str(file.resolve()), file.stat()
    file_key, version_key = (
        hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
        for key in (path, [_CONVERSION_VERSION, version("transformers"), stat.st_size, stat.st_mtime_ns])
    )
    cache = conversion_cache_folder() / "gguf"
    folder = cache / f"{file.stem}-{file_key}-{version_key}"
    if not folder.is_dir():
        with complete_or_absent(folder) as unfinished:
            _convert(file, header, unfinished)
        for outdated in cache.glob(f"*-{file_key}-*"):
            if outdated != folder:
                shutil.rmtree(outdated, ignore_errors=True)
    return folder


def gguf_weights(file: Path, header: GgufHeader) -> Iterator[tuple[str, npt.NDArray[np.float16]]]:
    """Yield the tensors of a GGUF file in float16, with the names that they have in transformers.

    Raises:
        BackendError: If a tensor is missing, unknown, or not finite in float16.
    """
    import numpy

    for gguf_name, name in _tensor_names(file, header).items():
        weight = _adapt(header, gguf_name, _read_tensor(file, header.tensors[gguf_name])).astype(numpy.float16)
        if not numpy.isfinite(weight).all():
            raise BackendError(
                f"{file} could not be converted: {gguf_name} is not finite in float16.", hint="The file may be damaged."
            )
        yield name, numpy.ascontiguousarray(weight)


def _convert(file: Path, header: GgufHeader, folder: Path) -> None:
    from safetensors.numpy import save_file
    from transformers import PreTrainedTokenizerFast

    config = _config(file, header)
    with translate_load_errors(str(file), {}):
        # `AutoTokenizer` would read the whole configuration again, which takes longer than all the rest.
        tokenizer = PreTrainedTokenizerFast.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
        weights = dict(gguf_weights(file, header))
        # Loaders of transformers require the entry for the framework.
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(folder)
    ends = (header.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot"))
    tokens = {
        "bos_token_id": header.metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": list(dict.fromkeys(end for end in ends if end is not None)) or None,
        "pad_token_id": header.metadata.get("tokenizer.ggml.padding_token_id"),
    }
    (folder / "config.json").write_text(json.dumps({**config, **tokens}, indent=2), encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps(tokens, indent=2), encoding="utf-8")


def _tensor_names(file: Path, header: GgufHeader) -> dict[str, str]:
    """Return the names of the tensors, in GGUF and in transformers.

    Raises:
        BackendError: If tensors are missing, or there are others.
    """
    layer_tensors = {**_LAYER_TENSORS, **_ADDED_LAYER_TENSORS.get(header.architecture, {})}
    biases = _BIASES.get(header.architecture, ())
    names = dict(_OUTER_TENSORS)
    for layer in range(header.setting("block_count") or 0):
        for gguf_name, name in layer_tensors.items():
            names[f"blk.{layer}.{gguf_name}.weight"] = f"model.layers.{layer}.{name}.weight"
            if gguf_name in biases:
                names[f"blk.{layer}.{gguf_name}.bias"] = f"model.layers.{layer}.{name}.bias"
    # Without an output layer, the embeddings serve as one.
    missing = sorted(names.keys() - header.tensors.keys() - {"output.weight"})
    unknown = sorted(header.tensors.keys() - names.keys() - {_ROPE_FACTORS})
    if missing or unknown:
        problems = [f"missing {', '.join(missing[:3])}"] if missing else []
        problems += [f"unknown {', '.join(unknown[:3])}"] if unknown else []
        raise BackendError(
            f"{file} has not the tensors of a {header.architecture} model: {'; '.join(problems)}.",
            hint="The file may be damaged, or its model a variant that is not supported: run it with a server such as "
            "llama.cpp's, and use 'openai:NAME' with base_url=...",
        )
    return {gguf_name: name for gguf_name, name in names.items() if gguf_name in header.tensors}


def _config(file: Path, header: GgufHeader) -> dict[str, Any]:
    """Return the model's `config.json`.

    Raises:
        BackendError: If a setting is missing, or the rotary embeddings are not supported.
    """
    config: dict[str, Any] = {name: header.setting(setting) for name, setting in _SETTINGS.items()}
    if missing := [setting for name, setting in _SETTINGS.items() if config[name] is None]:
        raise BackendError(f"{file} could not be converted: it has no {', '.join(missing)}.")
    heads = config["num_attention_heads"]
    head_size = header.setting("attention.key_length") or header.setting("rope.dimension_count")
    config |= {
        "architectures": [_CLASSES[header.architecture]],
        "model_type": _MODEL_TYPES.get(header.architecture, header.architecture),
        "vocab_size": header.tensors["token_embd.weight"].shape[0],
        "num_key_value_heads": header.setting("attention.head_count_kv") or heads,
        "head_dim": head_size or config["hidden_size"] // heads,
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "dtype": "float16",
    }
    rope = _rope_parameters(file, header, config["head_dim"])
    if header.architecture != "gemma3":
        return {**config, "hidden_act": "silu", "rope_parameters": rope}
    local_rope = {"rope_type": "default", "rope_theta": _GEMMA3_LOCAL_THETA}
    # As in llama.cpp, because the file does not say: the largest model scales attention in its own way.
    is_27b = config["num_hidden_layers"] == _GEMMA3_27B_LAYERS
    return {
        **config,
        "query_pre_attn_scalar": config["hidden_size"] // heads if is_27b else config["head_dim"],
        "rope_parameters": {"full_attention": rope, "sliding_attention": local_rope},
        "sliding_window": header.setting("attention.sliding_window"),
    }


def _rope_parameters(file: Path, header: GgufHeader, head_size: int) -> dict[str, Any]:
    theta = header.setting("rope.freq_base") or 10000.0
    scaling, factor = header.setting("rope.scaling.type"), header.setting("rope.scaling.factor") or 1.0
    if scaling not in (None, "none", "linear") and factor != 1:
        raise _unsupported_rope(file, f"{scaling}, factor {factor:g}")
    if scaling == "linear" and factor != 1:
        return {"rope_type": "linear", "rope_theta": theta, "factor": factor}
    if _ROPE_FACTORS in header.tensors:
        return {"rope_theta": theta, **_llama3_rope(file, header, theta, head_size)}
    return {"rope_type": "default", "rope_theta": theta}


def _llama3_rope(file: Path, header: GgufHeader, theta: float, head_size: int) -> dict[str, Any]:
    """Return the parameters of Llama 3's rotary embeddings, which the file holds as one factor per frequency."""
    import numpy

    factors = _read_tensor(file, header.tensors[_ROPE_FACTORS]).reshape(-1)
    rope = {"rope_type": "llama3", "factor": float(factors.max()), **_LLAMA3_ROPE}
    frequencies = float(theta) ** -(numpy.arange(0, head_size, 2) / head_size)
    rotations = _LLAMA3_ROPE["original_max_position_embeddings"] * frequencies / (2 * numpy.pi)
    low, high = _LLAMA3_ROPE["low_freq_factor"], _LLAMA3_ROPE["high_freq_factor"]
    unchanged = numpy.clip((rotations - low) / (high - low), 0, 1)
    expected = 1 / (unchanged + (1 - unchanged) / factors.max())
    if len(factors) != len(expected) or not numpy.allclose(factors, expected, rtol=1e-3):
        raise _unsupported_rope(file, f"the factors in {_ROPE_FACTORS}")
    return rope


def _unsupported_rope(file: Path, scaling: str) -> BackendError:
    return BackendError(
        f"{file} scales its rotary embeddings in a way that is not supported: {scaling}.",
        hint="Pass the original model in Hugging Face layout, or run the file with a server such as llama.cpp's, and "
        "use 'openai:NAME' with base_url=...",
    )


def _read_tensor(file: Path, tensor: GgufTensor) -> Floats:
    import gguf
    import numpy

    quantization = gguf.GGMLQuantizationType(tensor.type)
    shape = gguf.quant_shape_to_byte_shape(tensor.shape, quantization)
    stored = numpy.memmap(file, dtype=numpy.uint8, mode="r", offset=tensor.offset, shape=shape)
    weight: Floats = gguf.dequantize(stored, quantization)
    return weight


def _adapt(header: GgufHeader, name: str, weight: Floats) -> Floats:
    """Undo what llama.cpp's converter changes in the weights."""
    if header.architecture == "gemma3" and name.endswith("norm.weight"):
        return weight - 1
    head_counts: Mapping[str, Any] = {
        "attn_q.weight": header.setting("attention.head_count"),
        "attn_k.weight": header.setting("attention.head_count_kv") or header.setting("attention.head_count"),
    }
    heads = head_counts.get(name.split(".", 2)[-1])
    if header.architecture != "llama" or heads is None:
        return weight
    # llama.cpp rotates neighboring dimensions of a head, transformers the two halves of it.
    pairs = weight.reshape(heads, weight.shape[0] // heads // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)

"""Export a trained storyteller as a Hugging Face model folder."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from taleward.backends.onnx.llama import REQUEST, STORY
from training.storyteller_mini.batches import BOS, BOS_TEXT, EOS, EOS_TEXT, PAD, PAD_TEXT
from training.storyteller_mini.model import Llama

SAMPLING = {
    "do_sample": True,
    "temperature": 0.65,
    "top_p": 0.9,
    "repetition_penalty": 1.03,
    "no_repeat_ngram_size": 6,
    "max_new_tokens": 800,
}
"""Defaults for `generate`, chosen by reading samples, by their repetition, and by how much of a request they keep."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{{ eos_token }}"
    f"{{% else %}}{REQUEST}{{{{ m.content }}}}{STORY}{{% endif %}}{{% endfor %}}"
)
"""Chat template of requests and the stories that answer them; a system message is a request without a story."""


def export(model: Llama, tokenizer: Any, out: Path) -> None:
    """Write config, generation config, tokenizer and float16 weights. Other files in the folder are kept.

    Args:
        model: The trained model.
        tokenizer: A `tokenizers.Tokenizer`.
        out: The folder; it is created if missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    config = model.shape.to_config(bos=BOS, eos=EOS, pad=PAD)
    token_ids = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    tokens = {"bos_token": BOS_TEXT, "eos_token": EOS_TEXT, "pad_token": PAD_TEXT}
    _write_json(out / "config.json", config | {"follows_instructions": False})
    _write_json(out / "generation_config.json", SAMPLING | token_ids)
    _write_json(
        out / "tokenizer_config.json",
        tokens
        | {
            "chat_template": CHAT_TEMPLATE,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": model.shape.positions,
            "clean_up_tokenization_spaces": False,
            "padding_side": "left",
        },
    )
    tokenizer.save(str(out / "tokenizer.json"))
    weights = {name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")

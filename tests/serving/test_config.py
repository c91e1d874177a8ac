"""The configuration of a server: what a file may say, and the line of what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.serving import default_config, load_config


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "serve.yaml").write_text(text)
    return tmp_path / "serve.yaml"


def test_a_file_with_two_models(tmp_path: Path) -> None:
    text = """
models:
  tales: {band: "3-5", judge: lexicon}
  helper:
    model: openai:qwen3
    base_url: http://127.0.0.1:11434/v1
    template: null
    options: {temperature: 0.3}
default_model: helper
"""
    config = load_config(written(tmp_path, text))
    assert config.models["tales"].judge == ("lexicon",)
    assert config.models["tales"].allowed_bands == ("3-5",)
    assert config.default_model_name == "helper"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models:\n  a:\n    modle: x", "line 3: models.a.modle: is not a known field; did you mean 'model'?"),
        ("models:\n  a:\n    band: '6-9'", "line 3: models.a.band: unknown band '6-9'; did you mean '6-8'?"),
        ("models:\n  a:\n    policy: kidz", "line 3: models.a.policy: unknown policy 'kidz'"),
        ("models:\n  a:\n    template: adventur", "line 3: models.a.template: unknown template"),
        ("models:\n  a:\n    attempts: 0", "line 3: models.a.attempts: Input should be greater than or equal to 1"),
        ("models:\n  a:\n    base_url: http://x", "line 3: models.a.base_url: is the server of an openai: model"),
        ("models:\n  a:\n    options:\n      api_key: sk-1", "line 4: models.a.options.api_key: is a secret"),
        ("models:\n  'a b': {}", "line 2: models.a b: is not a model's name"),
        ("models: {}", "models: name at least one"),
        ("models:\n  a: {}\ndefault_model: b", "default_model: unknown model 'b'"),
        ("", "is empty"),
    ],
)
def test_a_mistake_is_reported_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidFile) as error:
        load_config(written(tmp_path, text))
    assert message in str(error.value)
    assert "sk-1" not in str(error.value)


def test_without_a_file_every_band_is_a_model() -> None:
    config = default_config()
    assert list(config.models) == ["tales", "kids-3-5", "kids-6-8", "kids-9-12"]
    assert config.models["tales"].allowed_bands == ("6-8", "3-5", "9-12")
    assert config.models["kids-3-5"].allowed_bands == ("3-5",)
    assert list(default_config(band="3-5").models) == ["tales", "kids-3-5"]
    with pytest.raises(ConfigurationError, match="6-9"):
        default_config(band="6-9")

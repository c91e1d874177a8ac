"""`taleward serve`: what is served, and what is refused before anything is loaded."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, InvalidFile, MissingExtra
from taleward.serving import ServeConfig


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeConfig]:
    configs: list[ServeConfig] = []
    monkeypatch.setattr("taleward.serving.operations.server.run_server", configs.append)
    return configs


def test_without_options_the_embedded_models_are_served(served: list[ServeConfig]) -> None:
    result = CliRunner().invoke(app, ["serve"], catch_exceptions=False)
    assert result.exit_code == 0
    [config] = served
    assert {model.model for model in config.models.values()} == {"embedded:storyteller"}
    assert (config.operations.host, config.operations.port) == ("127.0.0.1", 8000)
    assert "http://127.0.0.1:8000/v1" in result.stderr.replace("\n", "")


def test_options_describe_the_models(served: list[ServeConfig]) -> None:
    options = ["--model", "openai:x", "--base-url", "http://h/v1", "--chat", "--judge", "lexicon", "--band", "3-5"]
    options += ["--release", "sentences", "--refusal-as", "content", "--embeddings", "none", "--port", "9000"]
    options += ["--images", "collage:svg"]
    CliRunner().invoke(app, ["serve", *options], catch_exceptions=False)
    [config] = served
    model = config.models["kids-3-5"]
    assert (model.template, model.judge, model.release, model.refusal_as) == (
        None,
        ("lexicon",),
        "sentences",
        "content",
    )
    assert config.embeddings is None
    assert config.images is not None
    assert config.images.model == "collage:svg"
    assert config.operations.port == 9000


def test_a_file_takes_the_place_of_options(served: list[ServeConfig], tmp_path: Path) -> None:
    (tmp_path / "serve.yaml").write_text("models:\n  a: {band: '3-5'}\noperations: {port: 9001}\n")
    file = ["--config", str(tmp_path / "serve.yaml")]
    CliRunner().invoke(app, ["serve", *file, "--host", "::1"], catch_exceptions=False)
    [config] = served
    assert list(config.models) == ["a"]
    assert (config.operations.host, config.operations.port) == ("::1", 9001)
    with pytest.raises(ConfigurationError, match="--config takes the place of --band"):
        CliRunner().invoke(app, ["serve", *file, "--band", "3-5"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--release", "later"], ConfigurationError),
        (["--refusal-as", "text"], ConfigurationError),
        (["--band", "6-9"], ConfigurationError),
        (["--config", "missing.yaml"], InvalidFile),
    ],
)
def test_wrong_options_are_refused(served: list[ServeConfig], options: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        CliRunner().invoke(app, ["serve", *options], catch_exceptions=False)
    assert served == []


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_uvicorn(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "uvicorn":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_uvicorn)
    with pytest.raises(MissingExtra) as error:
        CliRunner().invoke(app, ["serve"], catch_exceptions=False)
    assert error.value.hint == "Run: pip install 'taleward[serve]'"

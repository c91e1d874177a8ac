"""`taleward prompt`: craft, check, render."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, InvalidFile, InvalidInputs
from taleward.images import PromptSpec, craft, parse_midjourney


@pytest.fixture(autouse=True)
def wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taleward.cli.output.prompts._stdout.width", 200)


def run(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["prompt", *args], input=stdin)


def test_craft_prints_fields_and_prompt() -> None:
    result = run("craft", "a house", "--seed", "3", "--style", "watercolor")
    assert result.exit_code == 0
    assert craft("a house", seed=3, style="watercolor").spec.prompt in " ".join(result.stdout.split())
    assert "art style   watercolor" in result.stdout


def test_craft_as_json_is_a_spec_that_render_takes(tmp_path: Path) -> None:
    result = run("craft", "a fox", "--ar", "16:9", "--no", "cars", "--json")
    spec = PromptSpec.model_validate_json(result.stdout)
    assert (spec.aspect_ratio, spec.negative) == ("16:9", ("cars",))
    file = tmp_path / "fox.json"
    file.write_text(result.stdout)
    rendered = run("render", str(file), "--for", "midjourney:7", "--option", "stylize=750")
    assert parse_midjourney(rendered.stdout).parameters == {"ar": "16:9", "stylize": 750, "v": "7", "no": "cars"}


def test_render_prints_one_line_to_copy_and_the_settings() -> None:
    result = run("render", "-", "--for", "diffusers:stabilityai/sdxl-turbo", stdin="a fox, no people")
    assert result.stdout.splitlines()[0] == "a fox"
    assert "num_inference_steps  2" in result.stdout
    assert "no effect at guidance_scale 0" in " ".join(result.stderr.split())
    data = json.loads(run("render", "a fox", "--for", "sd-cpp", "--json").stdout)
    assert data["platform"] == "sd_cpp"


def test_check_says_what_is_missing() -> None:
    result = run("check", "a house at night in bright sunlight")
    assert result.exit_code == 1
    assert "contradiction  'night' and 'sunlight' contradict each other" in result.stdout
    assert "missing" in result.stdout
    complete = run("check", craft("a house").spec.prompt, "--json")
    assert complete.exit_code in (0, 1)
    assert json.loads(complete.stdout)["spec"]["subject"]


def test_mistakes_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="was retired on 2026-05-12"):
        raise _error("render", "a fox", "--for", "openai-image:dall-e-3")
    with pytest.raises(InvalidInputs, match="must be one of draft, standard, high; got 'hi'"):
        raise _error("render", "a fox", "--for", "sd-cpp", "--quality", "hi")
    with pytest.raises(InvalidInputs, match="NAME=VALUE"):
        raise _error("render", "a fox", "--for", "midjourney", "--option", "stylize")
    with pytest.raises(InvalidInputs, match="belongs to a platform"):
        raise _error("craft", "a fox", "--option", "stylize=7")
    file = tmp_path / "fox.json"
    file.write_text('{"subject": ""}')
    with pytest.raises(InvalidFile, match="is not the JSON of a prompt spec"):
        raise _error("check", str(file))


def _error(*args: str) -> BaseException:
    error = run(*args).exception
    assert error is not None
    return error

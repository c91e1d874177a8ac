"""`taleward templates`: list, show, new and check; `register` is tested with the prompt registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from taleward.chains.template import load_template, template_names
from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, InvalidFile, UnknownName


@pytest.fixture(autouse=True)
def wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A width that does not depend on the terminal; a console reads the environment only when it is made."""
    monkeypatch.setattr("taleward.cli.output.templates._stdout.width", 120)


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["templates", *args])


def words(result: Result) -> str:
    return " ".join(result.output.split())


def test_the_list_has_a_line_for_each_template() -> None:
    lines = run().stdout.splitlines()
    for name in template_names():
        [line] = [line for line in lines if line.startswith(f"{name} ")]
        assert load_template(name).description in line
        assert "3-5, 6-8, 9-12" in line


def test_an_invalid_file_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: broken")
    result = run("--templates", str(tmp_path))
    assert result.exit_code == 0
    [line] = [line for line in result.stdout.splitlines() if line.startswith("broken ")]
    assert "not valid; see `taleward templates check`" in line
    assert "mystery" in result.stdout


def test_show_prints_every_band_or_one() -> None:
    shown, template = words(run("show", "mystery")), load_template("mystery")
    for band in ("3-5", "6-8", "9-12"):
        assert template.text_for(band) in shown
        assert template.guidance_for(band) in shown
    assert str(template.request) in shown
    assert "1. a beagle with a cold" in shown
    one = words(run("show", "mystery", "--band", "3-5"))
    assert template.render(template.example_values[0], "3-5") in one
    assert template.guidance_for("9-12") not in one
    assert json.loads(run("show", "mystery", "--json").stdout)["bands"]["9-12"]["text"] == template.text_for("9-12")


def test_show_names_the_bands_and_templates_there_are() -> None:
    unknown = run("show", "mystery", "--band", "6-9").exception
    assert isinstance(unknown, UnknownName)
    assert "'3-5', '6-8', '9-12'" in str(unknown)
    assert isinstance(run("show", "mistery").exception, UnknownName)


def test_new_writes_a_file_that_check_accepts_and_does_not_overwrite(in_tmp: Path) -> None:
    written = run("new", "pirates")
    assert written.exit_code == 0
    assert "taleward templates check templates/pirates.yaml" in words(written)
    assert "# A template is the beginning of a story" in (in_tmp / "templates/pirates.yaml").read_text()
    assert run("check", "templates/pirates.yaml").exit_code == 0
    again = run("new", "pirates").exception
    assert isinstance(again, ConfigurationError)
    assert "already exists" in str(again)


@pytest.mark.parametrize("name", ["Pirates", "../pirates", "a b", "1st", "x\n"])
def test_new_rejects_what_cannot_be_a_name(in_tmp: Path, name: str) -> None:
    assert isinstance(run("new", name).exception, ConfigurationError)
    assert not list(in_tmp.iterdir())


def test_check_exits_with_0_1_or_2(in_tmp: Path) -> None:
    run("new", "pirates")
    file = in_tmp / "templates/pirates.yaml"
    good = file.read_text()
    assert "valid template: pirates@1, 3 variables, 2 sets of examples" in words(run("check", str(file)))
    file.write_text(good.replace("max_length: 60", "max_length: 900"))
    advice = run("check", str(file))
    assert advice.exit_code == 1
    assert "line 17: variables.character.max_length: leaves room for 900 characters" in words(advice)
    file.write_text(good.replace("lived a {character}", "lived a {charcter}"))
    error = run("check", str(file)).exception
    assert isinstance(error, InvalidFile)
    assert "uses {charcter} without declaring it; did you mean 'character'?" in str(error)


def test_the_folder_goes_after_the_command(tmp_path: Path) -> None:
    result = run("--templates", str(tmp_path), "show", "mystery")
    assert result.exit_code == 2
    assert "give --templates after the command" in words(result)

"""The page as a part of the server: when there is one, who gets in, and how the PIN reaches whoever starts it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from taleward.cli.app import app as cli
from taleward.core.errors import ConfigurationError
from taleward.serving import PageSettings, ServeConfig, ServedModelConfig, load_config
from taleward.serving.operations import server
from taleward.serving.operations.api_keys import ApiKeys
from taleward.serving.operations.settings import OperationSettings
from taleward.serving.page.settings import PIN_VARIABLE, why_no_page
from tests.helpers.page_apps import PIN, page_app, page_client
from tests.helpers.serving_apps import client_of


@pytest.mark.parametrize(
    ("page", "operations", "reason"),
    [
        (PageSettings(), OperationSettings(), ""),
        (None, OperationSettings(), "turns it off"),
        (PageSettings(), OperationSettings(workers=2), "2 workers"),
        (PageSettings(), OperationSettings(host="0.0.0.0"), "without an API key"),  # noqa: S104
        (PageSettings(public=True), OperationSettings(host="0.0.0.0"), ""),  # noqa: S104
    ],
)
def test_there_is_a_page_only_where_it_is_safe(
    page: PageSettings | None, operations: OperationSettings, reason: str
) -> None:
    assert reason in why_no_page(page, operations)
    assert bool(why_no_page(page, operations)) == bool(reason)


async def test_a_browser_needs_no_key_for_the_page_and_gets_nowhere_else(tmp_path: Path) -> None:
    keys = tmp_path / "keys.db"
    ApiKeys(keys).create("app")
    app = page_app(operations=OperationSettings(keys_file=keys))
    async with page_client(app) as client:
        assert (await client.post("/page/tales", json={"sentence": "a fox"})).status_code == 200
        for path in ("/v1/templates", "/metrics", "/pages", "/page/../v1/templates"):
            assert (await client.get(path)).status_code == 401


async def test_without_keys_the_page_has_the_name_of_this_machine_alone() -> None:
    async with client_of(page_app()) as client:
        assert (await client.get("/", headers={"host": "elsewhere.example"})).status_code == 403


def test_the_environment_can_hold_the_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PIN_VARIABLE, "9876")
    assert PageSettings().with_pin().pin == SecretStr("9876")
    assert PageSettings(pin=SecretStr(PIN)).with_pin().pin == SecretStr(PIN)
    monkeypatch.setenv(PIN_VARIABLE, "secret")
    with pytest.raises(ConfigurationError, match="must be 4 to 12 digits") as caught:
        PageSettings().with_pin()
    assert "secret" not in str(caught.value)


def test_a_configuration_file_sets_the_page(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text('models: {tales: {}}\npage: {pin: "290417", tales_per_minute: 2}\n')
    page = load_config(file).page
    assert page == PageSettings(pin=SecretStr("290417"), tales_per_minute=2)
    file.write_text("models: {tales: {}}\npage: {pin: 290417}\n")
    with pytest.raises(Exception, match="pin"):
        load_config(file)


def test_the_settings_as_json_have_no_pin() -> None:
    config = ServeConfig(models={"tales": ServedModelConfig()}, page=PageSettings(pin=SecretStr(PIN)))
    assert PIN not in config.model_dump_json()
    assert ServeConfig.model_validate_json(config.model_dump_json()).page == PageSettings()


@pytest.mark.parametrize("given", [None, PIN])
def test_the_command_says_where_the_page_is_and_hands_the_pin_to_the_server(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, Any] = {}

    def run(app: str, **options: Any) -> None:
        started["pin"] = os.environ[PIN_VARIABLE]

    monkeypatch.setattr("uvicorn.run", run)
    monkeypatch.setattr(server, "keys_for", lambda *_: None)
    if given:
        monkeypatch.setenv(PIN_VARIABLE, given)
    result = CliRunner().invoke(cli, ["serve", "--port", "8123"])
    assert result.exit_code == 0, result.output
    text = " ".join(result.stderr.split())
    assert "the page for children is at http://127.0.0.1:8123/" in text
    if given:
        assert "opens with your PIN" in text
        assert given not in text
        assert started["pin"] == given
    else:
        assert f"opens with the PIN {started['pin']}" in text

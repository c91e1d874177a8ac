"""The Dockerfile and the compose file, as far as they can be checked without Docker."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from taleward.serving.config import load_config

ROOT = Path(__file__).parents[3]
SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)(?!_FILE)", re.IGNORECASE)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined if line.strip()]


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def allowed_in_build() -> set[str]:
    return {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}


def test_the_image_runs_as_somebody_who_is_not_root_and_says_whether_it_lives() -> None:
    last = dict(instructions())
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    assert last["HEALTHCHECK"].endswith('CMD ["python", "/opt/healthcheck.py"]')
    # In the form of a list there is no shell between the signal and the server.
    assert last["ENTRYPOINT"] == '["taleward"]'
    assert last["STOPSIGNAL"] == "SIGTERM"


def test_no_secret_is_in_a_layer() -> None:
    for name, arguments in instructions():
        assert name in {
            "FROM",
            "WORKDIR",
            "COPY",
            "RUN",
            "ENV",
            "VOLUME",
            "USER",
            "EXPOSE",
            "HEALTHCHECK",
            "STOPSIGNAL",
            "ENTRYPOINT",
            "CMD",
        }
        if name in ("ENV", "RUN"):
            assert not SECRET_NAME.search(arguments), arguments
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {"**/.taleward", "**/*.db", "**/.env*", "**/postgres_password.txt"} <= set(ignored)


def test_what_is_copied_and_run_exists() -> None:
    for name, arguments in instructions():
        if name == "COPY" and "--from" not in arguments and not arguments.startswith(". "):
            *sources, _ = arguments.split()
            for source in sources:
                assert (ROOT / source).is_file()
                assert source.split("/")[0] in allowed_in_build()
    for script in (ROOT / "docker").glob("*.sh"):
        assert script.stat().st_mode & 0o111, script
        subprocess.run(["sh", "-n", str(script)], check=True)  # noqa: S607
    for name, arguments in instructions():
        if name == "RUN":
            subprocess.run(["sh", "-n", "-c", arguments], check=True)  # noqa: S607


def test_every_package_reaches_the_builder() -> None:
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    assert {folder.split("/")[0] for folder in folders} <= allowed_in_build()
    for source in allowed_in_build():
        assert (ROOT / source).exists(), source


@pytest.mark.parametrize("name", ["taleward", "mlflow", "postgres"])
def test_services_are_for_this_machine_and_hold_no_secret(name: str) -> None:
    service = compose()["services"][name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert "no-new-privileges:true" in service["security_opt"]
    assert service.get("healthcheck") or name == "taleward"  # which has its image's
    for variable, value in service.get("environment", {}).items():
        assert value is None or not SECRET_NAME.search(variable), variable
    for needed in service.get("depends_on", {}):
        assert needed in compose()["services"]
    volumes = {volume.split(":")[0] for volume in service["volumes"]}
    for volume in volumes:
        assert (ROOT / volume).is_file() if volume.startswith("./") else volume in compose()["volumes"]


def test_the_configuration_is_valid_and_leaves_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(ROOT / "docker/serve.yaml")
    service = compose()["services"]["taleward"]
    assert int(service["stop_grace_period"].removesuffix("s")) > config.operations.shutdown_timeout_s
    assert service["ports"] == [f"127.0.0.1:8000:{config.operations.port}"]
    assert config.operations.host == "0.0.0.0"  # noqa: S104
    # What the heads of the files say to run.
    text = (ROOT / "compose.yaml").read_text()
    assert f"--file {config.operations.keys_file}" in text
    assert shlex.split(dict(instructions())["CMD"].replace(",", "").strip("[]"))[0] == "serve"

"""The house itself: folders, links, packages, public names, and what an import costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import taleward

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FLOORS = ("agents", "backends", "chains", "cli", "core", "evaluation", "moderation", "stores", "testing")


def run(code: str, *, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_package_on_disk_is_listed_and_mapped() -> None:
    on_disk = {"taleward"} | {
        ".".join(("taleward", *init.parent.relative_to(ROOT).parts))
        for floor in FLOORS
        for init in (ROOT / floor).rglob("__init__.py")
    }
    tool = PROJECT["tool"]["setuptools"]
    assert set(tool["packages"]) == on_disk
    assert set(tool["package-dir"]) == on_disk
    for package, folder in tool["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file(), package


def test_every_floor_has_its_link() -> None:
    links = {path.name: path.resolve() for path in (ROOT / "src/taleward").iterdir() if path.is_symlink()}
    assert links == {floor: ROOT / floor for floor in FLOORS}


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_refuses_a_bare_import(floor: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {floor}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "import it by that name" in done.stderr


def test_public_names() -> None:
    assert taleward.__all__ == sorted(taleward.__all__)
    assert {name for name in dir(taleward) if name[0].isupper()} - {"TYPE_CHECKING", "Any"} == {
        n for n in taleward.__all__ if n[0].isupper()
    }
    for name in taleward.__all__:
        assert getattr(taleward, name) is not None
    assert {"StoryChain", "Guard", "judge", "chat_model", "embeddings", "Tale", "Verdict", "Finding"} <= set(
        taleward.__all__
    )
    with pytest.raises(AttributeError, match="No taleward attribute nonsense"):
        taleward.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_import_loads_nothing_heavy(tmp_path: Path) -> None:
    heavy = "{'torch', 'transformers', 'mlflow', 'chromadb', 'faiss', 'langchain_core', 'langchain'}"
    assert run(f"import sys, taleward; print(sorted({heavy} & set(sys.modules)))", cwd=tmp_path) == "[]"


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom taleward.cli.app import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'mlflow', 'langchain_core'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "tell" in done.stdout
    assert done.stderr.strip() == "[]"


def test_the_embedded_models_leave_nothing_in_the_home_folder_and_so_call_nobody(tmp_path: Path) -> None:
    # ONNX Runtime's telemetry keeps its queue and the machine's number there; on a CI server it is off by itself.
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    code = "import taleward as tw; tw.judge('embedded:judge').invoke('A calm day by the sea.')"
    (tmp_path / "home").mkdir()
    environment = {**kept, "HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert list((tmp_path / "home").rglob("*")) == []


def test_version_is_the_distributions() -> None:
    assert taleward.__version__ == PROJECT["project"]["version"]

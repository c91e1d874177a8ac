"""The package as a whole: folders, links, public names, class names, and what an import costs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import taleward

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LAYERS = (
    "agents",
    "backends",
    "batch",
    "books",
    "chains",
    "cli",
    "core",
    "evaluation",
    "images",
    "moderation",
    "serving",
    "stores",
    "testing",
    "tuning",
)


def run(code: str, *, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_package_on_disk_is_listed_and_mapped() -> None:
    on_disk = {"taleward"} | {
        ".".join(("taleward", *init.parent.relative_to(ROOT).parts))
        for layer in LAYERS
        for init in (ROOT / layer).rglob("__init__.py")
    }
    tool = PROJECT["tool"]["setuptools"]
    assert set(tool["packages"]) == on_disk
    assert set(tool["package-dir"]) == on_disk
    for package, folder in tool["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file(), package


def test_every_layer_has_its_link() -> None:
    links = {path.name: path.resolve() for path in (ROOT / "src/taleward").iterdir() if path.is_symlink()}
    assert links == {layer: ROOT / layer for layer in LAYERS}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_rejects_a_bare_import(layer: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {layer}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "import it by that name" in done.stderr


MODULES = (
    "agents",
    "backends",
    "batch",
    "books",
    "chains",
    "errors",
    "evaluation",
    "events",
    "images",
    "moderation",
    "serving",
    "stores",
    "testing",
    "tuning",
    "types",
)
NAMES = """
    AnswerCache BestOf Book CachedChat CachedEmbeddings CachedJudge Chat ChromaStore FaissStore FewShotClassifier
    Finding Guard GuardMiddleware GuardedChat ImageGuard Judge MlflowRecorder Passage Picture Policy PromptSpec
    Refused Router StoryChain Summarizer SummaryGuard Tale TaleMemory TalewardError Template Verdict
    ZeroShotClassifier arena chat_model classifier compare embeddings evaluate image_model judge load_dataset
    load_policy load_template log_guard promote record_feedback rollback run_batch seq2seq_model tune_judge
    tune_writer
"""
"""What a first program needs. Adding a name here is a promise: think twice, and prefer a public module."""


def test_public_names_are_exactly_these() -> None:
    assert taleward.__all__ == sorted([*NAMES.split(), *MODULES])
    for name in taleward.__all__:
        assert getattr(taleward, name) is not None
    with pytest.raises(AttributeError, match="No taleward attribute nonsense"):
        taleward.nonsense  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("module", MODULES)
def test_public_modules_export_what_they_list(module: str) -> None:
    package = import_module(f"taleward.{module}")
    names = package.__all__
    assert names == sorted(set(names))
    assert [name for name in names if getattr(package, name, None) is None] == []


SAME_CLASS_NAMES: dict[str, str] = {}
"""Class names that may stand twice in the package, each with the reason."""


def test_no_class_name_stands_twice() -> None:
    places: dict[str, list[str]] = {}
    for layer in LAYERS:
        for file in sorted((ROOT / layer).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name.lstrip("_"), []).append(f"{file.relative_to(ROOT)}:{node.lineno}")
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert set(twice) == set(SAME_CLASS_NAMES), twice


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

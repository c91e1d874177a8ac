"""The pytest plugin, in pytest runs of their own: what it offers, and that it costs nothing where it is not used."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.test_layout import ROOT

PLUGIN = "taleward.testing.pytest_plugin"


def run_pytest(folder: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_app.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_app.py"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=variables)


def test_the_fake_server_replaces_openai_for_one_test_and_the_suite_of_stores_shows_values(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(f'pytest_plugins = ["{PLUGIN}"]\n')
    test = """
import os
import taleward as tw

def test_an_app_with_a_hosted_model(fake_openai):
    fake_openai.answer, fake_openai.faults = "A hen.", ["500"]
    assert tw.chat_model("openai:gpt-5-mini").invoke("Hello").text == "A hen."
    assert [request["model"] for request in fake_openai.requests] == ["gpt-5-mini"] * 2

def test_afterwards():
    assert "OPENAI_BASE_URL" not in os.environ and "OPENAI_API_KEY" not in os.environ

def test_assertions_are_rewritten():
    import taleward.testing.store_conformance
    assert "@pytest_ar" in vars(taleward.testing.store_conformance)
"""
    done = run_pytest(tmp_path, test)
    assert "3 passed" in done.stdout, done.stdout


def test_a_failure_points_at_the_line_of_the_test(tmp_path: Path) -> None:
    test = """
import taleward as tw
from taleward.testing import FakeJudge, FakeWriter, assert_tale_passes

def test_the_tale():
    assert_tale_passes(tw.Guard(FakeWriter("A bad wolf."), FakeJudge(), attempts=1))
"""
    done = run_pytest(tmp_path, test, "--tb=short")
    assert "violence, severe: 'bad' at 2-5" in done.stdout, done.stdout
    assert "assertions.py" not in done.stdout


def test_the_plugin_loads_nothing_heavy_and_sets_no_key(tmp_path: Path) -> None:
    test = """
import os, sys

def test_nothing_heavy():
    heavy = {"torch", "transformers", "mlflow", "chromadb", "faiss", "langchain_core", "langchain", "numpy", "pydantic"}
    assert heavy & set(sys.modules) == set()
    assert "OPENAI_API_KEY" not in os.environ
"""
    # Other plugins of this environment load libraries of their own.
    done = run_pytest(tmp_path, test, "-p", PLUGIN, "--disable-plugin-autoload")
    assert "1 passed" in done.stdout, done.stdout


def test_a_run_that_does_not_ask_for_the_plugin_does_not_load_taleward(tmp_path: Path) -> None:
    test = """
import sys

def test_no_trace():
    assert [name for name in sys.modules if name.split(".")[0] == "taleward"] == []
"""
    done = run_pytest(tmp_path, test)
    assert "1 passed" in done.stdout, done.stdout
    # An entry point would load it in every run of the environment; see the plugin's docstring.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "pytest11" not in project.get("entry-points", {})

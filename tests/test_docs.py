"""What stands in the documents beside the blocks that are run: commands, names, and links."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import taleward
from taleward.cli.app import app
from tests.test_layout import ROOT

PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md", "benchmarks/README.md")),
]
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[str]:
    for block in blocks(page, "console"):
        yield from re.findall(r"^ *\$ (.+?)(?:  +#.*)?$", block, re.MULTILINE)


TYPED = sorted({command for page in PAGES for command in commands(page)})


@pytest.mark.parametrize("command", [c for c in TYPED if c.startswith("taleward ")])
def test_a_command_takes_the_options_that_it_is_shown_with(command: str) -> None:
    words = [word for word in shlex.split(command)[1:] if word != "..."]
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0, done.output
    assert "Usage: " in done.output


def test_what_make_is_asked_for_is_in_the_makefile() -> None:
    asked = {command.split()[1] for command in TYPED if command.startswith("make ")}
    assert asked
    assert asked <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_also_blocks_that_are_not_run_use_names_that_exist(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tw":
                assert node.attr in taleward.__all__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith("https://"):
            assert (page.parent / link.partition("#")[0]).exists(), link

"""Commands, names, links and lists in the documentation; its Python blocks are run by `conftest.py` in the root."""

from __future__ import annotations

import ast
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

import taleward
from taleward.chains.template import load_template, template_names
from taleward.chains.template_check import check_template
from taleward.cli.app import app
from taleward.evaluation.metrics import metric_names
from taleward.moderation.policies.load import load_policy
from tests.test_layout import ROOT

PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(
        ROOT / name
        for name in (
            "README.md",
            "CONTRIBUTING.md",
            "benchmarks/README.md",
            "evaluation/data/README.md",
            "examples/README.md",
        )
    ),
]
MAKE_TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def code_blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)


def console_commands(page: Path) -> Iterator[str]:
    for block in code_blocks(page, "console"):
        yield from re.findall(r"^ *\$ (.+?)(?:  +#.*)?$", block, re.MULTILINE)


COMMANDS = sorted({command for page in PAGES for command in console_commands(page)})


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("taleward ")])
def test_command_exists_with_its_options(command: str) -> None:
    words = [word for word in shlex.split(command)[1:] if word != "..."]
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.output


def test_the_table_of_templates_is_complete() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (`.+`) \| (.+) \|$", (ROOT / "docs/how-to/templates.md").read_text(), re.MULTILINE
    )
    listed = {name: (re.findall(r"`(\w+)`", variables), description) for name, variables, description in rows}
    templates = [load_template(name) for name in template_names()]
    expected = {template.name: (list(template.variables), template.description) for template in templates}
    assert {name: row for name, row in listed.items() if name in expected} == expected


def test_the_template_in_the_guide_is_valid(tmp_path: Path) -> None:
    [content] = code_blocks(ROOT / "docs/how-to/templates.md", "yaml")
    (tmp_path / "lighthouse.yaml").write_text(content)
    _, advice = check_template(tmp_path / "lighthouse.yaml", load_policy("kids"))
    assert advice == ()


def test_make_targets_exist() -> None:
    targets = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert targets
    assert targets <= MAKE_TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_exist_also_in_blocks_that_are_not_run(page: Path) -> None:
    for block in code_blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tw":
                assert node.attr in taleward.__all__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith("https://"):
            assert (page.parent / link.partition("#")[0]).exists(), link


def public_modules() -> list[str]:
    names = [name for name in taleward.__all__ if (ROOT / name).is_dir() or (ROOT / f"src/taleward/{name}.py").exists()]
    assert {"agents", "errors", "testing", "types"} <= set(names)
    return names


@pytest.mark.parametrize("module", public_modules())
def test_reference_page_lists_every_public_name_once(module: str) -> None:
    page = (ROOT / f"docs/reference/{module}.md").read_text()
    listed = Counter(re.findall(r"^::: (\S+)$", page, re.MULTILINE))
    expected = [
        f"taleward.{name}" if name in taleward.__all__ else f"taleward.{module}.{name}"
        for name in import_module(f"taleward.{module}").__all__
    ]
    assert sorted(listed.elements()) == sorted(expected)


def test_reference_pages_list_every_name_of_taleward() -> None:
    listed = re.findall(
        r"^::: taleward\.(\w+)$",
        "\n".join(page.read_text() for page in sorted((ROOT / "docs/reference").glob("*.md"))),
        re.MULTILINE,
    )
    assert sorted([*listed, *public_modules()]) == sorted(taleward.__all__)


def test_evaluation_guide_lists_every_metric_once() -> None:
    guide = (ROOT / "docs/how-to/evaluate.md").read_text()
    table = guide.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(first_cells))) == sorted(metric_names())

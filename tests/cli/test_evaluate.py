"""`taleward eval` as a user's CI runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.evaluation.journal import journals

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")

VALUES = {
    "setting": "quiet harbor",
    "character": "small boat",
    "mysterious_object": "glowing map",
    "magical_properties": "the power to show hidden places",
    "action": "follow the map",
    "outcome": "a new friendship",
}


def write_jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_gates_in_ci(in_tmp: Path) -> None:
    data = write_jsonl(in_tmp / "texts.jsonl", *({"id": str(n), "output": "a fox " * (n + 5)} for n in range(12)))
    gates = in_tmp / "taleward.toml"
    gates.write_text("[gates]\nwords = {at_least = 15}\n")
    command = ["eval", str(data), "--outputs", "--metric", "words", "--gate"]
    done = CliRunner().invoke(app, [*command, "--report", "page.html"])
    assert done.exit_code == 0, done.output
    assert "PASS  words: 21 [" in done.output
    assert "<h1>texts.jsonl</h1>" in (in_tmp / "page.html").read_text()
    gates.write_text("[gates]\nwords = {at_least = 15, at_most = 20}\n")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 3
    assert "FAIL  words: 21 [" in done.output
    gates.write_text("[gates]\nwords = {at_leest = 15}\n")
    done = CliRunner().invoke(app, command)
    assert "known fields: at_least, at_most, sure" in str(done.exception)


def test_a_baseline_fails_only_a_significantly_worse_metric(in_tmp: Path) -> None:
    varied = write_jsonl(
        in_tmp / "varied.jsonl", *({"id": str(n), "output": "one two three four five"} for n in range(12))
    )
    repetitive = write_jsonl(in_tmp / "repetitive.jsonl", *({"id": str(n), "output": "a fox " * 5} for n in range(12)))

    def run(data: Path, *options: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["eval", str(data), "--outputs", "--metric", "repetition", *options])
        return done.exit_code, " ".join(done.output.split()) + str(done.exception)

    runs = [re.findall(r"recorded as run ([0-9a-f]{32})", run(data)[1])[0] for data in (varied, repetitive)]
    status, output = run(repetitive, "--baseline", runs[0])
    assert status == 3
    assert "FAIL repetition: 0 in varied.jsonl, now 0.7143: significantly worse" in output
    status, output = run(varied, "--baseline", runs[1])
    assert status == 0
    assert "PASS repetition" in output
    again = re.findall(r"recorded as run ([0-9a-f]{32})", output)[0]
    compared = CliRunner().invoke(app, ["compare", runs[0], again, "--report", "page.html"])
    assert compared.exit_code == 0, compared.output
    assert "varied.jsonl" in (in_tmp / "page.html").read_text()
    assert "the gates file none.toml cannot be read" in run(varied, "--baseline", runs[1], "--gates", "none.toml")[1]


def test_an_evaluation_combines_all_its_judges(in_tmp: Path) -> None:
    data = write_jsonl(in_tmp / "requests.jsonl", {"id": "one", **VALUES})
    command = ["eval", str(data), "--judge", "lexicon", "--judge", "personal-data", "--attempts", "1", "--seed", "1"]
    done = CliRunner().invoke(app, [*command, "--tracking-uri", "http://127.0.0.1:9"])
    assert done.exit_code == 1, done.output  # not uploaded
    [journal] = journals(in_tmp / ".taleward/spool")
    assert "any(lexicon, personal-data)" in json.dumps(journal.plan)


def test_an_evaluation_is_uploaded_once_its_store_works(in_tmp: Path) -> None:
    data = write_jsonl(in_tmp / "requests.jsonl", {"id": "one", **VALUES})
    command = ["eval", str(data), "--model", "embedded:storyteller", "--judge", "lexicon", "--seed", "1"]
    store = in_tmp / ".taleward/mlflow.db"
    store.parent.mkdir()
    store.write_bytes(b"this is not a database" * 100)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "not uploaded to MLflow" in done.output
    assert "judge_pass_rate" in done.output
    [journal] = journals(in_tmp / ".taleward/spool")
    assert journal.plan["params"]["writer.template"] == "adventure@1"
    store.write_bytes(b"")  # a new store
    done = CliRunner().invoke(app, ["eval", "--upload-pending"])
    assert done.exit_code == 0, done.output
    assert "uploaded as run" in done.output
    assert "nothing to upload" in CliRunner().invoke(app, ["eval", "--upload-pending"]).output

"""`taleward eval` as a user's CI runs it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.evaluation.journal import journals
from taleward.evaluation.result import Evaluation

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
    command = ["eval", str(data), "--model", "embedded:storyteller-mini", "--judge", "lexicon", "--seed", "1"]
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


def test_a_part_of_the_dataset_and_reports_for_ci(in_tmp: Path) -> None:
    splits = ("train", "test", "test", "test")
    data = write_jsonl(
        in_tmp / "texts.jsonl",
        *({"id": f"text {n}", "output": "fox " * (n + 1), "split": split} for n, split in enumerate(splits)),
    )
    gates = in_tmp / "gates.toml"
    gates.write_text("[gates]\nwords = {at_least = 15}\n")
    command = ["eval", str(data), "--outputs", "--metric", "words", "--filter", "split=test", "--limit", "2"]
    files = ["--out", "out/result.json", "--junit", "out/junit.xml", "--report", "out/page.html"]
    done = CliRunner().invoke(app, [*command, *files, "--gates", str(gates)])
    assert done.exit_code == 3, done.output
    result = Evaluation.model_validate_json((in_tmp / "out/result.json").read_bytes())
    assert result.ids == ("text 1", "text 2")
    assert result.dataset in done.output
    cases = ElementTree.parse(in_tmp / "out/junit.xml").getroot().findall(".//testcase")  # noqa: S314  our own
    assert [case.get("name") for case in cases] == ["text 1", "text 2", "words"]
    assert "<h1>texts.jsonl</h1>" in (in_tmp / "out/page.html").read_text()
    done = CliRunner().invoke(app, [*command, "--filter", "split=dev"])
    assert "none of 4 samples matches 'split=test' and 'split=dev'" in str(done.exception)
    done = CliRunner().invoke(app, [*command, "--repeat", "2"])
    assert "a list of outputs cannot be repeated" in str(done.exception)


def fake_guards(monkeypatch: pytest.MonkeyPatch, wait_s: float = 0.0) -> None:
    """Let each model write as many words as its name has characters, and one more in every other draft."""

    def make(template: object, templates: object, model: str, *_: object) -> object:
        calls: list[object] = []

        def write(inputs: object) -> str:
            calls.append(inputs)
            time.sleep(wait_s)
            return "fox " * (len(model) + len(calls) % 2)

        return write

    monkeypatch.setattr("taleward.cli.commands.evaluate._make_guard", make)


def test_repeats_show_how_flaky_a_metric_is(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_guards(monkeypatch)
    data = write_jsonl(in_tmp / "one.jsonl", {"id": "one", **VALUES})
    done = CliRunner().invoke(
        app, ["eval", str(data), "--metric", "words", "--model", "m", "--repeat", "2", "--concurrency", "1"]
    )
    assert done.exit_code == 0, done.output
    assert re.search(r"words .* 1\.5 .* 1 . +100% . 0\.7071", done.output)
    assert "2 repeats: changed is the share of samples" in done.output


def test_several_models_are_compared_side_by_side(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_guards(monkeypatch)
    data = write_jsonl(in_tmp / "many.jsonl", *({"id": str(n), **VALUES} for n in range(24)))
    command = ["eval", str(data), "--metric", "words", "--metric", "latency", "--model", "m", "--model", "longer"]
    done = CliRunner().invoke(app, [*command, "--concurrency", "1", "--out", "both.json", "--report", "both.html"])
    assert done.exit_code == 0, done.output
    assert "words: longer minus m 5 [5, 5], p = 0.0001, significant" in done.output
    assert re.search(r"latency: \S+ minus \S+ .*p = ", done.output)
    first, second = json.loads((in_tmp / "both.json").read_text())
    assert first["side_by_side"] == second["side_by_side"] is not None
    assert "longer" in (in_tmp / "both.html").read_text()
    assert CliRunner().invoke(app, [*command, "--name", "x"]).exit_code == 2
    assert CliRunner().invoke(app, [*command, "--model", "m"]).exit_code == 2


def test_every_prompt_is_run_with_every_model(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_guards(monkeypatch)
    data = write_jsonl(in_tmp / "few.jsonl", *({"id": str(n), **VALUES} for n in range(3)))
    command = ["eval", str(data), "--metric", "words", "--template", "adventure", "--template", "bedtime"]
    done = CliRunner().invoke(app, [*command, "--model", "m", "--model", "longer", "--out", "all.json"])
    assert done.exit_code == 0, done.output
    names = [result["name"] for result in json.loads((in_tmp / "all.json").read_text())]
    assert names == ["adventure / m", "adventure / longer", "bedtime / m", "bedtime / longer"]
    runs = [result["run_id"] for result in json.loads((in_tmp / "all.json").read_text())]
    done = CliRunner().invoke(
        app, ["grid", *runs, "--by-row", "name", "--by-column", "dataset", "--report", "grid.html"]
    )
    assert done.exit_code == 0, done.output
    assert "words" in done.output
    assert "bedtime / longer" in (in_tmp / "grid.html").read_text()


def test_a_partial_evaluation_says_what_is_missing_and_how_to_go_on(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_guards(monkeypatch, wait_s=0.3)
    data = write_jsonl(in_tmp / "many.jsonl", *({"id": str(n), **VALUES} for n in range(4)))
    command = ["eval", str(data), "--metric", "words", "--concurrency", "1"]
    monkeypatch.setattr("sys.argv", ["taleward", *command, "--max-seconds", "0.4", "--no-resume"])
    done = CliRunner().invoke(app, [*command, "--max-seconds", "0.4", "--no-resume"])
    assert done.exit_code == 1, done.output
    output = " ".join(done.output.split())
    assert "partial: the limit of 0.4 seconds is reached; 2 of 4 samples are missing: 2, 3" in output
    assert "to go on, run: taleward eval" in output
    assert output.endswith("--max-seconds 0.4")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "4 samples of many.jsonl@" in done.output
